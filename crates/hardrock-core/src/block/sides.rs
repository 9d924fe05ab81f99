//! The embeddings behind a training block, and the gradients that go back to them.
//!
//! A [`Side`] is a matrix of vectors `[n, dim]`; a [`Join`] says which two sides a segment compares and which of their rows
//! meet in which cell. Two joins that name one side are tied: their gradients add up. A frozen side gets none.

use super::{Items, NewSegment, Origin};
use crate::losses::fits;
use crate::{Error, Result};

/// Vectors of one kind, row-major `[n, dim]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    vectors: Vec<f32>,
    frozen: bool,
}

/// Which rows of its two sides meet in the cells of a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum Layout {
    /// Row r of the block is row r of one side; column c is row c of the other.
    Shared,
    /// Each row its own columns: cell (r, j) is `index[r * width + j]` of the column side; `None` = absent.
    Own {
        /// Columns of the segment.
        width: usize,
        /// `[rows, width]`
        index: Vec<Option<u32>>,
    },
    /// Column j is the same pair (row of one side, row of the other) in every row of the block.
    Foreign(Vec<(u32, u32)>),
}

/// A segment's two sides.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// Where the cells come from.
    pub origin: Origin,
    /// Number of the side that stands in rows.
    pub rows: usize,
    /// Number of the side that stands in columns.
    pub columns: usize,
    /// Which of their vectors meet.
    pub layout: Layout,
}

/// The three products of a step. `a` is `[n, dim]`, `b` is `[m, dim]`, `s` is `[n, m]`, all row-major.
pub trait Products: Sync {
    /// s = a·bᵀ.
    fn scores(&self, a: &[f32], b: &[f32], dim: usize, s: &mut [f32]);
    /// a += s·b.
    fn rows(&self, s: &[f32], b: &[f32], dim: usize, a: &mut [f32]);
    /// b += sᵀ·a.
    fn columns(&self, s: &[f32], a: &[f32], dim: usize, b: &mut [f32]);
}

/// The definition of the products, in plain loops.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainProducts;

impl Products for PlainProducts {
    fn scores(&self, a: &[f32], b: &[f32], dim: usize, s: &mut [f32]) {
        let columns = (b.len() / dim).max(1);
        for (a, s) in a.chunks_exact(dim).zip(s.chunks_exact_mut(columns)) {
            for (b, s) in b.chunks_exact(dim).zip(s) {
                *s = dot(a, b);
            }
        }
    }

    fn rows(&self, s: &[f32], b: &[f32], dim: usize, a: &mut [f32]) {
        let columns = (b.len() / dim).max(1);
        for (a, s) in a.chunks_exact_mut(dim).zip(s.chunks_exact(columns)) {
            for (b, &s) in b.chunks_exact(dim).zip(s) {
                add(a, s, b);
            }
        }
    }

    fn columns(&self, s: &[f32], a: &[f32], dim: usize, b: &mut [f32]) {
        let columns = (b.len() / dim).max(1);
        for (a, s) in a.chunks_exact(dim).zip(s.chunks_exact(columns)) {
            for (b, &s) in b.chunks_exact_mut(dim).zip(s) {
                add(b, s, a);
            }
        }
    }
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// to += by·from; nothing where `by` is 0, as in the many cells that no loss wants moved.
fn add(to: &mut [f32], by: f32, from: &[f32]) {
    if by != 0.0 {
        to.iter_mut().zip(from).for_each(|(t, f)| *t += by * f);
    }
}

/// The sides of a step, all of one dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Sides {
    dim: usize,
    sides: Vec<Side>,
    /// Per side: length of each vector before it was cut and brought to length 1; empty where it was not.
    lengths: Vec<Vec<f32>>,
}

impl Sides {
    /// No sides yet, of this dimension.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a dimension of 0.
    pub fn new(dim: usize) -> Result<Self> {
        if dim == 0 {
            let (stage, field, must) = ("block", "dim", "at least 1");
            return Err(Error::Parameter { stage, field, must, got: "0".to_owned() });
        }
        Ok(Self { dim, sides: Vec::new(), lengths: Vec::new() })
    }

