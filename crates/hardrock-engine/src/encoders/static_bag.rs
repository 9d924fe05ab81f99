//! Static models: a vector per token, a text is their mean.
//!
//! ## What a vector is
//! `sum over tokens of weight[token] * row[token]`, token by token from the first in f32, divided by the number
//! of tokens. A text without tokens is the zero vector. Lanes are the columns, so the sum of each column is one
//! chain whatever the width of the machine.

use rayon::prelude::*;

use super::{Encoder, Error, Result, Tensor};

/// A table of token vectors.
#[derive(Debug)]
pub struct StaticBag {
    /// `[rows][dim]`.
    table: Vec<f32>,
    dim: usize,
    /// Ids below this are known.
    vocabulary: usize,
    /// The row of each token where several share one; else the token is its row.
    mapping: Option<Vec<u32>>,
    /// The weight of each token, 1 where none are given.
    weights: Option<Vec<f32>>,
}

impl StaticBag {
    /// A table `[tokens][dim]`; the name is that of the tensor, for errors.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless it has two axes and at least one column.
    pub fn new(name: &str, table: Tensor) -> Result<Self> {
        let Tensor { shape, values } = table;
        match shape[..] {
            [rows, dim] if dim > 0 && values.len() == rows.saturating_mul(dim) => {
                Ok(Self { table: values, dim, vocabulary: rows, mapping: None, weights: None })
            }
            _ => Err(Error::Unsupported {
                what: "a table of token vectors",
                got: format!("{name} {shape:?}"),
                mend: "it must be [tokens, dimensions]",
            }),
        }
    }

    /// Lets several tokens share a row: `mapping` `[tokens]` holds the row of each.
    ///
    /// # Errors
    /// [`Error::Token`] for a row that the table does not have.
    pub fn with_mapping(mut self, mapping: Vec<u32>) -> Result<Self> {
        let rows = self.table.len() / self.dim;
        if let Some(&token) = mapping.iter().find(|&&row| row as usize >= rows) {
            return Err(Error::Token { token, vocabulary: rows });
        }
        self.vocabulary = mapping.len();
        self.mapping = Some(mapping);
        Ok(self)
    }

    /// Gives each token a weight, `[tokens]`; after the mapping, if there is one.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there is one for each token.
    pub fn with_weights(mut self, name: &str, weights: Vec<f32>) -> Result<Self> {
        if weights.len() != self.vocabulary {
            let (expected, got) = (vec![self.vocabulary], vec![weights.len()]);
            return Err(Error::Shape { name: name.to_owned(), expected, got });
        }
        self.weights = Some(weights);
        Ok(self)
    }

    /// The vector of one text.
    fn bag(&self, tokens: &[u32], out: &mut [f32]) -> Result<()> {
        out.fill(0.0);
        for &token in tokens {
            let id = token as usize;
            if id >= self.vocabulary {
                return Err(Error::Token { token, vocabulary: self.vocabulary });
            }
            let row = self.mapping.as_ref().map_or(id, |rows| rows[id] as usize);
            let row = &self.table[row * self.dim..][..self.dim];
            match &self.weights {
                Some(weights) => {
                    let weight = weights[id];
                    out.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight * x);
                }
                None => out.iter_mut().zip(row).for_each(|(sum, x)| *sum += x),
            }
        }
        if tokens.len() > 1 {
            let count = tokens.len() as f32;
            out.iter_mut().for_each(|sum| *sum /= count);
        }
        Ok(())
    }
}

impl Encoder for StaticBag {
    fn dim(&self) -> usize {
        self.dim
    }

    fn encode(&self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        /// Texts that a task takes at least: a bag of 32 tokens takes about a microsecond.
        const TEXTS: usize = 64;
        assert!(out.len() == texts.len() * self.dim, "a vector for each text");
        let rows = out.par_chunks_mut(self.dim).with_min_len(TEXTS);
        rows.zip(texts).try_for_each(|(row, tokens)| self.bag(tokens, row))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(rows: usize, dim: usize, values: Vec<f32>) -> StaticBag {
        StaticBag::new("embeddings", Tensor { shape: vec![rows, dim], values }).unwrap()
    }

    fn encode(bag: &StaticBag, texts: &[&[u32]]) -> Result<Vec<f32>> {
        let mut out = vec![f32::NAN; texts.len() * bag.dim()];
        bag.encode(texts, &mut out).map(|()| out)
    }

    #[test]
    fn a_text_is_the_mean_of_its_tokens_and_nothing_is_zero() {
        let bag = table(3, 2, vec![1.0, 2.0, 3.0, 4.0, -5.0, 6.0]);
        let got = encode(&bag, &[&[0, 1], &[], &[2], &[1, 1, 2]]).unwrap();
        assert_eq!(got, [2.0, 3.0, 0.0, 0.0, -5.0, 6.0, 1.0 / 3.0, 14.0 / 3.0]);
    }

    #[test]
    fn weights_belong_to_tokens_and_rows_can_be_shared() {
        let bag = table(2, 2, vec![1.0, 2.0, 3.0, 4.0]).with_mapping(vec![1, 0, 1]).unwrap();
        let bag = bag.with_weights("weights", vec![2.0, 0.0, 0.5]).unwrap();
        assert_eq!(encode(&bag, &[&[0], &[1], &[0, 2]]).unwrap(), [6.0, 8.0, 0.0, 0.0, 3.75, 5.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let bag = || table(2, 1, vec![1.0, 2.0]);
        let token = encode(&bag(), &[&[0], &[7]]).unwrap_err();
        assert_eq!(token.to_string(), "token 7 is beyond the vocabulary of 2");
        assert!(matches!(bag().with_mapping(vec![2]), Err(Error::Token { token: 2, vocabulary: 2 })));
        let weights = bag().with_weights("weights", vec![1.0]).unwrap_err();
        assert_eq!(weights.to_string(), "tensor `weights` has the shape [1], the configuration asks for [2]");
        let flat = StaticBag::new("embeddings", Tensor { shape: vec![4], values: vec![0.0; 4] });
        assert!(matches!(flat, Err(Error::Unsupported { .. })));
    }

    proptest! {
        #[test]
        fn neighbours_and_threads_change_no_bit(
            values in prop::collection::vec(-3.0f32..3.0, 5 * 19),
            texts in prop::collection::vec(prop::collection::vec(0u32..5, 0..40), 1..300),
        ) {
            let bag = table(5, 19, values);
            let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
            let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let together = pool(3).install(|| encode(&bag, &texts).unwrap());
            for (text, row) in texts.iter().zip(together.chunks(19)) {
                let alone = pool(1).install(|| encode(&bag, &[text]).unwrap());
                prop_assert!(alone.iter().zip(row).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
    }
}
