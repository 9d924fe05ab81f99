//! Masked language models as sparse encoders (SPLADE): of each text the words of the vocabulary with their weights.
//!
//! A word's weight is `log(1 + max(0, x))` of its greatest logit over the text's tokens, special tokens included
//! (Formal et al. 2021, arXiv 2109.10086). The vocabulary is by far the largest matrix of a model, so it runs by slices, each of which
//! becomes one number per text and word at once: a chunk never holds `[tokens][vocabulary]`.

use std::sync::Mutex;

use rayon::prelude::*;

use super::embeddings::Text;
use super::layer::{Activation, Norm, Space};
use super::load::Loader;
use super::packed::{Packed, Panels, Shape, padded};
use super::{CHUNK, Network, Part, parts};
use super::{bert, distilbert, modernbert};
use crate::encoders::{Result, Tensors};
use crate::kernel::lanes::Lanes;
use crate::kernel::{Isa, OUTPUTS, TOKENS};

/// Tiles of the vocabulary that are multiplied together.
const TILES: usize = 32;

/// Sparse vectors, row by row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SparseVectors {
    /// `[rows + 1]` offsets into `words` and `weights`; the first is 0.
    pub starts: Vec<usize>,
    /// Ascending within a row.
    pub words: Vec<u32>,
    /// Above 0.
    pub weights: Vec<f32>,
}

impl SparseVectors {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Words and weights of a row; empty where there is none.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        match (self.starts.get(row), self.starts.get(row + 1)) {
            (Some(&from), Some(&to)) => (&self.words[from..to], &self.weights[from..to]),
            _ => (&[], &[]),
        }
    }

    /// Adds the rows of `other`.
    pub fn extend(&mut self, other: &Self) {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        let before = self.words.len();
        self.starts.extend(other.starts.iter().skip(1).map(|&start| before + start));
        self.words.extend_from_slice(&other.words);
        self.weights.extend_from_slice(&other.weights);
    }
}

/// How weights follow from a word's greatest logit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saturation {
    /// `log(1 + max(0, x))`.
    Log,
    /// That twice.
    LogLog,
}

impl Saturation {
    fn of(self, logit: f32) -> f32 {
        let once = f64::from(logit).ln_1p();
        match self {
            Self::Log => once as f32,
            Self::LogLog => once.ln_1p() as f32,
        }
    }
}

/// The names of a head's tensors.
struct Names {
    dense: &'static str,
    norm: &'static str,
    /// Weight of the words; where it is missing, the words' own vectors stand for it.
    words: &'static str,
    bias: &'static str,
}

const BERT: Names = Names {
    dense: "cls.predictions.transform.dense",
    norm: "cls.predictions.transform.LayerNorm",
    words: "cls.predictions.decoder.weight",
    bias: "cls.predictions.bias",
};
const ROBERTA: Names = Names {
    dense: "lm_head.dense",
    norm: "lm_head.layer_norm",
    words: "lm_head.decoder.weight",
    bias: "lm_head.bias",
};
const DISTILBERT: Names = Names {
    dense: "vocab_transform",
    norm: "vocab_layer_norm",
    words: "vocab_projector.weight",
    bias: "vocab_projector.bias",
};
const MODERNBERT: Names =
    Names { dense: "head.dense", norm: "head.norm", words: "decoder.weight", bias: "decoder.bias" };

/// What a masked language model does after its layers.
struct Head {
    dense: Packed,
    activation: Activation,
    norm: Norm,
    words: Packed,
    vocabulary: usize,
}

impl Head {
    fn load(
        network: &Network,
        names: &Names,
        activation: Activation,
        eps: f64,
        tensors: &dyn Tensors,
    ) -> Result<Self> {
        let hidden = network.hidden();
        let vocabulary = network.embeddings.words.len().checked_div(hidden).unwrap_or(0);
        let loader = Loader::new(tensors, "", &format!("{}.weight", names.dense))?;
        let bias = loader.optional(names.bias, vocabulary)?;
        let words = match loader.has(names.words) {
            true => Packed::new(hidden, &loader.matrix(names.words, vocabulary, hidden)?, bias.as_deref()),
            false => Packed::new(hidden, &network.embeddings.words, bias.as_deref()),
        };
        Ok(Self {
            dense: Packed::load(&loader, names.dense, hidden, hidden)?,
            activation,
            norm: Norm::load(&loader, names.norm, hidden, eps)?,
            words,
            vocabulary,
        })
    }
}