    /// Adds vectors `[n, dim]`; returns the side's number. No gradient reaches a frozen side.
    ///
    /// # Errors
    /// [`Error::Shape`] where the length is no multiple of the dimension.
    pub fn push(&mut self, vectors: Vec<f32>, frozen: bool) -> Result<usize> {
        fits(
            "numbers of a side, a multiple of its dimension",
            vectors.len() / self.dim * self.dim,
            vectors.len(),
        )?;
        self.sides.push(Side { vectors, frozen });
        self.lengths.push(Vec::new());
        Ok(self.sides.len() - 1)
    }

    /// The same sides cut to their first `dim` numbers and brought to length 1 (Matryoshka). [`Sides::widen`] takes
    /// gradients back.
    ///
    /// # Errors
    /// [`Error::Shape`] where `dim` is 0 or more than there is.
    pub fn prefix(&self, dim: usize) -> Result<Self> {
        if dim == 0 || dim > self.dim {
            return Err(Error::Shape { what: "prefix of a vector", expected: self.dim, got: dim });
        }
        let mut cut = Self { dim, sides: Vec::new(), lengths: Vec::new() };
        for side in &self.sides {
            let mut vectors = Vec::with_capacity(side.vectors.len() / self.dim * dim);
            let mut lengths = Vec::with_capacity(side.vectors.len() / self.dim);
            for v in side.vectors.chunks_exact(self.dim) {
                let length = dot(&v[..dim], &v[..dim]).sqrt().max(1e-12);
                vectors.extend(v[..dim].iter().map(|x| x / length));
                lengths.push(length);
            }
            cut.sides.push(Side { vectors, frozen: side.frozen });
            cut.lengths.push(lengths);
        }
        Ok(cut)
    }

    /// Adds `by` times the gradients of a prefix (made by [`Sides::prefix`] of `full`) to those of the full vectors, back
    /// through the cut and the norm.
    ///
    /// # Errors
    /// [`Error::Shape`] where the two do not belong together.
    pub fn widen(
        &self,
        gradients: &[Option<Vec<f32>>],
        by: f32,
        full: &Self,
        out: &mut [Option<Vec<f32>>],
    ) -> Result<()> {
        fits("gradients of a prefix", self.sides.len(), gradients.len())?;
        fits("gradients of full vectors", self.sides.len(), out.len())?;
        for (((side, lengths), from), to) in self.sides.iter().zip(&self.lengths).zip(gradients).zip(out) {
            let (Some(from), Some(to)) = (from, to) else { continue };
            fits("numbers of a prefix's gradient", side.vectors.len(), from.len())?;
            fits("numbers of a full gradient", lengths.len() * full.dim, to.len())?;
            let rows = side.vectors.chunks_exact(self.dim).zip(from.chunks_exact(self.dim)).zip(lengths);
            for (to, ((u, g), length)) in to.chunks_exact_mut(full.dim).zip(rows) {
                // u = v / |v|, so dv = (g - u (u·g)) / |v|.
                let along = dot(u, g);
                for ((t, u), g) in to.iter_mut().zip(u).zip(g) {
                    *t += by * (g - u * along) / length;
                }
            }
        }
        Ok(())
    }

    /// Vectors of a side `[n, dim]`.
    pub fn vectors(&self, side: usize) -> &[f32] {
        &self.sides[side].vectors
    }

    fn of(&self, side: usize) -> Result<&Side> {
        let missing = Error::Shape { what: "number of a side", expected: self.sides.len(), got: side };
        self.sides.get(side).ok_or(missing)
    }

