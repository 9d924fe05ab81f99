//! Learning from verdicts: a small logistic on top of what is known without them, cross-fitted and calibrated.

use std::collections::BTreeMap;

use hardrock_core::p_fn::{Calibration, FEATURES, Model};
use hardrock_core::stats::{Isotonic, Logistic, Rows, reliability};

use super::{Kind, Models, Seeds};
use crate::{Error, Result};

/// Folds of the cross-fit.
const FOLDS: usize = 5;
/// Inverse strength of the penalty: a hundred verdicts must not be believed too much.
const C: f64 = 0.1;
/// Fewest verdicts of each kind.
const FEWEST: usize = 5;
/// Verdicts from which a monotone correction is fitted.
const ISOTONIC: usize = 1000;
/// Largest weight of a verdict, in units of the mean.
const HEAVIEST: f64 = 10.0;

/// One judged pair with its features.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The anchor's id.
    pub anchor: String,
    /// Family of the document: what has the same number is, or copies, the same text.
    pub family: u64,
    /// Features of the pair.
    pub features: [f64; FEATURES],
    /// Whether the judge found it relevant.
    pub relevant: bool,
    /// Probability with which the pair was drawn to be judged; none = all alike.
    pub drawn: Option<f64>,
}

/// The outcome.
#[derive(Debug, Clone)]
pub struct Learned {
    /// The models.
    pub models: Models,
}

/// Learns from verdicts on top of `seeds`. Verdicts whose anchors or documents (families) hang together share a fold.
///
/// # Errors
/// Too few verdicts of one kind.
pub fn learn(verdicts: &[Verdict], seeds: &Seeds, vectors: bool) -> Result<Learned> {
    let yes = verdicts.iter().filter(|v| v.relevant).count();
    let no = verdicts.len() - yes;
    if yes.min(no) < FEWEST {
        return Err(Error::usage(
            format!(
                "p_fn cannot learn from {yes} relevant and {no} irrelevant verdicts on candidates of this run"
            ),
            format!("judge until there are {FEWEST} of each (`hardrock judge RUN --queue model`)"),
        ));
    }
    let inputs: Vec<usize> = (0..FEATURES).filter(|i| vectors || !matches!(i, 3 | 7 | 10)).collect();
    let weights = weights(verdicts);
    let folds = folds(verdicts);
    let fit = |without: Option<usize>| -> Option<Model> {
        let chosen: Vec<usize> =
            (0..verdicts.len()).filter(|&i| without.is_none_or(|f| folds[i] != f)).collect();
        let base = Some(Box::new(seeds.whole.clone()));
        let empty = Logistic { center: vec![], scale: vec![], weights: vec![], bias: 0.0 };
        let mut model =
            Model { inputs: inputs.clone(), logistic: empty, base, calibration: Calibration::default() };
        let values: Vec<f64> = chosen
            .iter()
            .flat_map(|&i| model.row(&verdicts[i].features))
            .map(|x| if x.is_finite() { x } else { 0.0 })
            .collect();
        let labels: Vec<bool> = chosen.iter().map(|&i| verdicts[i].relevant).collect();
        let weights: Vec<f64> = chosen.iter().map(|&i| weights[i]).collect();
        model.logistic =
            Logistic::fit(Rows { inputs: &values, labels: &labels, weights: Some(&weights) }, C)?;
        Some(model)
    };
    let whole = fit(None).ok_or_else(|| Error::usage("p_fn cannot learn from these verdicts", ""))?;
    // A fold without false negatives elsewhere keeps to what all verdicts say.
    let mut models: Vec<Model> = (0..FOLDS).map(|f| fit(Some(f)).unwrap_or_else(|| whole.clone())).collect();
    models.push(whole);

    let logits: Vec<f64> = verdicts.iter().zip(&folds).map(|(v, &f)| models[f].logit(&v.features)).collect();
    let calibration = calibrate(&logits, verdicts, &weights);
    models.iter_mut().for_each(|m| m.calibration = calibration.clone());
    let said = logits.iter().zip(verdicts).map(|(&l, v)| (models[0].calibrated(l), v.relevant));
    let reliability = Some(reliability(said));
    let by_anchor: BTreeMap<String, usize> =
        verdicts.iter().zip(&folds).map(|(v, &f)| (v.anchor.clone(), f)).collect();
    Ok(Learned {
        models: Models {
            kind: Kind::Verdicts,
            models,
            folds: by_anchor,
            note: format!(
                "learned from {} verdicts ({yes} relevant) on top of: {}",
                verdicts.len(),
                seeds.models.note
            ),
            seeds: seeds.models.seeds,
            seed_auc: seeds.models.seed_auc,
            verdicts: verdicts.len() as u64,
            reliability,
        },
    })
}

