//! A transformer with a head that scores texts or pairs of texts: the sequence classification of `transformers`.
//!
//! Every architecture has the same two layers after the pooling, under names of its own, with a function between them and,
//! in ModernBERT, a norm.

use rayon::prelude::*;

use super::layer::{self, Norm};
use super::packed::padded;
use super::{Isa, TOKENS, Transformer};
use crate::encoders::Encoder;
use crate::encoders::Result;
use crate::encoders::head::Dense;

/// What stands between the two layers beside the first one's own function.
#[derive(Debug)]
pub(super) struct Between {
    pub(super) activation: layer::Activation,
    pub(super) norm: Norm,
}

/// A transformer with a classification head.
pub struct Classifier {
    body: Transformer,
    dense: Dense,
    between: Option<Between>,
    out: Dense,
}

impl Classifier {
    pub(super) fn new(body: Transformer, dense: Dense, between: Option<Between>, out: Dense) -> Self {
        Self { body, dense, between, out }
    }

    /// The transformer below the head.
    pub fn body(&self) -> &Transformer {
        &self.body
    }

    /// Numbers that a pair gets.
    pub fn labels(&self) -> usize {
        self.out.width()
    }

    /// Writes the logits of each pair into `out` `[pairs][labels]`, on the current rayon pool; a pair as in
    /// [`Transformer::encode_pairs`]. A pair has the same bits whatever pairs stand beside it and however many threads
    /// there are.
    ///
    /// # Errors
    /// [`crate::encoders::Error::Token`], [`crate::encoders::Error::Length`].
    pub fn score(&self, pairs: &[(&[u32], usize)], out: &mut [f32]) -> Result<()> {
        assert!(out.len() == pairs.len() * self.labels(), "a number for each pair and label");
        let hidden = self.body.dim();
        let mut pooled = vec![0.0; pairs.len() * hidden];
        self.body.encode_pairs(pairs, &mut pooled)?;
        let isa = self.body.isa;
        let rows = out.par_chunks_mut(self.labels()).zip(pooled.par_chunks(hidden));
        rows.for_each_init(
            || vec![0.0; self.dense.width()],
            |inner, (out, pooled)| {
                self.dense.apply(isa, pooled, inner);
                if let Some(between) = &self.between {
                    between.apply(isa, inner);
                }
                self.out.apply(isa, inner, out);
            },
        );
        Ok(())
    }
}

impl Between {
    /// One vector, as the first lane of a panel.
    fn apply(&self, isa: Isa, x: &mut [f32]) {
        let mut panel = vec![[0.0; TOKENS]; padded(x.len())];
        panel.iter_mut().zip(&*x).for_each(|(lanes, &x)| lanes[0] = x);
        self.activation.apply(isa, &mut panel);
        self.norm.apply(isa, &mut panel);
        x.iter_mut().zip(&panel).for_each(|(x, lanes)| *x = lanes[0]);
    }
}