    fn vector<'a>(&self, side: &'a Side, at: u32) -> Result<&'a [f32]> {
        let (from, n) = (at as usize * self.dim, side.vectors.len() / self.dim);
        let missing = Error::Shape { what: "vector of a side", expected: n, got: at as usize };
        side.vectors.get(from..from + self.dim).ok_or(missing)
    }

    /// The scores of a join `[rows, width]`, with what its columns stand for and which is each row's own, ready for a
    /// [`super::ScoreBlock`] of `rows` rows. Items of absent cells must be `None`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the sides, the layout and the rows do not fit.
    pub fn segment(
        &self,
        join: &Join,
        rows: usize,
        items: Items,
        own: Vec<Option<u32>>,
        products: &dyn Products,
    ) -> Result<NewSegment> {
        let (a, b) = (self.of(join.rows)?, self.of(join.columns)?);
        let scores = match &join.layout {
            Layout::Shared => {
                fits("vectors of the row side", rows * self.dim, a.vectors.len())?;
                let mut scores = vec![0.0; rows * (b.vectors.len() / self.dim)];
                products.scores(&a.vectors, &b.vectors, self.dim, &mut scores);
                scores
            }
            Layout::Own { width, index } => {
                fits("index of own columns", rows * width, index.len())?;
                fits("vectors of the row side", rows * self.dim, a.vectors.len())?;
                let mut scores = vec![0.0; index.len()];
                for ((at, s), own) in scores.iter_mut().enumerate().zip(index) {
                    if let Some(own) = own {
                        *s = dot(self.vector(a, (at / width) as u32)?, self.vector(b, *own)?);
                    }
                }
                scores
            }
            Layout::Foreign(pairs) => {
                let one =
                    |&(i, j): &(u32, u32)| -> Result<f32> { Ok(dot(self.vector(a, i)?, self.vector(b, j)?)) };
                let once: Vec<f32> = pairs.iter().map(one).collect::<Result<_>>()?;
                (0..rows).flat_map(|_| &once).copied().collect()
            }
        };
        Ok(NewSegment { origin: join.origin, items, scores, own })
    }

    /// Gradients of nothing: zeros `[n, dim]` per side, `None` for a frozen one.
    pub fn no_gradients(&self) -> Vec<Option<Vec<f32>>> {
        self.sides.iter().map(|s| (!s.frozen).then(|| vec![0.0; s.vectors.len()])).collect()
    }

    /// Carries a segment's slopes `[rows, width]` on to the gradients of its two sides.
    ///
    /// # Errors
    /// [`Error::Shape`] where the slopes do not fit the join.
    pub fn carry(
        &self,
        join: &Join,
        slope: &[f32],
        products: &dyn Products,
        gradients: &mut [Option<Vec<f32>>],
    ) -> Result<()> {
        let (a, b) = (self.of(join.rows)?, self.of(join.columns)?);
        fits("gradients of the sides", self.sides.len(), gradients.len())?;
        let dim = self.dim;
        let at = |i: u32| i as usize * dim..(i as usize + 1) * dim;
        match &join.layout {
            Layout::Shared => {
                fits("slopes of a segment", a.vectors.len() / dim * (b.vectors.len() / dim), slope.len())?;
                if let Some(Some(rows)) = gradients.get_mut(join.rows) {
                    products.rows(slope, &b.vectors, dim, rows);
                }
                if let Some(Some(columns)) = gradients.get_mut(join.columns) {
                    products.columns(slope, &a.vectors, dim, columns);
                }
            }
            Layout::Own { width, index } => {
                fits("slopes of a segment", index.len(), slope.len())?;
                let cells = slope.iter().zip(index).enumerate();
                for (cell, (&s, own)) in cells.filter(|(_, (s, _))| **s != 0.0) {
                    let (Some(j), i) = (own, (cell / width) as u32) else { continue };
                    let (from_a, from_b) = (self.vector(a, i)?, self.vector(b, *j)?);
                    if let Some(Some(rows)) = gradients.get_mut(join.rows) {
                        add(&mut rows[at(i)], s, from_b);
                    }
                    if let Some(Some(columns)) = gradients.get_mut(join.columns) {
                        add(&mut columns[at(*j)], s, from_a);
                    }
                }
            }
            Layout::Foreign(pairs) => {
                let rows = slope.len() / pairs.len().max(1);
                fits("slopes of a segment", rows * pairs.len(), slope.len())?;
                for (column, &(i, j)) in pairs.iter().enumerate() {
                    let s: f64 = (0..rows).map(|r| f64::from(slope[r * pairs.len() + column])).sum();
                    let (from_a, from_b) = (self.vector(a, i)?, self.vector(b, j)?);
                    if let Some(Some(rows)) = gradients.get_mut(join.rows) {
                        add(&mut rows[at(i)], s as f32, from_b);
                    }
                    if let Some(Some(columns)) = gradients.get_mut(join.columns) {
                        add(&mut columns[at(j)], s as f32, from_a);
                    }
                }
            }
        }
        Ok(())
    }
}
