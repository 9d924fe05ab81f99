//! Transformers of the BERT family on the processor.
//!
//! Texts of a call are laid one after another into chunks of whole texts with no padding between them; a thread takes a
//! chunk through all layers while its activations stay in the caches. Activations lie feature by feature with 32 tokens
//! side by side, so a layer's output is the next layer's input, and norms, softmax and activations run lane by lane.
//! A token's numbers are chains of fused multiply-adds that do not depend on its neighbours, its place in the chunk, the
//! instruction set or the number of threads.
//!
//! One file per architecture reads its configuration and names its tensors; the layers are shared.

mod attention;
pub mod bert;
pub mod distilbert;
mod embeddings;
mod layer;
mod load;
pub mod masked_lm;
pub mod modernbert;
pub mod mpnet;
pub mod nomic_bert;
mod packed;
mod pooling;

use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use super::{Encoder, Error, Result};
use crate::kernel::lanes::Lanes;
use crate::kernel::{Isa, TOKENS};
use embeddings::{Embeddings, Text};
use layer::{Chunk, Layer, Norm, Space};
use packed::{Shape, padded};
pub use pooling::Pooling;

/// Tokens of a chunk; one longer text is a chunk of its own.
const CHUNK: usize = 320;

/// What an architecture makes of its tensors.
#[derive(Debug)]
pub(crate) struct Network {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    /// After the last layer.
    norm: Option<Norm>,
    /// Bases of the rotations that layers refer to.
    rotations: Vec<f64>,
    /// Columns of a head.
    head: usize,
    /// Biases of scores by distance, per head; see [`attention::Sight`].
    bias: Option<Box<dyn Bias>>,
}

/// Biases of attention scores by the distance of key and query.
trait Bias: std::fmt::Debug + Send + Sync {
    /// Per head, `[2 * reach + 1]` from distance `reach` down to `-reach`, times log2(e).
    fn by_distance(&self, reach: usize) -> Vec<Vec<f32>>;
}

/// The heads of an attention.
struct Heads {
    count: usize,
    dim: usize,
}

/// Shares `hidden` columns among heads.
///
/// # Errors
/// [`Error::Unsupported`] unless they come out even.
fn heads(hidden: usize, count: usize) -> Result<Heads> {
    match hidden.checked_rem(count) {
        Some(0) if hidden > 0 => Ok(Heads { count, dim: hidden / count }),
        _ => Err(Error::Unsupported {
            what: "a number of attention heads of",
            got: format!("{count} for {hidden} columns"),
            mend: "the columns must be shared out evenly",
        }),
    }
}

/// Texts that go through the layers together.
struct Part<'a, 'b> {
    texts: &'a [Text<'b>],
    places: Vec<Range<usize>>,
    tokens: usize,
}

impl Network {
    /// Columns of a token's vector.
    fn hidden(&self) -> usize {
        self.embeddings.hidden
    }

    /// Takes one chunk through all layers; the tokens' vectors are in `space.x` `[panels][padded(hidden)]` then.
    fn run(&self, isa: Isa, part: &Part<'_, '_>, space: &mut Space) {
        let shape = Shape::of(part.tokens);
        space.x.resize(shape.panels * padded(self.hidden()), [0.0; TOKENS]);
        self.embeddings.gather(isa, part.texts, &part.places, &mut space.x);
        let turn = |&base: &f64| embeddings::angles(base, self.head, shape.panels, &part.places);
        let rotations: Vec<_> = self.rotations.iter().map(turn).collect();
        let reach = part.places.iter().map(Range::len).max().unwrap_or(0);
        let bias = self.bias.as_ref().map_or_else(Vec::new, |b| b.by_distance(reach));
        let chunk = Chunk { shape, texts: &part.places, rotations: &rotations, bias: &bias };
        for layer in &self.layers {
            layer.run(isa, &chunk, space);
        }
        if let Some(norm) = &self.norm {
            norm.apply(isa, &mut space.x);
        }
    }
}

/// Groups texts, in their order, into chunks of about `most` tokens.
fn parts<'a, 'b>(texts: &'a [Text<'b>], most: usize) -> Vec<Part<'a, 'b>> {
    let mut parts = Vec::new();
    let mut rest = texts;
    while !rest.is_empty() {
        let mut places: Vec<Range<usize>> = Vec::new();
        let mut tokens = 0;
        for text in rest {
            let length = text.tokens.len();
            if !places.is_empty() && tokens + length > most {
                break;
            }
            places.push(tokens..tokens + length);
            tokens += length;
        }
        let (now, later) = rest.split_at(places.len());
        parts.push(Part { texts: now, places, tokens });
        rest = later;
    }
    parts
}

/// A transformer with its pooling.
pub struct Transformer {
    network: Network,
    pooling: Pooling,
    isa: Isa,
    /// Spaces that no chunk uses at the moment.
    spaces: Mutex<Vec<Space>>,
}

impl Transformer {
    pub(crate) fn new(network: Network, pooling: Pooling) -> Self {
        Self { network, pooling, isa: Isa::best(), spaces: Mutex::default() }
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

    /// Scores pairs, given as one text each with the place where the second part begins.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_pairs(&self, pairs: &[(&[u32], usize)], out: &mut [f32]) -> Result<()> {
        let texts: Vec<Text<'_>> = pairs.iter().map(|&(tokens, second)| Text { tokens, second }).collect();
        self.encode_texts(&texts, out)
    }

    fn encode_texts(&self, texts: &[Text<'_>], out: &mut [f32]) -> Result<()> {
        let hidden = self.network.hidden();
        assert!(out.len() == texts.len() * hidden, "a vector for each text");
        texts.iter().try_for_each(|text| self.network.embeddings.check(text.tokens))?;
        let tokens: usize = texts.iter().map(|text| text.tokens.len()).sum();
        // Few tokens are shared out, so that no thread waits for another's chunk.
        let share = tokens.div_ceil(rayon::current_num_threads().max(1)).next_multiple_of(TOKENS);
        let parts = parts(texts, share.min(CHUNK));
        let mut rest = out;
        let mut work = Vec::with_capacity(parts.len());
        for part in &parts {
            let (rows, later) = rest.split_at_mut(part.texts.len() * hidden);
            work.push((part, rows));
            rest = later;
        }
        work.into_par_iter().with_max_len(1).for_each(|(part, rows)| {
            let mut space = self.spaces.lock().ok().and_then(|mut s| s.pop()).unwrap_or_default();
            self.network.run(self.isa, part, &mut space);
            self.pool(part, &space.x, rows);
            if let Ok(mut spaces) = self.spaces.lock() {
                spaces.push(space);
            }
        });
        Ok(())
    }

    fn pool(&self, part: &Part<'_, '_>, x: &[Lanes], rows: &mut [f32]) {
        let hidden = self.network.hidden();
        for (place, row) in part.places.iter().zip(rows.chunks_exact_mut(hidden)) {
            self.pooling.pool(x, padded(hidden), place.clone(), row);
        }
    }
}

impl Encoder for Transformer {
    fn dim(&self) -> usize {
        self.network.hidden()
    }

    fn encode(&self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        let texts: Vec<Text<'_>> = texts.iter().map(|tokens| Text::single(tokens)).collect();
        self.encode_texts(&texts, out)
    }
}
