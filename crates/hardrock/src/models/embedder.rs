//! A model of this machine: its tokenizer and its encoder.

use std::sync::atomic::{AtomicBool, Ordering};

use hardrock_engine::encoders::Encoder;

use super::tokenizer::Tokenizer;
use super::{Card, Embedder, Prompts};
use crate::{Error, Result};

/// Texts whose tokens are held at once.
pub(super) const TEXTS: usize = 1024;

/// A model of this machine.
pub(super) struct Local {
    pub(super) card: Card,
    pub(super) prompts: Prompts,
    pub(super) tokenizer: Tokenizer,
    pub(super) encoder: Box<dyn Encoder>,
    /// Tokens that a thread encodes between two looks at the flag; a text is never cut for it.
    pub(super) tokens: usize,
}

impl Embedder for Local {
    fn card(&self) -> &Card {
        &self.card
    }

    fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    fn encode(&self, texts: &[&str], out: &mut [f32], cancel: &AtomicBool) -> Result<()> {
        let dim = self.card.dim;
        assert!(out.len() == texts.len() * dim, "a vector for each text");
        let most = self.tokens.saturating_mul(rayon::current_num_threads());
        for (texts, out) in texts.chunks(TEXTS).zip(out.chunks_mut(TEXTS * dim)) {
            stopped(cancel)?;
            let ids = self.tokenizer.encode(texts)?;
            let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            let mut start = 0;
            for part in parts(&ids, most) {
                stopped(cancel)?;
                self.encoder.encode(part, &mut out[start * dim..][..part.len() * dim])?;
                start += part.len();
            }
        }
        Ok(())
    }
}

/// An error once the flag is set.
pub(super) fn stopped(cancel: &AtomicBool) -> Result<()> {
    if cancel.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}

/// Neighbouring texts with up to `most` tokens together, at least one text each.
pub(super) fn parts<'a, 'b>(ids: &'a [&'b [u32]], most: usize) -> impl Iterator<Item = &'a [&'b [u32]]> {
    let mut rest = ids;
    std::iter::from_fn(move || {
        let mut tokens = 0usize;
        let fits = |text: &&&[u32]| {
            tokens = tokens.saturating_add(text.len());
            tokens <= most
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (part, after) = rest.split_at(count);
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_so_many_tokens_and_lose_no_text() {
        let texts: [&[u32]; 6] = [&[1, 2], &[3], &[4, 5, 6, 7, 8], &[], &[9], &[10]];
        let lengths = |most| parts(&texts, most).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(3), [2, 1, 3]);
        assert_eq!(lengths(1), [1, 1, 1, 2, 1]);
        assert_eq!(lengths(usize::MAX), [6]);
        assert_eq!(parts(&[], 3).count(), 0);
    }
}
