//! Learning without labels, from other anchors' positives.

use std::collections::BTreeMap;

use hardrock_core::p_fn::{FEATURES, KIN, Model};
use hardrock_core::stats::{Logistic, Rows, auc};

use super::{Kind, Models};

/// Cosine of two queries from which the positive of one is taken for relevant to the other.
const SAME: f32 = 0.8;
/// Fewest seeds to learn from.
const FEWEST: usize = 50;
/// Least area under the curve of the cosine to the positive: below it seeds are no relatives of positives, and queries that
/// look the same mean different things.
const LEAST_AUC: f64 = 0.8;
/// Inverse strength of the penalty.
const C: f64 = 1.0;

/// A candidate that is the labelled positive of another query.
#[derive(Debug, Clone, Copy)]
pub struct SeedRow {
    /// The anchor's key.
    pub key: u64,
    /// Its features.
    pub features: [f64; FEATURES],
    /// Tf-idf cosine to the anchor's nearest positive; NaN where it has none.
    pub cosine: f32,
    /// Cosine of the two queries.
    pub query: f32,
}

/// What seeds say.
#[derive(Debug, Clone)]
pub struct Seeds {
    /// The models to use.
    pub models: Models,
    /// One model over all rows, for verdicts to correct.
    pub whole: Model,
}

/// Learns from seeds where their guards allow it; else the shipped model.
pub fn from_seeds(rows: &[SeedRow], vectors: bool) -> Seeds {
    let seeds = rows.iter().filter(|r| r.query >= SAME).count();
    let pairs: Vec<(f64, bool)> =
        rows.iter().filter(|r| !r.cosine.is_nan()).map(|r| (f64::from(r.cosine), r.query >= SAME)).collect();
    let seed_auc = auc(&pairs);
    let refuse = |why: String| {
        let mut models = Models::shipped(&why);
        (models.seeds, models.seed_auc) = (seeds as u64, seed_auc);
        Seeds { whole: hardrock_core::p_fn::shipped(), models }
    };
    if seeds < FEWEST {
        return refuse(format!("{seeds} seeds, {FEWEST} are needed"));
    }
    match seed_auc {
        Some(area) if area >= LEAST_AUC => {}
        area => {
            return refuse(format!(
                "seeds are not nearer to the positives than others: AUC {:.3}, {LEAST_AUC} is needed",
                area.unwrap_or(0.5)
            ));
        }
    }
    let inputs: Vec<usize> = KIN.iter().copied().filter(|&i| vectors || i != 3).collect();
    let fit = |keep: &dyn Fn(u64) -> bool| -> Option<Model> {
        let mut values = Vec::new();
        let mut labels = Vec::new();
        for row in rows.iter().filter(|r| keep(r.key) && inputs.iter().all(|&i| r.features[i].is_finite())) {
            values.extend(inputs.iter().map(|&i| row.features[i]));
            labels.push(row.query >= SAME);
        }
        // A fold with a handful of seeds would be worse than no fold.
        if labels.iter().filter(|l| **l).count() < FEWEST / 4 {
            return None;
        }
        let logistic = Logistic::fit(Rows { inputs: &values, labels: &labels, weights: None }, C)?;
        Some(Model::plain(inputs.clone(), logistic))
    };
    let (Some(even), Some(odd), Some(whole)) = (fit(&|k| k & 1 == 1), fit(&|k| k & 1 == 0), fit(&|_| true))
    else {
        return refuse(format!("{seeds} seeds cannot be parted into two folds"));
    };
    let models = Models {
        kind: Kind::Seeds,
        models: vec![even, odd],
        folds: BTreeMap::new(),
        note: format!("learned from {seeds} positives of other queries, two folds by anchor"),
        seeds: seeds as u64,
        seed_auc,
        verdicts: 0,
        reliability: None,
    };
    Seeds { models, whole }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardrock_core::Rng;

    /// Rows whose seeds have high cosines (or, inverted, low ones).
    fn rows(seeds: u64, inverted: bool) -> Vec<SeedRow> {
        (0..2000)
            .map(|i| {
                let mut rng = Rng::at(1, 0, i);
                let seed = i < seeds;
                let cosine = (rng.unit() * 0.4 + if seed != inverted { 0.5 } else { 0.0 }) as f32;
                let mut features = [0.1; FEATURES];
                features[0] = f64::from(cosine).ln();
                features[3] = f64::NAN;
                SeedRow { key: rng.next_u64(), features, cosine, query: if seed { 0.9 } else { 0.1 } }
            })
            .collect()
    }

    #[test]
    fn seeds_teach_that_relatives_are_likelier() {
        let learned = from_seeds(&rows(200, false), false);
        assert_eq!(learned.models.kind, Kind::Seeds);
        let (mut near, mut far) = ([0.1; FEATURES], [0.1; FEATURES]);
        (near[0], far[0]) = (0.8f64.ln(), 0.2f64.ln());
        for model in learned.models.models.iter().chain([&learned.whole]) {
            assert!(model.probability(&near) > 0.5 && model.probability(&far) < 0.05);
        }
        assert_ne!(learned.models.models[0], learned.models.models[1], "the folds saw different anchors");
    }

    #[test]
    fn few_seeds_or_seeds_that_point_the_wrong_way_teach_nothing() {
        let few = from_seeds(&rows(49, false), false).models;
        assert_eq!((few.kind, few.seeds), (Kind::Shipped, 49));
        assert!(few.note.contains("49 seeds"), "{}", few.note);
        let wrong = from_seeds(&rows(200, true), false).models;
        assert_eq!(wrong.kind, Kind::Shipped);
        assert!(wrong.note.contains("AUC"), "{}", wrong.note);
    }
}
