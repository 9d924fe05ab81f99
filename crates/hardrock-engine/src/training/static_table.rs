//! A table of token vectors that learns: a text is the mean of its tokens' rows at unit length.
//!
//! ## The way back
//! With `x` the mean and `e = x / |x|`, a gradient `g` of `e` is `(g - e (e·g)) / |x|` at the mean and that divided by the
//! number of tokens at each token's row. A counting sort brings together what meets at a row, so that each row is summed by
//! one task in the order of the texts, and a step reads and writes only the rows that the batch touches.

use rayon::prelude::*;

use super::Trainable;
use super::adam::{Adam, Row};
use super::bags::Bags;
use crate::encoders::{Error, Result};
use crate::index::rows::norm;

/// A table that learns.
#[derive(Debug)]
pub struct StaticTable {
    state: State,
    dim: usize,
    adam: Adam,
    /// The last forward pass.
    last: Batch,
    /// What backward passes have left for the next step.
    waiting: Batch,
    bags: Bags,
}

/// All that a later step depends on: what a checkpoint holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The table `[vocabulary][dim]`.
    pub table: Vec<f32>,
    /// Running means of the gradients, same shape.
    pub mean: Vec<f32>,
    /// Running means of the squared gradients, same shape.
    pub square: Vec<f32>,
    /// Steps made.
    pub steps: u64,
}

/// Texts with a row of numbers for each.
#[derive(Debug, Default)]
struct Batch {
    /// Tokens of all texts.
    tokens: Vec<u32>,
    /// Where each text ends.
    ends: Vec<usize>,
    /// `[texts][dim]`: unit vectors, or gradients at the tokens' rows.
    rows: Vec<f32>,
    /// Length of each mean; 0 where a text has no direction.
    lengths: Vec<f32>,
}

