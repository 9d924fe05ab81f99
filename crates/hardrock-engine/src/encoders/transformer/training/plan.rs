//! What training knows of an architecture: its sizes, and the names of its tensors.

use std::collections::BTreeMap;

use hardrock_core::Rng;

use crate::encoders::{Error, Result, Tensor, Tensors};

use super::super::layer::Activation;

/// The tensors of a layer, without `.weight` and `.bias`.
#[derive(Debug)]
pub(in super::super) struct LayerNames {
    /// Queries, keys, values.
    pub(in super::super) sides: [String; 3],
    pub(in super::super) out: String,
    /// The norm after attention.
    pub(in super::super) middle: String,
    pub(in super::super) up: String,
    pub(in super::super) down: String,
    /// The norm after the feed-forward network.
    pub(in super::super) last: String,
}

/// A learned bias of attention by distance.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Distances {
    /// The table `[buckets][heads]`.
    pub(in super::super) name: &'static str,
    pub(in super::super) buckets: usize,
    /// The bucket of a key so many places after its query.
    pub(in super::super) bucket: fn(isize, usize) -> usize,
}

/// An architecture with its sizes: norms after each half, no rotations, no windows, no gates.
#[derive(Debug)]
pub(in super::super) struct Plan {
    /// Before the names in some files.
    pub(in super::super) prefix: &'static str,
    pub(in super::super) hidden: usize,
    pub(in super::super) heads: usize,
    /// Columns between the halves of a feed-forward network.
    pub(in super::super) inner: usize,
    pub(in super::super) eps: f64,
    pub(in super::super) activation: Activation,
    /// See [`super::super::embeddings::Positions::padding`].
    pub(in super::super) padding: Option<u32>,
    /// The table of types, where the architecture has one.
    pub(in super::super) types: Option<&'static str>,
    pub(in super::super) layers: Vec<LayerNames>,
    pub(in super::super) bias: Option<Distances>,
    /// Rows of the tables of tokens, places and types, for a random start.
    pub(in super::super) rows: [usize; 3],
}

pub(super) const WORDS: &str = "embeddings.word_embeddings.weight";
pub(super) const PLACES: &str = "embeddings.position_embeddings.weight";
pub(super) const NORM: &str = "embeddings.LayerNorm";

/// The standard deviation of random weights, as BERT's makers chose it.
const DEVIATION: f64 = 0.02;

/// A model's tensors drawn at random.
pub(super) struct Drawn {
    tensors: BTreeMap<String, (Vec<usize>, u64)>,
    seed: u64,
}

impl Plan {
    /// All tensors of the architecture, drawn: weights from a normal distribution, biases 0, gains 1.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the configuration names no vocabulary or no places.
    pub(super) fn drawn(&self, seed: u64) -> Result<Drawn> {
        let [words, places, types] = self.rows;
        if words == 0 || places == 0 {
            return Err(Error::Unsupported {
                what: "a random start with a vocabulary and places of",
                got: format!("{words} and {places}"),
                mend: "the configuration must say vocab_size and max_position_embeddings",
            });
        }
        let (hidden, inner) = (self.hidden, self.inner);
        let mut shapes: Vec<(String, Vec<usize>)> =
            vec![(WORDS.into(), vec![words, hidden]), (PLACES.into(), vec![places, hidden])];
        if let (Some(name), 1..) = (self.types, types) {
            shapes.push((name.into(), vec![types, hidden]));
        }
        if let Some(bias) = &self.bias {
            shapes.push((bias.name.into(), vec![bias.buckets, self.heads]));
        }
        let mut norms = vec![NORM];
        for names in &self.layers {
            let square = names.sides.iter().chain([&names.out]).map(|name| (name, hidden, hidden));
            for (name, outputs, features) in
                square.chain([(&names.up, inner, hidden), (&names.down, hidden, inner)])
            {
                shapes.push((format!("{name}.weight"), vec![outputs, features]));
                shapes.push((format!("{name}.bias"), vec![outputs]));
            }
            norms.extend([names.middle.as_str(), &names.last]);
        }
        for name in norms {
            shapes.push((format!("{name}.weight"), vec![hidden]));
            shapes.push((format!("{name}.bias"), vec![hidden]));
        }
        let numbered = shapes.into_iter().zip(0u64..).map(|((name, shape), number)| (name, (shape, number)));
        Ok(Drawn { tensors: numbered.collect(), seed })
    }
}

impl Tensors for Drawn {
    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn get(&self, name: &str) -> Result<Option<Tensor>> {
        let Some((shape, number)) = self.tensors.get(name) else { return Ok(None) };
        let count = shape.iter().product();
        let values = match shape[..] {
            [_] if name.ends_with("bias") => vec![0.0; count],
            [_] => vec![1.0; count],
            _ => {
                let mut rng = Rng::at(self.seed, 0x57A7, *number);
                let mut normal = || {
                    // Box and Muller; 1 - u is never 0.
                    let (u, angle): (f64, f64) = (1.0 - rng.unit(), std::f64::consts::TAU * rng.unit());
                    ((-2.0 * u.ln()).sqrt() * angle.cos() * DEVIATION) as f32
                };
                (0..count).map(|_| normal()).collect()
            }
        };
        Ok(Some(Tensor { shape: shape.clone(), values }))
    }
}
