//! Filters judge the candidates of a block and say, for each one that goes, why.
//!
//! One file per filter; the file's name is its name in TOML, on the command line and in reports. They run in the order of
//! [`FilterSpec::ORDER`], whatever the order in which they were asked for, because the first reason of a candidate stays:
//!
//! 1. identity: `known`, `text`. What is a positive is no false negative that a later filter caught.
//! 2. `window`, whose ranks count what could be a negative, so it follows identity and nothing else.
//! 3. likeness to a positive: `near`, `kin`, from certain to less certain.
//! 4. side knowledge: `family`, `group`, `time`, `taxonomy`.
//! 5. scores: `score`, `margin`, then `agree`, all of them free.
//! 6. outside opinions, from cheap to dear: `guide`, `rerank`, `command`, each of which so sees only what those before it let live.
//! 7. `judged` and `p_fn`, last: a promise about false negatives needs to know what would live without them.

mod agree;
mod command;
mod family;
mod group;
mod guide;
mod judged;
mod kin;
mod known;
mod margin;
mod near;
mod p_fn;
mod rerank;
mod score;
mod taxonomy;
mod text;
mod time;
mod window;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{Error, Facts, ItemId, Reason, Result, Row, Rows, Verdicts};
pub use agree::Agree;
pub use command::Command;
pub use family::Family;
pub use group::Group;
pub use guide::Guide;
pub use judged::Judged;
pub use kin::Kin;
pub use known::Known;
pub use margin::{Against, Margin};
pub use near::Near;
pub use p_fn::PFn;
pub use rerank::Rerank;
pub use score::Score;
pub use taxonomy::Taxonomy;
pub use text::Text;
pub use time::{Time, TimeRule};
pub use window::Window;

/// Judges candidates; sees what earlier filters dropped and need not judge it again.
pub trait Filter: std::fmt::Debug + Send + Sync {
    /// Reads the block, answers into `out`. Errors where a fact that the filter needs is missing or an outside judge fails.
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()>;
}

macro_rules! components {
    ($($name:ident => $kind:ident [$($reason:ident),*]),* $(,)?) => {
        /// A filter as written in TOML: `{ margin = { relative = 0.05 } }`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum FilterSpec { $(
            #[doc = concat!("See [`", stringify!($kind), "`].")]
            $kind($kind)),* }
        impl FilterSpec {
            /// The filters' names, in the order in which they run.
            pub const ORDER: &'static [&'static str] = &[$(stringify!($name)),*];
            /// The name in TOML.
            pub fn name(&self) -> &'static str { match self { $(FilterSpec::$kind(_) => stringify!($name)),* } }
            /// The reasons that the filter gives, in the order of [`Reason::ALL`].
            pub fn reasons(&self) -> &'static [Reason] {
                match self { $(FilterSpec::$kind(_) => &[$(Reason::$reason),*]),* }
            }
            /// Checks the parameters and makes the filter.
            pub fn build(self) -> Result<Box<dyn Filter>> {
                Ok(match self { $(FilterSpec::$kind(f) => Box::new(f.check()?)),* })
            }
            /// Every filter with its default parameters, unchecked, and the text of its file.
            #[cfg(test)]
            fn all() -> Vec<(Self, &'static str)> {
                vec![$((FilterSpec::$kind($kind::default()), include_str!(concat!(stringify!($name), ".rs")))),*]
            }
        }
    };
}

components! {
    known => Known [Known],
    text => Text [Text],
    window => Window [Window],
    near => Near [Near],
    kin => Kin [Kin],
    family => Family [Family],
    group => Group [Group],
    time => Time [Time],
    taxonomy => Taxonomy [Taxonomy],
    score => Score [MaxScore, MinScore],
    margin => Margin [AbsoluteMargin, RelativeMargin],
    agree => Agree [Agree],
    guide => Guide [Guide],
    rerank => Rerank [Rerank],
    command => Command [Command],
    judged => Judged [Judged],
    p_fn => PFn [MaxPFn],
}

impl FilterSpec {
    /// Place in [`FilterSpec::ORDER`]: the key to sort a list of filters by (stably) before it runs.
    pub fn place(&self) -> usize {
        Self::ORDER.iter().position(|name| *name == self.name()).unwrap_or(usize::MAX)
    }
}

/// What a candidate must not resemble: the row's positives, then those of anchors with the same text.
pub(crate) fn positives<'a>(row: &Row<'a>, facts: &Facts<'a>) -> Cow<'a, [ItemId]> {
    let own = row.positives();
    let mut all = Cow::Borrowed(own);
    for item in facts.known.of(row.anchor()).iter().filter(|i| !own.contains(i)) {
        all.to_mut().push(*item);
    }
    all
}

/// A column of facts that the filter cannot do without.
fn needed<'a, T>(column: Option<&'a Vec<T>>, stage: &'static str, what: &'static str) -> Result<&'a [T]> {
    match column {
        Some(values) if !values.is_empty() => Ok(values),
        _ => Err(Error::Missing { stage, what }),
    }
}