/// Platt's two numbers on the held-out log-odds, then a monotone step where there are verdicts enough.
fn calibrate(logits: &[f64], verdicts: &[Verdict], weights: &[f64]) -> Calibration {
    let labels: Vec<bool> = verdicts.iter().map(|v| v.relevant).collect();
    // The slope is hardly penalised: it stands against the penalty of the fit before.
    let platt = Logistic::fit(Rows { inputs: logits, labels: &labels, weights: Some(weights) }, 10.0)
        .map(|l| (l.weights[0] / l.scale[0], l.bias - l.weights[0] * l.center[0] / l.scale[0]))
        .filter(|(slope, _)| *slope > 0.0);
    let mut calibration = Calibration { platt, isotonic: None };
    if verdicts.len() >= ISOTONIC {
        let level = Model {
            inputs: vec![],
            logistic: Logistic { center: vec![], scale: vec![], weights: vec![], bias: 0.0 },
            base: None,
            calibration: calibration.clone(),
        };
        let rows: Vec<(f64, bool, f64)> = logits
            .iter()
            .zip(&labels)
            .zip(weights)
            .map(|((&l, &y), &w)| (level.calibrated(l), y, w))
            .collect();
        calibration.isotonic = Isotonic::fit(&rows);
    }
    calibration
}

/// Inverse probabilities of being drawn, held within ten times their mean.
fn weights(verdicts: &[Verdict]) -> Vec<f64> {
    let raw: Vec<f64> = verdicts.iter().map(|v| 1.0 / v.drawn.unwrap_or(1.0).max(1e-9)).collect();
    let mean = raw.iter().sum::<f64>() / raw.len().max(1) as f64;
    raw.iter().map(|w| (w / mean).min(HEAVIEST)).collect()
}

/// A fold per verdict. Verdicts that share an anchor or a family are joined first.
fn folds(verdicts: &[Verdict]) -> Vec<usize> {
    let mut first: BTreeMap<(bool, String), usize> = BTreeMap::new();
    let mut parent: Vec<usize> = (0..verdicts.len()).collect();
    fn root(parent: &mut [usize], mut i: usize) -> usize {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    }
    for (i, v) in verdicts.iter().enumerate() {
        for name in [(false, v.anchor.clone()), (true, v.family.to_string())] {
            let other = *first.entry(name).or_insert(i);
            let (a, b) = (root(&mut parent, i), root(&mut parent, other));
            // The lower number leads, so that the order of joining does not matter.
            parent[a.max(b)] = a.min(b);
        }
    }
    (0..verdicts.len())
        .map(|i| {
            let leader = &verdicts[root(&mut parent, i)];
            (super::draw_key(&leader.anchor) % FOLDS as u64) as usize
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::p_fn::from_seeds;
    use hardrock_core::Rng;

    fn verdicts(n: u64) -> Vec<Verdict> {
        (0..n)
            .map(|i| {
                let mut rng = Rng::at(2, 0, i);
                let mut features = [0.0; FEATURES];
                features.iter_mut().for_each(|f| *f = rng.unit());
                let relevant = rng.unit() < 1.0 / (1.0 + (-8.0 * (features[0] - 0.7)).exp());
                Verdict { anchor: format!("q{}", i / 3), family: i, features, relevant, drawn: None }
            })
            .collect()
    }

    #[test]
    fn verdicts_teach_and_the_level_fits() {
        let learned = learn(&verdicts(600), &from_seeds(&[], false), false).unwrap().models;
        assert_eq!((learned.kind, learned.models.len(), learned.verdicts), (Kind::Verdicts, 6, 600));
        let (mut high, mut low) = ([0.5; FEATURES], [0.5; FEATURES]);
        (high[0], low[0]) = (0.95, 0.05);
        let p = |f: &[f64; FEATURES]| learned.of("new").unwrap().probability(f);
        assert!(p(&high) > 0.6 && p(&low) < 0.1, "{} {}", p(&high), p(&low));
        assert!(learned.reliability.as_ref().unwrap().error < 0.08, "{:?}", learned.reliability);
        assert!(learned.models[0].calibration.isotonic.is_none());
        let more = learn(&verdicts(1200), &from_seeds(&[], false), false).unwrap().models;
        assert!(more.models[0].calibration.isotonic.is_some());
    }

    #[test]
    fn anchors_and_copies_share_a_fold() {
        let mut list = verdicts(90);
        // Two anchors judged the same text.
        list[0].family = 77_777;
        list[89].family = 77_777;
        let folds = folds(&list);
        assert!(folds.chunks(3).all(|c| c.iter().all(|f| *f == c[0])));
        assert_eq!(folds[0], folds[89]);
        assert!(folds.iter().collect::<std::collections::BTreeSet<_>>().len() > 2);
    }

    #[test]
    fn an_anchor_with_verdicts_is_judged_by_a_model_that_has_not_seen_them() {
        let learned = learn(&verdicts(300), &from_seeds(&[], false), false).unwrap().models;
        let fold = learned.folds["q7"];
        assert_eq!(learned.of("q7"), learned.models.get(fold));
        assert_eq!(learned.of("stranger"), learned.models.last());
    }

    #[test]
    fn one_sided_verdicts_are_refused_with_the_way_out() {
        let mut list = verdicts(50);
        list.iter_mut().for_each(|v| v.relevant = false);
        let error = learn(&list, &from_seeds(&[], false), false).unwrap_err();
        assert!(error.to_string().contains("0 relevant and 50 irrelevant"), "{error}");
        assert!(error.help().unwrap().contains("--queue model"));
    }
}
