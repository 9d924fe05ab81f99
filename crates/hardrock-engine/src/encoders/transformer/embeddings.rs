//! From token ids to the first activations of a chunk.

use std::ops::Range;

use crate::encoders::{Error, Result};
use crate::kernel::lanes::Lanes;
use crate::kernel::{Isa, TOKENS};

use super::layer::{Angles, Norm};
use super::packed::padded;

/// A text as a model reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) tokens: &'a [u32],
    /// The first token of the second part of a pair, or the number of tokens.
    pub(super) second: usize,
}

impl<'a> Text<'a> {
    /// A text that is no pair.
    pub(super) fn single(tokens: &'a [u32]) -> Self {
        Self { tokens, second: tokens.len() }
    }
}

/// Vectors of places.
#[derive(Debug)]
pub(super) struct Positions {
    /// `[places][hidden]`.
    pub(super) table: Vec<f32>,
    /// RoBERTa's way: places count from behind this token's id, and the token itself has no place but its own id.
    pub(super) padding: Option<u32>,
}

/// The tables of a model.
#[derive(Debug)]
pub(super) struct Embeddings {
    pub(super) hidden: usize,
    /// `[tokens][hidden]`.
    pub(super) words: Vec<f32>,
    pub(super) positions: Option<Positions>,
    /// `[types][hidden]`, empty for none.
    pub(super) types: Vec<f32>,
    pub(super) norm: Option<Norm>,
}

impl Embeddings {
    /// Texts with more tokens have no place for the last.
    pub(super) fn longest(&self) -> Option<usize> {
        let positions = self.positions.as_ref()?;
        let places = positions.table.len() / self.hidden;
        Some(places - positions.padding.map_or(0, |id| id as usize + 1).min(places))
    }

    /// Refuses texts that the tables have no rows for.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::Length`].
    pub(super) fn check(&self, tokens: &[u32]) -> Result<()> {
        let vocabulary = self.words.len() / self.hidden;
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(Error::Token { token, vocabulary });
        }
        match self.longest() {
            Some(longest) if tokens.len() > longest => Err(Error::Length { tokens: tokens.len(), longest }),
            _ => Ok(()),
        }
    }

    /// Writes the activations `[panels][padded(hidden)]` of checked texts, which lie at `places` of the chunk.
    pub(super) fn gather(&self, isa: Isa, texts: &[Text<'_>], places: &[Range<usize>], x: &mut [Lanes]) {
        x.fill([0.0; TOKENS]);
        let stride = padded(self.hidden);
        let row = |table: &'_ [f32], at: usize| -> Range<usize> {
            // Pairs may name a type that a small table does not have.
            let at = at.min((table.len() / self.hidden).saturating_sub(1));
            at * self.hidden..(at + 1) * self.hidden
        };
        for (text, place) in texts.iter().zip(places) {
            let mut seen = 0;
            for (index, (&token, to)) in text.tokens.iter().zip(place.clone()).enumerate() {
                let word = &self.words[row(&self.words, token as usize)];
                let kind = match self.types.is_empty() {
                    true => &[],
                    false => &self.types[row(&self.types, usize::from(index >= text.second))],
                };
                let position = self.positions.as_ref().map_or(&[][..], |p| {
                    let at = match p.padding {
                        None => index,
                        Some(padding) if padding == token => padding as usize,
                        Some(padding) => {
                            seen += 1;
                            padding as usize + seen
                        }
                    };
                    &p.table[row(&p.table, at)]
                });
                let panel = &mut x[to / TOKENS * stride..][..self.hidden];
                let lane = to % TOKENS;
                for (k, (to, &word)) in panel.iter_mut().zip(word).enumerate() {
                    let kind = kind.get(k).copied().unwrap_or(0.0);
                    to[lane] = (word + kind) + position.get(k).copied().unwrap_or(0.0);
                }
            }
        }
        if let Some(norm) = &self.norm {
            norm.apply(isa, x);
        }
    }
}

/// The angles of a rotation by its base, for texts at `places` of a chunk of `panels` panels; `dim` is that of a head.
pub(super) fn angles(base: f64, dim: usize, panels: usize, places: &[Range<usize>]) -> Angles {
    let half = dim / 2;
    let empty = || vec![[0.0; TOKENS]; panels * half];
    let mut angles = Angles { cos: empty(), sin: empty() };
    for pair in 0..half {
        let frequency = 1.0 / (base as f32).powf((2 * pair) as f32 / dim as f32);
        for place in places {
            for (position, to) in place.clone().enumerate() {
                let angle = position as f32 * frequency;
                let row = to / TOKENS * half + pair;
                angles.cos[row][to % TOKENS] = angle.cos();
                angles.sin[row][to % TOKENS] = angle.sin();
            }
        }
    }
    angles
}
