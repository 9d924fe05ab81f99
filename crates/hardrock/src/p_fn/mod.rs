//! p_fn for every candidate: what is measured, what it is learned from, and which model speaks for which anchor.
//!
//! Without verdicts a model learns from *seeds*: a candidate that is the labelled positive of another query whose text is
//! nearly the anchor's own is almost surely relevant. Where there are too few seeds, or they point the wrong way, the
//! shipped coefficients stand in. With verdicts a small logistic corrects either.

mod learn;
mod measure;
mod queries;
mod seeds;

use std::collections::BTreeMap;

use hardrock_core::p_fn::{Model, SHIPPED_VERSION, shipped};
use hardrock_core::stats::Reliability;
use serde::{Deserialize, Serialize};

pub use learn::{Learned, Verdict, learn};
pub use measure::{Estimator, Parts};
pub use seeds::{SeedRow, Seeds, from_seeds};

/// Key of an anchor's random draws and of its fold: its id alone decides, not its place in the file.
pub fn draw_key(id: &str) -> u64 {
    let hash = blake3::hash(id.as_bytes());
    u64::from_le_bytes(std::array::from_fn(|i| hash.as_bytes()[i]))
}

/// Where the models come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Learned from other anchors' positives.
    Seeds,
    /// The coefficients that hardrock ships.
    Shipped,
    /// Learned from verdicts, on top of one of the others.
    Verdicts,
}

/// The models of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Models {
    /// Where they come from.
    pub kind: Kind,
    /// Seeds: two, model `i` for anchors with an even (0) or odd (1) key, fitted on the others. Shipped: one. Verdicts: one per
    /// fold, and last the one for anchors without verdicts.
    pub models: Vec<Model>,
    /// Fold of the anchors that have verdicts: the model that saw neither them nor copies of their documents.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub folds: BTreeMap<String, usize>,
    /// How they came about, in words.
    pub note: String,
    /// Seeds that were found.
    pub seeds: u64,
    /// How well the cosine to the positive alone tells seeds from other candidates that have a query; the guard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed_auc: Option<f64>,
    /// Verdicts that were learned from.
    #[serde(default)]
    pub verdicts: u64,
    /// Reliability on the verdicts, each predicted by a model that has not seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Reliability>,
}

impl Models {
    /// The shipped model alone. `why` says why nothing was learned.
    pub fn shipped(why: &str) -> Self {
        Self {
            kind: Kind::Shipped,
            models: vec![shipped()],
            folds: BTreeMap::new(),
            note: format!("shipped coefficients, version {SHIPPED_VERSION} ({why})"),
            seeds: 0,
            seed_auc: None,
            verdicts: 0,
            reliability: None,
        }
    }

    /// The model of an anchor. `None` only for models read from a damaged file.
    pub fn of(&self, id: &str) -> Option<&Model> {
        match (self.kind, self.folds.get(id)) {
            (Kind::Verdicts, Some(&fold)) => self.models.get(fold),
            (Kind::Seeds, _) => self.models.get((draw_key(id) & 1) as usize),
            _ => self.models.last(),
        }
    }

    /// The factor within which the share estimated from these models held on the sets it was measured on; see
    /// `docs/benchmarks/guarantee.md`.
    pub fn known_factor(&self) -> f64 {
        match self.kind {
            Kind::Seeds | Kind::Verdicts => 2.4,
            // On debian-packages, of coefficients that had not seen it: .0081 for a truth of .0410.
            Kind::Shipped => 5.1,
        }
    }

    /// A fingerprint of the coefficients: a promise holds for these models and no others.
    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_string(&(&self.models, &self.folds)).unwrap_or_default();
        blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
    }
}