/// A masked language model as a sparse encoder.
pub struct Splade {
    network: Network,
    head: Head,
    saturation: Saturation,
    isa: Isa,
    /// Spaces that no chunk uses at the moment.
    spaces: Mutex<Vec<Space>>,
}

impl Splade {
    fn new(network: Network, head: Head, saturation: Saturation) -> Self {
        Self { network, head, saturation, isa: Isa::best(), spaces: Mutex::default() }
    }

    /// `BertForMaskedLM`, and RoBERTa's kin, which count places otherwise.
    ///
    /// # Errors
    /// As [`bert::load`]; [`crate::encoders::Error::Missing`] where the model has no head.
    pub fn bert(
        config: &bert::Config,
        places: bert::Places,
        tensors: &dyn Tensors,
        saturation: Saturation,
    ) -> Result<Self> {
        let network = bert::network(config, places, tensors)?;
        let (names, activation) = match places {
            bert::Places::FromZero => (BERT, Activation::from_name(&config.hidden_act)?),
            bert::Places::BehindPadding => (ROBERTA, Activation::Gelu),
        };
        let head = Head::load(&network, &names, activation, config.layer_norm_eps, tensors)?;
        Ok(Self::new(network, head, saturation))
    }

    /// `DistilBertForMaskedLM`.
    ///
    /// # Errors
    /// As [`distilbert::load`]; [`crate::encoders::Error::Missing`] where the model has no head.
    pub fn distilbert(
        config: &distilbert::Config,
        tensors: &dyn Tensors,
        saturation: Saturation,
    ) -> Result<Self> {
        let network = distilbert::network(config, tensors)?;
        let activation = Activation::from_name(&config.activation)?;
        let head = Head::load(&network, &DISTILBERT, activation, distilbert::EPS, tensors)?;
        Ok(Self::new(network, head, saturation))
    }

    /// `ModernBertForMaskedLM`.
    ///
    /// # Errors
    /// As [`modernbert::load`]; [`crate::encoders::Error::Missing`] where the model has no head.
    pub fn modernbert(
        config: &modernbert::Config,
        tensors: &dyn Tensors,
        saturation: Saturation,
    ) -> Result<Self> {
        let network = modernbert::network(config, tensors)?;
        let activation = Activation::from_name(&config.classifier_activation)?;
        let head = Head::load(&network, &MODERNBERT, activation, config.norm_eps, tensors)?;
        Ok(Self::new(network, head, saturation))
    }