/// A parameter of text that the user must give.
pub(crate) fn given(text: &str, stage: &'static str, field: &'static str, must: &'static str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::Parameter { stage, field, must, got: format!("{text:?}") });
    }
    Ok(())
}

/// The positive that each live candidate of a row resembles most. One call per positive with all live candidates, because
/// both kinds of likeness do work per positive (scattering a vector, hashing shingles) that a batch shares.
#[derive(Debug, Default)]
struct Closest {
    live: Vec<usize>,
    items: Vec<ItemId>,
    values: Vec<f32>,
    best: Vec<Option<(f32, ItemId)>>,
}

impl Closest {
    /// (position, value, positive) of every live candidate that could be compared with a positive. `measure` writes the
    /// likeness of its first argument to each of the second into the third; NaN = cannot be compared. Of equal positives
    /// the first one is named.
    fn of(
        &mut self,
        row: &Row<'_>,
        positives: &[ItemId],
        mut measure: impl FnMut(ItemId, &[ItemId], &mut [f32]) -> Result<()>,
    ) -> Result<impl Iterator<Item = (usize, f32, ItemId)>> {
        self.live.clear();
        self.live.extend(row.live());
        self.items.clear();
        self.items.extend(self.live.iter().map(|&p| row.items()[p]));
        self.best.clear();
        self.best.resize(self.live.len(), None);
        if !self.live.is_empty() {
            for &positive in positives {
                self.values.clear();
                self.values.resize(self.live.len(), f32::NAN);
                measure(positive, &self.items, &mut self.values)?;
                for (best, &v) in self.best.iter_mut().zip(&self.values) {
                    if !v.is_nan() && best.is_none_or(|(b, _)| v > b) {
                        *best = Some((v, positive));
                    }
                }
            }
        }
        Ok(self.live.iter().zip(&self.best).filter_map(|(&at, best)| best.map(|(v, p)| (at, v, p))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Filters that name something only the user knows: their defaults are refused for exactly this field.
    const REQUIRED: &[(&str, &str)] = &[
        ("group", "column"),
        ("time", "column"),
        ("taxonomy", "file"),
        ("guide", "model"),
        ("rerank", "model"),
        ("command", "program"),
    ];

    #[test]
    fn the_order_is_the_order_of_the_reasons() {
        let reasons: Vec<_> = FilterSpec::all().iter().flat_map(|(f, _)| f.reasons()).copied().collect();
        assert_eq!(reasons, Reason::ALL);
        let places: Vec<_> = FilterSpec::all().iter().map(|(f, _)| f.place()).collect();
        assert_eq!(places, (0..FilterSpec::ORDER.len()).collect::<Vec<_>>());
    }

    #[test]
    fn the_list_is_the_folder() -> std::io::Result<()> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/filters"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            files.extend(name.strip_suffix(".rs").filter(|n| *n != "mod").map(str::to_owned));
        }
        files.sort();
        let mut names: Vec<_> = FilterSpec::ORDER.iter().map(|n| (*n).to_owned()).collect();
        names.sort();
        assert_eq!(files, names);
        Ok(())
    }

    #[test]
    fn every_file_says_its_rule_and_where_it_was_seen() {
        for (filter, source) in FilterSpec::all() {
            let header: Vec<_> = source.lines().take_while(|l| l.starts_with("//!")).collect();
            for heading in ["//! ## Rule", "//! ## Seen in"] {
                assert!(header.contains(&heading), "{} has no {heading}", filter.name());
            }
        }
    }

    #[test]
    fn defaults_pass_or_name_the_one_field_that_must_be_given() {
        for (filter, _) in FilterSpec::all() {
            let name = filter.name();
            let required = REQUIRED.iter().find(|(n, _)| *n == name);
            match (filter.build(), required) {
                (Ok(_), None) => {}
                (Err(Error::Parameter { stage, field, .. }), Some(want)) => assert_eq!((stage, field), *want),
                (built, _) => panic!("{name}: {built:?}"),
            }
        }
    }

    #[test]
    fn specs_survive_a_round_trip_and_refuse_unknown_fields() -> serde_json::Result<()> {
        for (filter, _) in FilterSpec::all() {
            let text = serde_json::to_string(&filter)?;
            assert!(text.starts_with(&format!("{{\"{}\":", filter.name())), "{text}");
            assert_eq!(serde_json::from_str::<FilterSpec>(&text)?, filter);
            let empty = format!("{{\"{}\":{{}}}}", filter.name());
            assert_eq!(serde_json::from_str::<FilterSpec>(&empty)?, filter);
            let wrong = format!("{{\"{}\":{{\"no_such_field\":1}}}}", filter.name());
            assert!(serde_json::from_str::<FilterSpec>(&wrong).is_err(), "{wrong}");
        }
        Ok(())
    }

    #[test]
    fn filters_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Box<dyn Filter>>();
        shared::<FilterSpec>();
    }
}
