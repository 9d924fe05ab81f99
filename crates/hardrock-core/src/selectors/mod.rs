//! Selectors choose among the candidates that every filter let live.
//!
//! One file per selector; the file's name is its name in TOML and on the command line. A selection depends on the seed, the
//! anchor's key and the row's live candidates alone, so order and threads do not matter. The drawing ones give each
//! candidate its own random number, keyed by its item: when a filter takes one candidate away, the others keep theirs, and
//! only the place that became free is filled anew.

mod bands;
mod mix;
mod random;
mod simans;
mod top;
mod weighted;

use serde::{Deserialize, Serialize};

use crate::{Result, Rng, Row};
pub use bands::Bands;
pub use mix::{Mix, Share};
pub use random::Random;
pub use simans::Simans;
pub use top::Top;
pub use weighted::Weighted;

/// Chooses live positions of one row; may return fewer than `k`, never a dropped one, never one twice.
pub trait Selector: std::fmt::Debug + Send + Sync {
    /// Appends up to `k` positions to `out`, ascending, that is best judging score first, so that files read well. Fewer
    /// than `k` only where fewer live. `key` identifies the anchor for random draws (a hash of its string id), `seed` the
    /// run.
    fn select(&self, row: &Row<'_>, k: usize, seed: u64, key: u64, out: &mut Vec<usize>) -> Result<()>;
}

macro_rules! components {
    ($($name:ident => $kind:ident),* $(,)?) => {
        /// A selector as written in TOML: `{ top = {} }`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum SelectorSpec { $(
            #[doc = concat!("See [`", stringify!($kind), "`].")]
            $kind($kind)),* }
        impl SelectorSpec {
            /// The selectors' names.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];
            /// The name in TOML.
            pub fn name(&self) -> &'static str { match self { $(SelectorSpec::$kind(_) => stringify!($name)),* } }
            /// Checks the parameters and makes the selector.
            pub fn build(self) -> Result<Box<dyn Selector>> {
                Ok(match self { $(SelectorSpec::$kind(s) => Box::new(s.check()?)),* })
            }
            /// Every selector with its default parameters, unchecked, and the text of its file.
            #[cfg(test)]
            fn all() -> Vec<(Self, &'static str)> {
                vec![$((SelectorSpec::$kind($kind::default()), include_str!(concat!(stringify!($name), ".rs")))),*]
            }
        }
    };
}

components! {
    top => Top,
    random => Random,
    weighted => Weighted,
    bands => Bands,
    mix => Mix,
    simans => Simans,
}

/// The draws of one selector for one anchor.
struct Draw {
    stage: u64,
    row: u64,
}

impl Draw {
    /// `stage` names the selector, so that two of them under one seed draw apart.
    fn new(seed: u64, stage: &[u8; 8], key: u64) -> Self {
        let stage = u64::from_be_bytes(*stage);
        Self { stage, row: Rng::at(seed, stage, key).next_u64() }
    }

    /// Appends `k` of `positions`, drawn without replacement, each time with probability proportional to `exp(log_weight)`
    /// of what is left: the k highest `log_weight + g`, g standard Gumbel (Efraimidis and Spirakis 2006 in logarithms,
    /// Kool et al. 2019). Candidates without a weight come after all others, uniformly drawn.
    fn take(
        &self,
        row: &Row<'_>,
        positions: impl Iterator<Item = usize>,
        k: usize,
        out: &mut Vec<usize>,
        log_weight: impl Fn(usize) -> Option<f64>,
    ) {
        let gumbel = |position: usize| {
            // 2^-54 stands for the draw 0, whose logarithm is infinite.
            let unit =
                Rng::at(self.row, self.stage, row.items()[position].0.into()).unit().max(2f64.powi(-54));
            -(-unit.ln()).ln()
        };
        let mut drawn: Vec<(bool, f64, usize)> = positions
            .map(|p| {
                let weight = log_weight(p);
                (weight.is_some(), weight.unwrap_or(0.0) + gumbel(p), p)
            })
            .collect();
        // Equal draws (two weights of exp(-inf)): the better candidate.
        let order = |a: &(bool, f64, usize), b: &(bool, f64, usize)| {
            b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2))
        };
        if k < drawn.len() {
            drawn.select_nth_unstable_by(k, order);
            drawn.truncate(k);
        }
        let start = out.len();
        out.extend(drawn.iter().map(|d| d.2));
        out[start..].sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::row;
    use crate::{Error, Verdict, Verdicts};

    #[test]
    fn the_list_is_the_folder() -> std::io::Result<()> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/selectors"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            files.extend(name.strip_suffix(".rs").filter(|n| *n != "mod").map(str::to_owned));
        }
        files.sort();
        let mut names: Vec<_> = SelectorSpec::NAMES.iter().map(|n| (*n).to_owned()).collect();
        names.sort();
        assert_eq!(files, names);
        Ok(())
    }

    #[test]
    fn every_file_says_its_rule_and_where_it_was_seen() {
        for (selector, source) in SelectorSpec::all() {
            let header: Vec<_> = source.lines().take_while(|l| l.starts_with("//!")).collect();
            for heading in ["//! ## Rule", "//! ## Seen in"] {
                assert!(header.contains(&heading), "{} has no {heading}", selector.name());
            }
        }
    }

    #[test]
    fn defaults_pass_or_name_the_one_field_that_must_be_given() {
        for (selector, _) in SelectorSpec::all() {
            match (selector.name(), selector.build()) {
                ("mix", Err(Error::Parameter { stage: "mix", field: "shares", .. })) => {}
                (name, built) => assert!(name != "mix" && built.is_ok(), "{name}: {built:?}"),
            }
        }
    }

    #[test]
    fn specs_survive_a_round_trip_and_refuse_unknown_fields() -> serde_json::Result<()> {
        for (selector, _) in SelectorSpec::all() {
            let text = serde_json::to_string(&selector)?;
            assert_eq!(serde_json::from_str::<SelectorSpec>(&text)?, selector, "{text}");
            let wrong = format!("{{\"{}\":{{\"no_such_field\":1}}}}", selector.name());
            assert!(serde_json::from_str::<SelectorSpec>(&wrong).is_err(), "{wrong}");
        }
        Ok(())
    }

    #[test]
    fn a_drop_changes_only_the_place_that_became_free() -> Result<()> {
        let scores: Vec<(u32, f32)> = (0..40).map(|i| (i, 1.0 - i as f32 / 50.0)).collect();
        let full = row(&scores, &[(90, 0.5)]);
        for spec in [
            SelectorSpec::Random(Random {}),
            SelectorSpec::Weighted(Weighted { temperature: 0.1 }),
            SelectorSpec::Simans(Simans::default()),
        ] {
            let selector = spec.build()?;
            let (mut before, mut after) = (Vec::new(), Vec::new());
            selector.select(&full.row(0), 5, 3, 9, &mut before)?;
            let mut block = full.clone();
            let mut drop = Verdicts::default();
            drop.drop(&block.row(0), before[2], Verdict::new(crate::Reason::Kin, 1.0, 0.5));
            block.apply(drop);
            selector.select(&block.row(0), 5, 3, 9, &mut after)?;
            let stayed = before.iter().filter(|p| after.contains(p)).count();
            assert_eq!((stayed, after.len()), (4, 5), "{selector:?}");
        }
        Ok(())
    }
}
