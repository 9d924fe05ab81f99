//! The table that learning starts from: random, a static model's, or a transformer's token embeddings.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use hardrock_core::Rng;

use super::spec::{ModelTable, RANDOM};
use super::tokens::Tokens;
use super::vocabulary::Reader;
use crate::mine::Progress;
use crate::models::{TokenTable, token_table};
use crate::read::{Dataset, Table};
use crate::{Error, Result};

/// Stage number of the draws of a random start.
const DRAW: u64 = 0x7461_626c;

/// What learning starts with.
pub(crate) struct Start {
    pub(crate) reader: Reader,
    /// `[vocabulary][dim]`.
    pub(crate) table: Vec<f32>,
    pub(crate) dim: usize,
    /// Tokens of the documents and of the anchors.
    pub(crate) items: Tokens,
    pub(crate) anchors: Tokens,
    /// In words, for the model card.
    pub(crate) words: String,
}

/// Reads or makes the tokenizer, the texts' tokens and the table.
pub(crate) fn start(
    model: &ModelTable,
    given: Option<TokenTable>,
    dataset: &Dataset,
    seed: u64,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Start> {
    let tables: [&Table; 2] = [&dataset.items, &dataset.anchors];
    let texts = tables.map(|table| table.len() as u64).iter().sum();
    let reader = match &given {
        Some(given) => Reader::new(
            &given.tokenizer,
            Path::new(&model.start).join("tokenizer.json").as_path(),
            model.max_length,
        )?,
        None => {
            progress.stage("vocabulary", texts, "texts");
            Reader::of_texts(tables, model.vocabulary, model.max_length, progress, cancel)?
        }
    };
    progress.stage("tokens", texts, "texts");
    let [items, anchors] = tables.map(|table| Tokens::read(table, &reader, progress, cancel));
    let (items, anchors) = (items?, anchors?);
    let vocabulary = reader.vocabulary();
    let (table, dim, words) = match given {
        None => {
            let table = random(&weights(vocabulary, [&items, &anchors]), model.dim, seed);
            (table, model.dim, "random directions, as long as the token is rare".to_owned())
        }
        Some(given) => {
            let (mut table, dim) = (given.rows, given.dim);
            if table.len() < vocabulary * dim {
                return Err(Error::input(
                    Path::new(&model.start),
                    None,
                    format!("{} rows for the {vocabulary} tokens of tokenizer.json", table.len() / dim),
                    "its files do not belong together: fetch the whole model",
                ));
            }
            table.truncate(vocabulary * dim);
            if given.contextual {
                distil(&mut table, dim, &weights(vocabulary, [&items, &anchors]));
            }
            let what = if given.contextual { "the token embeddings of" } else { "the static model" };
            let name = Path::new(&model.start).file_name().unwrap_or_default().to_string_lossy();
            (table, dim, format!("{what} {name}"))
        }
    };
    Ok(Start { reader, table, dim, items, anchors, words })
}

/// Opens the folder to start from; none for a random start.
pub(crate) fn open(model: &ModelTable) -> Result<Option<TokenTable>> {
    if model.start == RANDOM {
        return Ok(None);
    }
    let path = Path::new(&model.start);
    if !path.is_dir() {
        return Err(Error::usage(
            format!("there is no model folder `{}` to start from", model.start),
            "give the folder of a static model or a transformer, or `random`",
        ));
    }
    token_table(path).map(Some)
}

/// How much each token says: the logarithm of how few texts hold it, from 0.1 for a token of every text.
fn weights(vocabulary: usize, sides: [&Tokens; 2]) -> Vec<f32> {
    let mut texts = vec![0u32; vocabulary];
    let mut last = vec![u32::MAX; vocabulary];
    let mut count = 0u32;
    for tokens in sides.into_iter().flat_map(Tokens::iter) {
        for &token in tokens {
            if std::mem::replace(&mut last[token as usize], count) != count {
                texts[token as usize] += 1;
            }
        }
        count += 1;
    }
    let weight = |n: u32| (f64::from(count + 1) / f64::from(n + 1)).ln() + 0.1;
    texts.into_iter().map(|n| weight(n) as f32).collect()
}

/// Independent normal numbers, so that different tokens are nearly orthogonal: cosines start close to those of tf-idf.
fn random(weights: &[f32], dim: usize, seed: u64) -> Vec<f32> {
    let mut table = Vec::with_capacity(weights.len() * dim);
    for (token, &weight) in weights.iter().enumerate() {
        let mut rng = Rng::at(seed, DRAW, token as u64);
        let scale = f64::from(weight) / (dim as f64).sqrt();
        let end = table.len() + dim;
        while table.len() < end {
            // Box and Muller: two normal numbers of two uniform ones; 1 - u is never 0.
            let (radius, angle) =
                ((-2.0 * (1.0 - rng.unit()).ln()).sqrt(), std::f64::consts::TAU * rng.unit());
            table.push((scale * radius * angle.cos()) as f32);
            if table.len() < end {
                table.push((scale * radius * angle.sin()) as f32);
            }
        }
    }
    table
}

/// Takes away what all embeddings share, brings them to the same mean length, and weighs each by how much its token says.
fn distil(table: &mut [f32], dim: usize, weights: &[f32]) {
    let mut centre = vec![0.0f64; dim];
    for row in table.chunks_exact(dim) {
        centre.iter_mut().zip(row).for_each(|(c, x)| *c += f64::from(*x));
    }
    let rows = weights.len().max(1) as f64;
    for (row, &weight) in table.chunks_exact_mut(dim).zip(weights) {
        row.iter_mut().zip(&centre).for_each(|(x, c)| *x -= (c / rows) as f32);
        hardrock_engine::index::rows::normalise(row);
        row.iter_mut().for_each(|x| *x *= weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_tokens_start_long_and_the_seed_decides_the_rest() {
        let table = random(&[1.0, 4.0], 1024, 3);
        let length = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>().sqrt();
        let lengths = [length(&table[..1024]), length(&table[1024..])];
        assert!((lengths[0] - 1.0).abs() < 0.1 && (lengths[1] - 4.0).abs() < 0.4, "{lengths:?}");
        assert_eq!(random(&[1.0, 4.0], 1024, 3), table);
        assert_ne!(random(&[1.0, 4.0], 1024, 4), table);
        assert_eq!(random(&[1.0], 3, 3).len(), 3);
    }

    #[test]
    fn distilling_removes_the_common_part() {
        let mut table = vec![5.0, 1.0, 5.0, -1.0];
        distil(&mut table, 2, &[1.0, 2.0]);
        assert_eq!(table, [0.0, 1.0, 0.0, -2.0]);
    }
}
