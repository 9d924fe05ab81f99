//! The one pass that turns texts into rows of terms.
//!
//! Batches are tokenised in parallel, each with a vocabulary of its own; the vocabularies are joined in document order, and
//! then the batches are counted in parallel. So term ids never depend on the threads.

use std::ops::Range;

use rayon::prelude::*;

use super::forward::{BATCH, Tally, batches};
use super::{IndexError, Result, Terms, Texts, Tokenizer, Watch};

/// The rows of one batch, with global term ids.
pub(super) struct Part {
    pub(super) terms: Vec<u32>,
    pub(super) counts: Vec<u16>,
    pub(super) ends: Vec<u32>,
    pub(super) lens: Vec<u32>,
}

/// A batch before its terms have global ids.
struct Batch {
    vocabulary: Terms,
    tokens: Vec<u32>,
    ends: Vec<usize>,
}

fn tokenise(texts: &dyn Texts, range: Range<usize>, tokenizer: &Tokenizer) -> Result<Batch> {
    const STOPPED: u32 = u32::MAX;
    let mut batch = Batch { vocabulary: Terms::default(), tokens: Vec::new(), ends: Vec::new() };
    // Stop words and stems are decided once per distinct word of the batch, in `fate`.
    let (mut words, mut fate) = (Terms::default(), Vec::<u32>::new());
    let direct = tokenizer.words_are_terms();
    let mut lower = String::new();
    let mut failed = None;
    texts.for_each(range, &mut |_, text| {
        let Batch { vocabulary, tokens, ends } = &mut batch;
        tokenizer.words(text, &mut lower, |word| {
            let interned = if direct {
                vocabulary.intern(word)
            } else {
                words.intern(word).and_then(|id| {
                    if id as usize == fate.len() {
                        fate.push(match tokenizer.term(word) {
                            Some(term) => vocabulary.intern(&term)?,
                            None => STOPPED,
                        });
                    }
                    Ok(fate[id as usize])
                })
            };
            match interned {
                Ok(STOPPED) => {}
                Ok(term) => tokens.push(term),
                Err(error) => failed = Some(error),
            }
        });
        ends.push(tokens.len());
    })?;
    failed.map_or(Ok(batch), Err)
}

/// Gives a batch its global ids and counts its terms.
fn count(batch: Batch, global: &[u32]) -> Part {
    let Batch { mut tokens, ends, .. } = batch;
    let mut part = Part {
        terms: Vec::with_capacity(tokens.len()),
        counts: Vec::with_capacity(tokens.len()),
        ends: Vec::with_capacity(ends.len()),
        lens: Vec::with_capacity(ends.len()),
    };
    let mut from = 0;
    for to in ends {
        let row = &mut tokens[from..to];
        for token in row.iter_mut() {
            *token = global[*token as usize];
        }
        row.sort_unstable();
        for run in row.chunk_by(|a, b| a == b) {
            part.terms.push(run[0]);
            part.counts.push(run.len().min(usize::from(u16::MAX)) as u16);
        }
        part.ends.push(part.terms.len() as u32);
        part.lens.push(row.len() as u32);
        from = to;
    }
    part
}

/// Walks all texts; `keep` gets the rows in document order.
pub(super) fn scan(
    texts: &dyn Texts,
    tokenizer: &Tokenizer,
    watch: &Watch<'_>,
    mut keep: impl FnMut(&Part) -> Result<()>,
) -> Result<(Terms, Tally)> {
    let len = texts.len();
    if len >= u32::MAX as usize {
        return Err(IndexError::TooMany { what: "documents", got: len, most: u32::MAX as usize - 1 });
    }
    let mut vocabulary = Terms::default();
    let mut tally = Tally { starts: vec![0], lens: Vec::with_capacity(len), df: Vec::new() };
    let wave = rayon::current_num_threads() * 4;
    for wave in batches(0..len, BATCH).chunks(wave) {
        let batches: Vec<Batch> = wave
            .par_iter()
            .map(|range| {
                watch.check()?;
                tokenise(texts, range.clone(), tokenizer)
            })
            .collect::<Result<_>>()?;
        let numbered: Vec<(Batch, Vec<u32>)> = batches
            .into_iter()
            .map(|batch| {
                let global = batch.vocabulary.iter().map(|t| vocabulary.intern(t)).collect::<Result<_>>()?;
                Ok((batch, global))
            })
            .collect::<Result<_>>()?;
        let parts: Vec<Part> =
            numbered.into_par_iter().map(|(batch, global)| count(batch, &global)).collect();
        tally.df.resize(vocabulary.len(), 0);
        for part in &parts {
            let base = tally.starts.last().copied().unwrap_or(0);
            tally.starts.extend(part.ends.iter().map(|&end| base + u64::from(end)));
            tally.lens.extend_from_slice(&part.lens);
            for &term in &part.terms {
                tally.df[term as usize] += 1;
            }
            keep(part)?;
            watch.advance(part.lens.len());
        }
    }
    Ok((vocabulary, tally))
}
