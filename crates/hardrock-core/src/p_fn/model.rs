//! A model of p_fn: a logistic over some of the features, on top of another model where there is one, then calibrated.

use serde::{Deserialize, Serialize};

use super::{FEATURES, NAMES};
use crate::stats::{Isotonic, Logistic, probability};

/// A correction of a model's level, learned from verdicts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calibration {
    /// Platt: the corrected logit is `slope · logit + intercept`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platt: Option<(f64, f64)>,
    /// A monotone correction of the probability behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isotonic: Option<Isotonic>,
}

/// A model of p_fn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Numbers of the features that the logistic reads, in its order.
    pub inputs: Vec<usize>,
    /// The logistic; with a `base` its last input is the base's log-odds.
    pub logistic: Logistic,
    /// The model that this one corrects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Box<Model>>,
    /// What comes after the logistic.
    #[serde(default)]
    pub calibration: Calibration,
}

impl Model {
    /// A plain logistic over these features.
    pub fn plain(inputs: Vec<usize>, logistic: Logistic) -> Self {
        Self { inputs, logistic, base: None, calibration: Calibration::default() }
    }

    /// Whether a model that was read from a file holds together.
    pub fn is_sound(&self) -> bool {
        let l = &self.logistic;
        let width = self.inputs.len() + usize::from(self.base.is_some());
        let finite = |v: &[f64]| v.len() == width && v.iter().all(|x| x.is_finite());
        finite(&l.weights)
            && finite(&l.center)
            && finite(&l.scale)
            && l.scale.iter().all(|s| *s > 0.0)
            && self.inputs.iter().all(|&i| i < FEATURES)
            && self.base.as_ref().is_none_or(|b| b.is_sound())
    }

    /// The inputs of the logistic for these features.
    pub fn row(&self, features: &[f64; FEATURES]) -> Vec<f64> {
        let own = self.inputs.iter().map(|&i| features[i]);
        own.chain(self.base.as_ref().map(|b| b.logit(features))).collect()
    }

    /// Log-odds before calibration.
    pub fn logit(&self, features: &[f64; FEATURES]) -> f64 {
        let l = &self.logistic;
        let own: f64 = (0..self.inputs.len()).map(|j| self.part(j, features[self.inputs[j]])).sum();
        let base = self.base.as_ref().map_or(0.0, |b| self.part(self.inputs.len(), b.logit(features)));
        l.bias + own + base
    }

    fn part(&self, j: usize, x: f64) -> f64 {
        let l = &self.logistic;
        let standard = (x - l.center[j]) / l.scale[j];
        if standard.is_nan() { 0.0 } else { l.weights[j] * standard }
    }

    /// The probability, in (0, 1).
    pub fn probability(&self, features: &[f64; FEATURES]) -> f64 {
        self.calibrated(self.logit(features))
    }

    /// The probability of a raw log-odds.
    pub fn calibrated(&self, logit: f64) -> f64 {
        let (slope, intercept) = self.calibration.platt.unwrap_or((1.0, 0.0));
        let p = probability(slope * logit + intercept);
        self.calibration.isotonic.as_ref().map_or(p, |i| i.apply(p))
    }

    /// What each feature adds to the log-odds, the base's share included, in the order of [`NAMES`]; 0 = as on average.
    pub fn contributions(&self, features: &[f64; FEATURES]) -> [f64; FEATURES] {
        let mut out = [0.0; FEATURES];
        for (j, &i) in self.inputs.iter().enumerate() {
            out[i] += self.part(j, features[i]);
        }
        if let Some(base) = &self.base {
            let j = self.inputs.len();
            let factor = self.logistic.weights[j] / self.logistic.scale[j];
            for (slot, part) in out.iter_mut().zip(base.contributions(features)) {
                *slot += factor * part;
            }
        }
        out
    }

    /// The probability when nothing is known of a candidate.
    pub fn prior(&self) -> f64 {
        self.probability(&[f64::NAN; FEATURES])
    }

    /// The weights of the standardised features by name, for cards.
    pub fn weights(&self) -> Vec<(&'static str, f64)> {
        let own = self.inputs.iter().zip(&self.logistic.weights).map(|(&i, &w)| (NAMES[i], w));
        let base = self.base.as_ref().and_then(|_| self.logistic.weights.last()).map(|&w| ("base", w));
        own.chain(base).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(inputs: &[usize], weights: &[f64]) -> Model {
        let n = weights.len();
        let logistic =
            Logistic { center: vec![0.0; n], scale: vec![1.0; n], weights: weights.to_vec(), bias: -1.0 };
        Model::plain(inputs.to_vec(), logistic)
    }

    #[test]
    fn contributions_and_the_bias_add_up_to_the_log_odds() {
        let mut model = plain(&[1, 4], &[2.0, -0.5, 0.5]);
        model.base = Some(Box::new(plain(&[0, 1], &[1.0, 3.0])));
        assert!(model.is_sound());
        let mut f = [0.0; FEATURES];
        (f[0], f[1], f[4]) = (0.7, 0.2, 1.5);
        let parts: f64 = model.contributions(&f).iter().sum();
        // Two biases: the base's passes through the weight of its log-odds.
        assert!((parts + -1.0 - 0.5 - model.logit(&f)).abs() < 1e-12);
    }

    #[test]
    fn calibration_moves_the_level_and_survives_a_file() {
        let mut model = plain(&[0], &[1.0]);
        model.calibration.platt = Some((1.0, 1.0));
        assert!((model.prior() - 0.5).abs() < 1e-12);
        let text = serde_json::to_string(&model).unwrap();
        assert_eq!(serde_json::from_str::<Model>(&text).unwrap(), model);
    }

    #[test]
    fn a_model_of_the_wrong_width_is_not_sound() {
        assert!(!plain(&[0, 1], &[1.0]).is_sound());
        assert!(!plain(&[99], &[1.0]).is_sound());
    }
}
