//! How the vectors of a text's tokens become one.

use std::ops::Range;

use crate::kernel::TOKENS;
use crate::kernel::lanes::Lanes;

/// The ways of sentence-transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The first token's vector.
    Cls,
    /// The mean over the tokens.
    Mean,
    /// The sum over the tokens by the square root of their number.
    MeanSqrtLength,
    /// The greatest number of each column.
    Max,
    /// The mean with weights 1, 2, 3 … from the first token on.
    WeightedMean,
    /// The last token's vector.
    LastToken,
}

impl Pooling {
    /// The vector of the text at `tokens` of a chunk's activations `[panels][stride]`, into `out` `[features]`; zero for
    /// no tokens. Sums run from the first token in f64, so they do not depend on the text's place.
    pub(super) fn pool(self, x: &[Lanes], stride: usize, tokens: Range<usize>, out: &mut [f32]) {
        let count = tokens.len() as f64;
        let column = |k: usize| tokens.clone().map(move |t| x[t / TOKENS * stride + k][t % TOKENS]);
        for (k, out) in out.iter_mut().enumerate() {
            let mut column = column(k);
            *out = match self {
                _ if tokens.is_empty() => 0.0,
                Self::Cls => column.next().unwrap_or(0.0),
                Self::LastToken => column.next_back().unwrap_or(0.0),
                Self::Max => column.fold(f32::NEG_INFINITY, f32::max),
                Self::Mean => (column.map(f64::from).sum::<f64>() / count) as f32,
                Self::MeanSqrtLength => (column.map(f64::from).sum::<f64>() / count.sqrt()) as f32,
                Self::WeightedMean => {
                    let sum: f64 = column.zip(1u32..).map(|(x, w)| f64::from(x) * f64::from(w)).sum();
                    (sum / (count * (count + 1.0) / 2.0)) as f32
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_pools_only_the_texts_own_tokens() {
        // Two features; the token at place t has (t, -t).
        let x: Vec<Lanes> = (0..4)
            .map(|row| std::array::from_fn(|l| (row / 2 * TOKENS + l) as f32 * [1.0, -1.0][row % 2]))
            .collect();
        let pool = |pooling: Pooling, tokens| {
            let mut out = [f32::NAN; 2];
            pooling.pool(&x, 2, tokens, &mut out);
            out
        };
        let text = 31..34;
        assert_eq!(pool(Pooling::Cls, text.clone()), [31.0, -31.0]);
        assert_eq!(pool(Pooling::LastToken, text.clone()), [33.0, -33.0]);
        assert_eq!(pool(Pooling::Mean, text.clone()), [32.0, -32.0]);
        assert_eq!(pool(Pooling::Max, text.clone()), [33.0, -31.0]);
        let weighted = (31.0 + 64.0 + 99.0) / 6.0;
        assert_eq!(pool(Pooling::WeightedMean, text.clone()), [weighted, -weighted]);
        let sum = (96.0 / 3.0_f64.sqrt()) as f32;
        assert_eq!(pool(Pooling::MeanSqrtLength, text), [sum, -sum]);
        assert_eq!(pool(Pooling::Max, 5..5), [0.0, 0.0]);
    }
}
