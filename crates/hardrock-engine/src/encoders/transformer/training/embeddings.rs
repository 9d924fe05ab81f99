//! From token ids to the first activations, and from their slopes to those of the tables.

use std::ops::Range;

use crate::encoders::{Error, Result};
use crate::kernel::TOKENS;
use crate::kernel::lanes::Lanes;

use super::super::packed::padded;
use super::norm::Norm;
use super::parameters::{Index, Parameters};

/// The tables by their parameters.
#[derive(Debug)]
pub(super) struct Embeddings {
    pub(super) hidden: usize,
    pub(super) words: Index,
    pub(super) places: Index,
    pub(super) types: Option<Index>,
    /// See [`super::super::embeddings::Positions::padding`].
    pub(super) padding: Option<u32>,
    pub(super) norm: Norm,
}

impl Embeddings {
    /// Texts with more tokens have no place for the last.
    pub(super) fn longest(&self, parameters: &Parameters) -> usize {
        let places = parameters.values(self.places).len() / self.hidden;
        places - self.padding.map_or(0, |id| id as usize + 1).min(places)
    }

    /// Refuses texts that the tables have no rows for.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::Length`].
    pub(super) fn check(&self, parameters: &Parameters, tokens: &[u32]) -> Result<()> {
        let vocabulary = parameters.values(self.words).len() / self.hidden;
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(Error::Token { token, vocabulary });
        }
        let longest = self.longest(parameters);
        if tokens.len() > longest {
            return Err(Error::Length { tokens: tokens.len(), longest });
        }
        Ok(())
    }

    /// The rows of the table of places that the tokens of a text have.
    fn places(&self, tokens: &[u32]) -> impl Iterator<Item = u32> {
        let mut seen = 0;
        tokens.iter().zip(0u32..).map(move |(&token, index)| match self.padding {
            None => index,
            Some(padding) if padding == token => padding,
            Some(padding) => {
                seen += 1;
                padding + seen
            }
        })
    }

    /// Writes the sums of the tables' rows, not yet normed, `[panels][padded(hidden)]`.
    pub(super) fn gather(
        &self,
        parameters: &Parameters,
        texts: &[Vec<u32>],
        at: &[Range<usize>],
        x: &mut [Lanes],
    ) {
        x.fill([0.0; TOKENS]);
        let (hidden, stride) = (self.hidden, padded(self.hidden));
        let row = |table: Index, row: u32| &parameters.values(table)[row as usize * hidden..][..hidden];
        let kind = self.types.map_or(&[][..], |types| row(types, 0));
        for (tokens, at) in texts.iter().zip(at) {
            for ((&token, place), to) in tokens.iter().zip(self.places(tokens)).zip(at.clone()) {
                let (word, place) = (row(self.words, token), row(self.places, place));
                let panel = &mut x[to / TOKENS * stride..][..hidden];
                let lane = to % TOKENS;
                for (k, (to, (word, place))) in panel.iter_mut().zip(word.iter().zip(place)).enumerate() {
                    to[lane] = (word + kind.get(k).copied().unwrap_or(0.0)) + place;
                }
            }
        }
    }

    /// Adds the slopes `d` `[tokens][hidden]` of the sums to those of the tables, in the order of the tokens.
    pub(super) fn scatter(&self, parameters: &mut Parameters, texts: &[Vec<u32>], d: &[f32]) {
        let mut rows = d.chunks_exact(self.hidden);
        for tokens in texts {
            for ((&token, place), d) in tokens.iter().zip(self.places(tokens)).zip(&mut rows) {
                parameters.add_row(self.words, token, d);
                parameters.add_row(self.places, place, d);
                if let Some(types) = self.types {
                    parameters.add_row(types, 0, d);
                }
            }
        }
    }
}

/// The text's tokens of `x` `[panels][padded(hidden)]` as rows `[tokens][hidden]`.
pub(super) fn rows(x: &[Lanes], hidden: usize, tokens: usize) -> Vec<f32> {
    let stride = padded(hidden);
    let mut out = vec![0.0; tokens * hidden];
    for (token, out) in out.chunks_exact_mut(hidden).enumerate() {
        for (out, row) in out.iter_mut().zip(&x[token / TOKENS * stride..]) {
            *out = row[token % TOKENS];
        }
    }
    out
}
