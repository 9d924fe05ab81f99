//! How likely is it that a candidate is in truth a positive? The features of (anchor, positive, candidate), and models over
//! them.
//!
//! A false negative is a near relative of the known positive; it outranks the positive hardly more often than a true
//! negative does. So the features that matter compare the candidate *with the positive*, and none is an absolute score:
//! all are free of the source's scale.

mod model;
mod shipped;
mod words;

pub use model::{Calibration, Model};
pub use shipped::{SHIPPED_VERSION, shipped};
pub use words::{Said, say};

/// Number of features.
pub const FEATURES: usize = 14;

/// The features' names, in order; they stand in manifests and model cards.
pub const NAMES: [&str; FEATURES] = [
    "kin_cosine",
    "kin_jaccard",
    "kin_containment",
    "kin_vectors",
    "kin_neighbour",
    "share_of_best",
    "ratio_to_positive",
    "vectors_to_positive",
    "rank",
    "query_covered",
    "vectors_to_anchor",
    "query_likeness",
    "has_query",
    "agreement",
];

/// The features that compare a candidate with a positive: those that models learn from other anchors' positives.
pub const KIN: [usize; 5] = [0, 1, 2, 3, 4];

/// Names of the signals that a block carries per cell, and of their columns in the candidates file.
pub mod signal {
    /// The probability itself.
    pub const P_FN: &str = "p_fn";
    /// Tf-idf cosine to the nearest positive.
    pub const COSINE: &str = "kin_cosine";
    /// Shared words / all words of both, the highest over the positives.
    pub const JACCARD: &str = "kin_jaccard";
    /// Shared words / words of the shorter text, the highest over the positives.
    pub const CONTAINMENT: &str = "kin_containment";
    /// Cosine of the vectors to the nearest positive.
    pub const VECTORS: &str = "kin_vectors";
    /// Rank among the row's candidates by likeness to a positive, 0 = nearest; the lowest over the positives.
    pub const NEIGHBOUR: &str = "kin_neighbour";
    /// Share of the anchor's idf that the candidate covers.
    pub const COVERED: &str = "query_covered";
    /// Tf-idf cosine of the anchor and the nearest query of which the candidate is the labelled positive.
    pub const QUERY: &str = "query_likeness";
    /// All of them, in column order.
    pub const ALL: [&str; 8] = [P_FN, COSINE, JACCARD, CONTAINMENT, VECTORS, NEIGHBOUR, COVERED, QUERY];
}

/// What was measured of one candidate; NaN = not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// See [`signal::COSINE`].
    pub cosine: f32,
    /// See [`signal::JACCARD`].
    pub jaccard: f32,
    /// See [`signal::CONTAINMENT`].
    pub containment: f32,
    /// See [`signal::VECTORS`].
    pub vectors: f32,
    /// See [`signal::NEIGHBOUR`].
    pub neighbour: f32,
    /// See [`signal::COVERED`].
    pub covered: f32,
    /// See [`signal::QUERY`].
    pub query: f32,
}

impl Measured {
    /// Nothing is known.
    pub const NOTHING: Self = Self {
        cosine: f32::NAN,
        jaccard: f32::NAN,
        containment: f32::NAN,
        vectors: f32::NAN,
        neighbour: f32::NAN,
        covered: f32::NAN,
        query: f32::NAN,
    };

    /// The values in the order of [`signal::ALL`] behind the first.
    pub fn columns(&self) -> [f32; 7] {
        [self.cosine, self.jaccard, self.containment, self.vectors, self.neighbour, self.covered, self.query]
    }

    /// The inverse of [`Measured::columns`].
    pub fn of_columns(c: [f32; 7]) -> Self {
        let [cosine, jaccard, containment, vectors, neighbour, covered, query] = c;
        Self { cosine, jaccard, containment, vectors, neighbour, covered, query }
    }
}

/// Where a candidate stands in its row; NaN = not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Its judging score.
    pub score: f32,
    /// The row's best judging score, positives included.
    pub best: f32,
    /// The highest judging score of a positive.
    pub positive: f32,
    /// Its rank, 0 = best.
    pub rank: usize,
    /// Cosine of the anchor's vector and its own.
    pub vectors: f32,
    /// The highest cosine of the anchor's vector and a positive's.
    pub positive_vectors: f32,
    /// Share of the sources that proposed it, in `[0, 1]`.
    pub agreement: f32,
}

/// A score in units of another, within ±3; NaN where the unit says nothing.
fn share(score: f32, unit: f32) -> f64 {
    if unit > 0.0 { f64::from(score / unit).clamp(-3.0, 3.0) } else { f64::NAN }
}

/// The features, in the order of [`NAMES`]; NaN where something is not known, which every model reads as the mean.
pub fn features(m: &Measured, s: &Standing) -> [f64; FEATURES] {
    let cosine = f64::from(m.cosine).clamp(0.0, 1.0);
    let has_query = !m.query.is_nan();
    [
        ((cosine + 0.01) / (1.01 - cosine)).ln(),
        f64::from(m.jaccard),
        f64::from(m.containment),
        f64::from(m.vectors),
        f64::from(m.neighbour).ln_1p(),
        share(s.score, s.best),
        share(s.score, s.positive),
        f64::from(s.vectors - s.positive_vectors),
        (s.rank as f64).ln_1p(),
        f64::from(m.covered),
        f64::from(s.vectors),
        if has_query { f64::from(m.query) } else { 0.0 },
        f64::from(u8::from(has_query)),
        f64::from(s.agreement),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDING: Standing = Standing {
        score: 8.0,
        best: 10.0,
        positive: 4.0,
        rank: 0,
        vectors: f32::NAN,
        positive_vectors: f32::NAN,
        agreement: 0.5,
    };

    #[test]
    fn features_do_not_depend_on_the_scale_of_scores() {
        let m = Measured { cosine: 0.5, ..Measured::NOTHING };
        let a = features(&m, &STANDING);
        let b = features(&m, &Standing { score: 0.8, best: 1.0, positive: 0.4, ..STANDING });
        for (x, y) in a.iter().zip(b) {
            assert!((x.is_nan() && y.is_nan()) || (x - y).abs() < 1e-6);
        }
        assert_eq!((a[0], a[5], a[6]), (0.0, f64::from(0.8f32), 2.0));
    }

    #[test]
    fn what_is_not_known_is_nan_and_a_missing_query_says_so() {
        let f = features(&Measured::NOTHING, &Standing { positive: f32::NAN, ..STANDING });
        assert!(f[0].is_nan() && f[3].is_nan() && f[6].is_nan());
        assert_eq!((f[11], f[12]), (0.0, 0.0));
        let asked = features(&Measured { query: 0.0, ..Measured::NOTHING }, &STANDING);
        assert_eq!((asked[11], asked[12]), (0.0, 1.0));
    }

    #[test]
    fn columns_lead_back() {
        let m = Measured {
            cosine: 1.0,
            jaccard: 2.0,
            containment: 3.0,
            vectors: 4.0,
            neighbour: 5.0,
            covered: 6.0,
            query: 7.0,
        };
        assert_eq!(Measured::of_columns(m.columns()), m);
        assert_eq!(m.columns().len() + 1, signal::ALL.len());
    }
}