    /// Words of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.head.vocabulary
    }

    /// Longest text in tokens that the model has places for; none = any.
    pub fn longest(&self) -> Option<usize> {
        self.network.embeddings.longest()
    }

    /// The same model on another instruction set, for tests and measurements.
    #[must_use]
    pub fn on(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// The sparse vector of each text, given as token ids, on the current rayon pool. A text's vector has the same bits
    /// whatever texts stand beside it and however many threads there are.
    ///
    /// # Errors
    /// [`crate::encoders::Error::Token`], [`crate::encoders::Error::Length`].
    pub fn encode(&self, texts: &[&[u32]]) -> Result<SparseVectors> {
        let texts: Vec<Text<'_>> = texts.iter().map(|tokens| Text::single(tokens)).collect();
        texts.iter().try_for_each(|text| self.network.embeddings.check(text.tokens))?;
        let tokens: usize = texts.iter().map(|text| text.tokens.len()).sum();
        let share = tokens.div_ceil(rayon::current_num_threads().max(1)).next_multiple_of(TOKENS);
        let parts = parts(&texts, share.min(CHUNK));
        let run = |part: &Part<'_, '_>| {
            let mut space = self.spaces.lock().ok().and_then(|mut s| s.pop()).unwrap_or_default();
            self.network.run(self.isa, part, &mut space);
            let rows = self.read_off(part, &space.x);
            if let Ok(mut spaces) = self.spaces.lock() {
                spaces.push(space);
            }
            rows
        };
        let rows: Vec<SparseVectors> = parts.par_iter().with_max_len(1).map(run).collect();
        let mut all = SparseVectors { starts: vec![0], ..SparseVectors::default() };
        rows.iter().for_each(|rows| all.extend(rows));
        Ok(all)
    }

    /// The sparse vectors of a chunk's texts from its activations `[panels][padded(hidden)]`.
    fn read_off(&self, part: &Part<'_, '_>, x: &[Lanes]) -> SparseVectors {
        let Head { dense, activation, norm, words, vocabulary } = &self.head;
        let shape = Shape::of(part.tokens);
        let stride = padded(self.network.hidden());
        let mut hidden = vec![[0.0; TOKENS]; shape.panels * dense.stride()];
        dense.start(&mut hidden);
        dense.add(self.isa, shape, Panels { rows: x, stride }, &mut hidden);
        activation.apply(self.isa, &mut hidden);
        norm.apply(self.isa, &mut hidden);
        let input = Panels { rows: &hidden, stride: dense.stride() };
        let mut rows: Vec<Vec<(u32, f32)>> = vec![Vec::new(); part.places.len()];
        let mut logits = Vec::new();
        let tiles = words.stride() / OUTPUTS;
        for first in (0..tiles).step_by(TILES) {
            let some = first..(first + TILES).min(tiles);
            let stride = some.len() * OUTPUTS;
            logits.resize(shape.panels * stride, [0.0; TOKENS]);
            words.tiles_of(self.isa, shape, some, input, &mut logits);
            let known = stride.min(vocabulary.saturating_sub(first * OUTPUTS));
            for (place, row) in part.places.iter().zip(&mut rows) {
                for k in 0..known {
                    let greatest = greatest(&logits, stride, k, place.clone());
                    if greatest > 0.0 {
                        row.push(((first * OUTPUTS + k) as u32, self.saturation.of(greatest)));
                    }
                }
            }
        }
        let mut out = SparseVectors { starts: vec![0], ..SparseVectors::default() };
        for row in rows {
            out.words.extend(row.iter().map(|&(word, _)| word));
            out.weights.extend(row.iter().map(|&(_, weight)| weight));
            out.starts.push(out.words.len());
        }
        out
    }
}

/// The greatest number of column `k` of `x` `[panels][stride]` over some tokens, at least 0.
fn greatest(x: &[Lanes], stride: usize, k: usize, tokens: std::ops::Range<usize>) -> f32 {
    let mut most = 0.0f32;
    let mut at = tokens.start;
    while at < tokens.end {
        let (panel, lane) = (at / TOKENS, at % TOKENS);
        let count = (TOKENS - lane).min(tokens.end - at);
        for &x in &x[panel * stride + k][lane..lane + count] {
            most = if x > most { x } else { most };
        }
        at += count;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_number_is_the_texts_own_and_never_below_zero() {
        let x: Vec<Lanes> = (0..4)
            .map(|row| std::array::from_fn(|l| (row / 2 * TOKENS + l) as f32 * [1.0, -1.0][row % 2]))
            .collect();
        assert_eq!(greatest(&x, 2, 0, 3..40), 39.0);
        assert_eq!(greatest(&x, 2, 1, 3..40), 0.0);
        assert_eq!(greatest(&x, 2, 0, 5..5), 0.0);
    }

    #[test]
    fn weights_grow_with_the_logarithm() {
        assert_eq!(Saturation::Log.of(1.0), std::f32::consts::LN_2);
        assert!((Saturation::LogLog.of(1.0) - 0.526_589).abs() < 1e-6);
    }

    #[test]
    fn rows_are_joined_in_their_order() {
        let mut all = SparseVectors::default();
        let one = SparseVectors { starts: vec![0, 2, 2], words: vec![3, 5], weights: vec![1.0, 2.0] };
        all.extend(&one);
        all.extend(&SparseVectors { starts: vec![0, 1], words: vec![7], weights: vec![4.0] });
        assert_eq!(
            (all.len(), all.row(0), all.row(1)),
            (3, (&[3, 5][..], &[1.0, 2.0][..]), (&[][..], &[][..]))
        );
        assert_eq!((all.row(2), all.row(3)), ((&[7][..], &[4.0][..]), (&[][..], &[][..])));
    }
}