impl StaticTable {
    /// Starts from `table` `[vocabulary][dim]`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless the table is whole rows of at least one column.
    pub fn new(table: Vec<f32>, dim: usize, adam: Adam) -> Result<Self> {
        let zeros = vec![0.0; table.len()];
        let state = State { table, mean: zeros.clone(), square: zeros, steps: 0 };
        Self::resume(state, dim, adam)
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless its parts are whole rows of one shape.
    pub fn resume(state: State, dim: usize, adam: Adam) -> Result<Self> {
        let size = state.table.len();
        if dim == 0
            || size == 0
            || !size.is_multiple_of(dim)
            || [state.mean.len(), state.square.len()] != [size; 2]
        {
            return Err(Error::Unsupported {
                what: "a table of token vectors",
                got: format!("{size} numbers for {dim} columns"),
                mend: "it must be [tokens, dimensions], with optimiser state of the same shape",
            });
        }
        let (last, waiting, bags) = Default::default();
        Ok(Self { state, dim, adam, last, waiting, bags })
    }

    /// The parameters and the optimiser's state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The table `[vocabulary][dim]`.
    pub fn table(&self) -> &[f32] {
        &self.state.table
    }

    /// Rows of the table.
    pub fn vocabulary(&self) -> usize {
        self.state.table.len() / self.dim
    }
}

/// Texts that a task takes at least.
const TEXTS: usize = 32;

/// Mean of the rows of `tokens`, at unit length; answers the length of the mean.
fn encode(table: &[f32], tokens: &[u32], out: &mut [f32]) -> f32 {
    out.fill(0.0);
    for &token in tokens {
        let row = &table[token as usize * out.len()..][..out.len()];
        out.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    if tokens.len() > 1 {
        let count = tokens.len() as f32;
        out.iter_mut().for_each(|sum| *sum /= count);
    }
    let length = norm(out);
    if length > 0.0 {
        out.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
    length as f32
}

impl Trainable for StaticTable {
    fn dim(&self) -> usize {
        self.dim
    }

    fn forward(&mut self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        assert!(out.len() == texts.len() * self.dim, "a vector for each text");
        let (vocabulary, batch) = (self.vocabulary(), &mut self.last);
        batch.tokens.clear();
        batch.ends.clear();
        for text in texts {
            if let Some(&token) = text.iter().find(|&&token| token as usize >= vocabulary) {
                return Err(Error::Token { token, vocabulary });
            }
            batch.tokens.extend_from_slice(text);
            batch.ends.push(batch.tokens.len());
        }
        batch.lengths.resize(texts.len(), 0.0);
        let table = &self.state.table;
        let rows = out.par_chunks_mut(self.dim).zip(&mut batch.lengths).zip(texts).with_min_len(TEXTS);
        rows.for_each(|((row, length), tokens)| *length = encode(table, tokens, row));
        batch.rows.clear();
        batch.rows.extend_from_slice(out);
        Ok(())
    }

    fn backward(&mut self, slopes: &[f32]) {
        assert!(slopes.len() == self.last.rows.len(), "a gradient for each vector of the last forward pass");
        let (last, waiting) = (&self.last, &mut self.waiting);
        let (before, from) = (waiting.tokens.len(), waiting.rows.len());
        waiting.tokens.extend_from_slice(&last.tokens);
        waiting.ends.extend(last.ends.iter().map(|end| before + end));
        waiting.rows.extend_from_slice(slopes);
        let rows = waiting.rows[from..].par_chunks_mut(self.dim).zip(last.rows.par_chunks(self.dim));
        rows.enumerate().with_min_len(TEXTS).for_each(|(text, (g, e))| {
            let start = if text == 0 { 0 } else { last.ends[text - 1] };
            let count = last.ends[text] - start;
            let length = last.lengths[text];
            if length > 0.0 && count > 0 {
                let along: f64 = g.iter().zip(e).map(|(g, e)| f64::from(*g) * f64::from(*e)).sum();
                let (along, scale) = (along as f32, 1.0 / (length * count as f32));
                g.iter_mut().zip(e).for_each(|(g, e)| *g = (*g - e * along) * scale);
            } else {
                g.fill(0.0);
            }
        });
    }

    fn step(&mut self, rate: f32) {
        let vocabulary = self.vocabulary();
        let (dim, waiting, bags) = (self.dim, &self.waiting, &mut self.bags);
        bags.sort(vocabulary, &waiting.tokens, &waiting.ends);
        self.state.steps += 1;
        let (adam, length) = (self.adam, self.adam.length(rate, self.state.steps));
        let mut tasks = Vec::with_capacity(bags.touched.len());
        let mut rest = [&mut self.state.table[..], &mut self.state.mean[..], &mut self.state.square[..]];
        let mut next = 0;
        for (&token, range) in bags.touched.iter().zip(bags.starts.windows(2)) {
            let skip = (token as usize - next) * dim;
            let [values, mean, square] = rest.map(|part| part[skip..].split_at_mut(dim));
            let row = Row { values: values.0, mean: mean.0, square: square.0 };
            tasks.push((row, &bags.texts[range[0]..range[1]]));
            rest = [values.1, mean.1, square.1];
            next = token as usize + 1;
        }
        tasks.into_par_iter().with_min_len(TEXTS).for_each_init(
            || vec![0.0; dim],
            |slope, (row, texts)| {
                slope.fill(0.0);
                for &text in texts {
                    let part = &waiting.rows[text as usize * dim..][..dim];
                    slope.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
                }
                adam.step(row, slope, length);
            },
        );
        let waiting = &mut self.waiting;
        waiting.tokens.clear();
        waiting.ends.clear();
        waiting.rows.clear();
    }
}

#[cfg(test)]
mod tests {
    use hardrock_core::Rng;

    use super::*;

    const DIM: usize = 5;

    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::at(seed, 0, 0);
        (0..n).map(|_| rng.unit() as f32 - 0.5).collect()
    }

    fn table() -> StaticTable {
        StaticTable::new(numbers(7 * DIM, 1), DIM, Adam::default()).unwrap()
    }

    const TEXTS: [&[u32]; 5] = [&[0, 1, 1], &[2], &[], &[6, 0, 4, 4], &[1, 2]];

    /// A loss with a slope of its own for every number of every vector.
    fn loss(table: &[f32], weights: &[f32]) -> f64 {
        let mut row = [0.0; DIM];
        let mut sum = 0.0;
        for (tokens, weights) in TEXTS.iter().zip(weights.chunks(DIM)) {
            encode(table, tokens, &mut row);
            sum += row.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>();
        }
        sum
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let weights = numbers(TEXTS.len() * DIM, 2);
        let mut model = table();
        let mut out = vec![0.0; weights.len()];
        model.forward(&TEXTS, &mut out).unwrap();
        model.backward(&weights);
        let mut slopes = [0.0f32; 7 * DIM];
        let mut from = 0;
        for (row, &end) in model.waiting.rows.chunks(DIM).zip(&model.waiting.ends) {
            for &token in &model.waiting.tokens[from..end] {
                let to = &mut slopes[token as usize * DIM..][..DIM];
                to.iter_mut().zip(row).for_each(|(s, x)| *s += x);
            }
            from = end;
        }
        let start = model.table().to_vec();
        for at in 0..start.len() {
            let moved = |by: f32| {
                let mut table = start.clone();
                table[at] += by;
                loss(&table, &weights)
            };
            let want = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            assert!((f64::from(slopes[at]) - want).abs() < 2e-3, "{at}: {} for {want}", slopes[at]);
        }
    }

    #[test]
    fn a_step_is_sparse_adams_and_leaves_other_rows_alone() {
        let weights = numbers(TEXTS.len() * DIM, 2);
        let mut model = table();
        let start = model.table().to_vec();
        let mut out = vec![0.0; weights.len()];
        for _ in 0..3 {
            model.forward(&TEXTS, &mut out).unwrap();
            model.backward(&weights);
            model.step(0.1);
        }
        // Tokens 3 and 5 stand in no text.
        for row in 0..7 {
            let same = model.table()[row * DIM..][..DIM] == start[row * DIM..][..DIM];
            assert_eq!(same, row == 3 || row == 5, "row {row}");
        }
        // The first step of Adam is as long as the rate, whatever the gradient's size.
        let mut once = table();
        once.forward(&TEXTS, &mut out).unwrap();
        once.backward(&weights);
        once.step(0.1);
        let moved = (once.table()[0] - start[0]).abs();
        assert!((moved - 0.1).abs() < 1e-4, "{moved}");
        assert!(loss(model.table(), &weights) < loss(once.table(), &weights));
        assert!(loss(once.table(), &weights) < loss(&start, &weights), "downhill");
    }

    #[test]
    fn parts_of_a_batch_add_up_and_threads_change_no_bit() {
        let texts: Vec<Vec<u32>> = (0..200u64)
            .map(|i| {
                let mut rng = Rng::at(3, 0, i);
                (0..rng.below(30)).map(|_| rng.below(7) as u32).collect()
            })
            .collect();
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let weights = numbers(texts.len() * DIM, 4);
        let train = |threads: usize, cut: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut model = table();
                for _ in 0..4 {
                    for (texts, weights) in texts.chunks(cut).zip(weights.chunks(cut * DIM)) {
                        model.forward(texts, &mut vec![0.0; weights.len()]).unwrap();
                        model.backward(weights);
                    }
                    model.step(0.05);
                }
                model.state().clone()
            })
        };
        let whole = train(1, texts.len());
        assert_eq!(train(3, texts.len()), whole);
        assert_eq!(train(2, 64), whole);
        assert_eq!(StaticTable::resume(whole.clone(), DIM, Adam::default()).unwrap().state(), &whole);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut model = table();
        let error = model.forward(&[&[7]], &mut [0.0; DIM]).unwrap_err();
        assert_eq!(error.to_string(), "token 7 is beyond the vocabulary of 7");
        assert!(StaticTable::new(vec![0.0; 7], DIM, Adam::default()).is_err());
        assert!(StaticTable::new(Vec::new(), DIM, Adam::default()).is_err());
    }
}
