//! Words of the command line that several commands understand.

use hardrock::mine::spec::{KinBy, Metric, PFnModel, Weight};
use hardrock::read::OnBadRow;
use hardrock_core::promise::Kind;

pub(crate) fn parse_bad_row(text: &str) -> std::result::Result<OnBadRow, String> {
    match text {
        "stop" => Ok(OnBadRow::Stop),
        "skip" => Ok(OnBadRow::Skip),
        _ => Err("one of stop, skip".into()),
    }
}

pub(crate) fn parse_metric(text: &str) -> std::result::Result<Metric, String> {
    match text {
        "cosine" => Ok(Metric::Cosine),
        "dot" => Ok(Metric::Dot),
        _ => Err("one of cosine, dot".into()),
    }
}

pub(crate) fn parse_kin_by(text: &str) -> std::result::Result<KinBy, String> {
    match text {
        "tf-idf" => Ok(KinBy::TfIdf),
        "vectors" => Ok(KinBy::Vectors),
        _ => Err("one of tf-idf, vectors".into()),
    }
}

pub(crate) fn parse_p_fn(text: &str) -> std::result::Result<PFnModel, String> {
    match text {
        "auto" => Ok(PFnModel::Auto),
        "shipped" => Ok(PFnModel::Shipped),
        "none" => Ok(PFnModel::None),
        _ => Err("one of auto, shipped, none".into()),
    }
}

pub(crate) fn parse_promise(text: &str) -> std::result::Result<Kind, String> {
    match text {
        "confident" => Ok(Kind::Confident),
        "average" => Ok(Kind::Average),
        _ => Err("one of confident, average".into()),
    }
}

pub(crate) fn parse_weight(text: &str) -> std::result::Result<Weight, String> {
    match text {
        "p_fn" => Ok(Weight::PFn),
        _ => Err("only p_fn is a weight".into()),
    }
}

/// `2GiB`, `500MB`, `1073741824`.
pub(crate) fn parse_bytes(text: &str) -> std::result::Result<u64, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1u64,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(format!("unknown unit `{unit}`; use MiB, GiB, MB or GB")),
    };
    let value: f64 = number.trim().parse().map_err(|_| format!("`{number}` is no number"))?;
    if value > 0.0 { Ok((value * scale as f64) as u64) } else { Err("must be above 0".into()) }
}
