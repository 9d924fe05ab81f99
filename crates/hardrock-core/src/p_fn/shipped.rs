//! The coefficients that hardrock ships, for data from which nothing can be learned without labels.
//!
//! Fitted on oracle labels of the shared sets by `benches/p_fn_fit.py`; the card stands in `docs/p-fn.md`.

use super::Model;
use crate::stats::Logistic;

/// Version of the coefficients; it stands in manifests.
pub const SHIPPED_VERSION: &str = "1";

/// The features that the shipped model reads.
const INPUTS: [usize; 8] = [0, 1, 2, 4, 5, 6, 8, 9];
const CENTER: [f64; 8] = [-2.86472, 0.0758817, 0.186821, 3.58115, 0.490913, 0.784366, 3.64701, 0.308531];
const SCALE: [f64; 8] = [1.37947, 0.100425, 0.173689, 0.943874, 0.180272, 0.511486, 0.89718, 0.163318];
const WEIGHTS: [f64; 8] = [1.3705, 0.144163, 0.134189, -0.279597, -0.219175, 0.350348, -0.275741, 0.422725];
const BIAS: f64 = -8.57825;

/// The shipped model.
pub fn shipped() -> Model {
    let logistic =
        Logistic { center: CENTER.to_vec(), scale: SCALE.to_vec(), weights: WEIGHTS.to_vec(), bias: BIAS };
    Model::plain(INPUTS.to_vec(), logistic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::p_fn::{FEATURES, Measured, Standing, features};

    #[test]
    fn a_copy_is_likelier_than_a_stranger() {
        let standing = Standing {
            score: 5.0,
            best: 10.0,
            positive: 8.0,
            rank: 5,
            vectors: f32::NAN,
            positive_vectors: f32::NAN,
            agreement: 1.0,
        };
        let of = |cosine: f32, jaccard: f32, neighbour: f32| {
            let m = Measured {
                cosine,
                jaccard,
                containment: jaccard,
                neighbour,
                covered: 0.5,
                ..Measured::NOTHING
            };
            shipped().probability(&features(&m, &standing))
        };
        assert!(shipped().is_sound());
        assert!(of(0.95, 0.9, 0.0) > 0.3, "{}", of(0.95, 0.9, 0.0));
        assert!(of(0.05, 0.02, 60.0) < 0.01);
        assert!(shipped().probability(&[f64::NAN; FEATURES]) < 0.2);
    }
}
