//! `rerank:MODEL,max=0.9,depth=50` and `guide:MODEL,margin=0.05`: a model and its settings in a list of filters.

use hardrock_core::Asking;
use hardrock_core::filters::{Guide, Rerank};

use super::{against, needed, number, parts, unknown};
use crate::{Error, Result};

/// The settings that both filters take.
const SETTINGS: [&str; 10] = [
    "max",
    "margin",
    "relative",
    "against",
    "depth",
    "max-length",
    "concurrency",
    "batch",
    "rate",
    "timeout",
];

/// `key=value` of a setting, known or not.
fn setting(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    let key = key.trim();
    let word = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-' || b == b'_');
    word.then_some((key, value.trim()))
}

/// The first entry of a list, settings included, and the rest of the list.
pub(super) fn entry(list: &str) -> (&str, &str) {
    let cut = |from: usize| list[from..].find(',').map_or(list.len(), |at| from + at);
    let mut end = cut(0);
    if matches!(parts(&list[..end]).0, "rerank" | "guide") {
        while end < list.len() {
            let next = cut(end + 1);
            if setting(&list[end + 1..next]).is_none() {
                break;
            }
            end = next;
        }
    }
    (&list[..end], list.get(end + 1..).unwrap_or_default())
}

/// `MODEL,key=value,…` as the filter that `rerank` stands for.
pub(super) fn rerank(argument: Option<&str>) -> Result<Rerank> {
    read("rerank", argument)
}

/// The same for `guide`.
pub(super) fn guide(argument: Option<&str>) -> Result<Guide> {
    let Rerank { model, max, margin, relative, against, depth, max_length, server } =
        read("guide", argument)?;
    Ok(Guide { model, max, margin, relative, against, depth, max_length, server, ..Guide::default() })
}

fn read(name: &str, argument: Option<&str>) -> Result<Rerank> {
    let argument = needed(name, argument, &format!("{name}:my-model,margin=0.05"))?;
    let (model, settings) = argument.split_once(',').unwrap_or((argument, ""));
    let mut out = Rerank { model: model.trim().to_owned(), ..Rerank::default() };
    let mut asking = Asking::default();
    for text in settings.split(',').filter(|text| !text.trim().is_empty()) {
        let (key, value) = setting(text)
            .ok_or_else(|| Error::usage(format!("{name}: `{text}` is no setting"), "write key=value"))?;
        let what = format!("{name}: {key}");
        match key {
            "max" => out.max = Some(number(&what, value)?),
            "margin" => out.margin = Some(number(&what, value)?),
            "relative" => out.relative = Some(number(&what, value)?),
            "against" => out.against = against(value)?,
            "depth" => out.depth = Some(number(&what, value)?),
            "max-length" => out.max_length = Some(number(&what, value)?),
            "concurrency" => asking.concurrency = Some(number(&what, value)?),
            "batch" => asking.batch = Some(number(&what, value)?),
            "rate" => asking.rate = Some(number(&what, value)?),
            "timeout" => asking.timeout = Some(number(&what, value)?),
            _ => return Err(unknown(&format!("setting of {name}"), key, &SETTINGS)),
        }
    }
    if asking != Asking::default() {
        if !out.model.starts_with("http://") && !out.model.starts_with("https://") {
            return Err(Error::usage(
                format!("{name}: concurrency, batch, rate and timeout are for a model behind an address"),
                "leave them out for a folder",
            ));
        }
        out.server = Some(asking);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::{FiltersSpec, set_filters};
    use super::*;

    fn chain(list: &str) -> Result<String> {
        let mut filters = FiltersSpec::default();
        set_filters(&mut filters, list)?;
        let all: Vec<String> = filters.chain.iter().map(|f| serde_json::to_string(f).unwrap()).collect();
        Ok(all.join(" "))
    }

    #[test]
    fn settings_belong_to_the_model_before_them() {
        assert_eq!(
            chain("known,rerank:a/b, max=0.9 ,depth=50,max-length=128,group:a=b").unwrap(),
            r#"{"known":{}} {"rerank":{"model":"a/b","max":0.9,"against":"min","depth":50,"max_length":128}} {"group":{"column":"a=b"}}"#
        );
        assert_eq!(
            chain("guide:http://host:80/v1#m,margin=0.1,relative=0.05,against=max,batch=8,concurrency=2,rate=1.5,timeout=9,kin").unwrap(),
            r#"{"guide":{"model":"http://host:80/v1#m","margin":0.1,"relative":0.05,"against":"max","server":{"concurrency":2,"batch":8,"rate":1.5,"timeout":9.0}}} {"kin":{"threshold":0.6}}"#
        );
        assert_eq!(chain("guide:m").unwrap(), r#"{"guide":{"model":"m","against":"min"}}"#);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |list: &str| {
            chain(list).err().map(|e| format!("{e} / {}", e.help().unwrap_or_default())).unwrap()
        };
        assert!(error("rerank").contains("rerank needs an argument / e.g. rerank:my-model"));
        assert!(error("rerank:m,margn=0.1").contains("setting of rerank `margn` / did you mean `margin`?"));
        assert!(error("guide:m,max=high").contains("guide: max: `high`"));
        assert!(error("guide:m,batch=4").contains("behind an address"));
    }
}
