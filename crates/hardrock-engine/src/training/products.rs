//! Products of matrices: scores of a batch, and the way back from the slopes of scores to the slopes of vectors.
//!
//! One kernel ([`crate::kernel`]'s product of 12 rows by 32 columns) does all: `S = A Cᵀ`, `dA += dS C` and `dC += dSᵀ A`
//! differ only in how their sides are packed. Each number is one chain of fused multiply-adds over the depth from what stood
//! in the output, so threads, tiles and instruction sets change no bit.

use rayon::prelude::*;

use crate::kernel::{Isa, OUTPUTS, TOKENS, product};

/// A matrix as it lies in memory, perhaps seen transposed.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    /// Whether the columns lie together instead of the rows.
    turned: bool,
}

impl<'a> View<'a> {
    /// `values` `[rows][columns]`, row-major.
    ///
    /// # Panics
    /// Unless there are that many.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(values.len() == rows * columns, "{} values for {rows} rows of {columns}", values.len());
        Self { values, rows, columns, turned: false }
    }

    /// The transposed matrix.
    #[must_use]
    pub fn t(self) -> Self {
        Self { rows: self.columns, columns: self.rows, turned: !self.turned, ..self }
    }

    /// Packs `WIDTH` rows from `row` on, columns `from..from + depth`, as `[depth][WIDTH]`; rows beyond the last are 0.
    fn pack_rows<const WIDTH: usize>(&self, row: usize, from: usize, depth: usize, out: &mut [f32]) {
        let wide = WIDTH.min(self.rows - row);
        let lines = out[..depth * WIDTH].as_chunks_mut::<WIDTH>().0;
        if self.turned {
            for (line, k) in lines.iter_mut().zip(from..) {
                line[..wide].copy_from_slice(&self.values[k * self.rows + row..][..wide]);
                line[wide..].fill(0.0);
            }
            return;
        }
        if wide < WIDTH {
            lines.as_flattened_mut().fill(0.0);
        }
        for i in 0..wide {
            let values = &self.values[(row + i) * self.columns + from..][..depth];
            for (line, &x) in lines.iter_mut().zip(values) {
                line[i] = x;
            }
        }
    }
}

/// Depth of a slice: a block of either side then stays in the first caches.
const DEPTH: usize = 256;

/// Blocks of 12 rows that a task takes through all columns.
const GROUP: usize = 8;

/// Adds `left` times `right` to `out` `[left rows][right columns]`, on the current rayon pool.
///
/// # Panics
/// If the shapes do not fit one another.
pub fn add_product(left: View<'_>, right: View<'_>, out: &mut [f32]) {
    add_product_with(Isa::best(), left, right, out);
}

/// See [`add_product`].
fn add_product_with(isa: Isa, left: View<'_>, right: View<'_>, out: &mut [f32]) {
    let (rows, columns) = (left.rows, right.columns);
    assert!(left.columns == right.rows && out.len() == rows * columns, "shapes of a product");
    if rows == 0 || columns == 0 {
        return;
    }
    // Columns of the right side are rows of its transpose.
    let right = right.t();
    let mut packed = vec![0.0; columns.div_ceil(TOKENS) * DEPTH.min(left.columns) * TOKENS];
    for from in (0..left.columns).step_by(DEPTH) {
        let depth = DEPTH.min(left.columns - from);
        let panel = depth * TOKENS;
        packed[..columns.div_ceil(TOKENS) * panel].par_chunks_mut(panel).enumerate().for_each(|(at, out)| {
            right.pack_rows::<TOKENS>(at * TOKENS, from, depth, out);
        });
        let panels = &packed[..columns.div_ceil(TOKENS) * panel];
        let tasks = out.par_chunks_mut(GROUP * OUTPUTS * columns).enumerate();
        tasks.for_each_init(
            || (vec![0.0; GROUP * OUTPUTS * DEPTH], [0.0; OUTPUTS * TOKENS]),
            |(blocks, tile), (task, out)| {
                let first = task * GROUP * OUTPUTS;
                let height = out.len() / columns;
                for (block, row) in blocks.chunks_mut(OUTPUTS * depth).zip((0..height).step_by(OUTPUTS)) {
                    left.pack_rows::<OUTPUTS>(first + row, from, depth, block);
                }
                for (panel, column) in panels.chunks(panel).zip((0..columns).step_by(TOKENS)) {
                    let wide = TOKENS.min(columns - column);
                    for (block, row) in blocks.chunks(OUTPUTS * depth).zip((0..height).step_by(OUTPUTS)) {
                        let rows = row..height.min(row + OUTPUTS);
                        for (line, row) in tile.chunks_exact_mut(TOKENS).zip(rows.clone()) {
                            line[..wide].copy_from_slice(&out[row * columns + column..][..wide]);
                        }
                        product(isa, block, panel, &[], wide <= TOKENS / 2, tile);
                        for (line, row) in tile.chunks_exact(TOKENS).zip(rows) {
                            out[row * columns + column..][..wide].copy_from_slice(&line[..wide]);
                        }
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_product_is_one_chain_per_number_whichever_way_its_sides_lie(
            rows in 1usize..120, columns in 1usize..80, depth in 1usize..600, turned in any::<[bool; 2]>(), seed: u64,
        ) {
            let mut rng = hardrock_core::Rng::at(seed, 0, 0);
            let mut draw = |n: usize| (0..n).map(|_| rng.unit() as f32 - 0.5).collect::<Vec<f32>>();
            let (left, right, start) = (draw(rows * depth), draw(depth * columns), draw(rows * columns));
            let view = |values, rows, columns, turned: bool| match turned {
                false => View::new(values, rows, columns),
                true => View::new(values, columns, rows).t(),
            };
            let (l, r) = (view(&left, rows, depth, turned[0]), view(&right, depth, columns, turned[1]));
            let mut want = start.clone();
            for i in 0..rows {
                for j in 0..columns {
                    for k in 0..depth {
                        let a = left[if turned[0] { k * rows + i } else { i * depth + k }];
                        let b = right[if turned[1] { j * depth + k } else { k * columns + j }];
                        want[i * columns + j] = a.mul_add(b, want[i * columns + j]);
                    }
                }
            }
            for isa in Isa::available() {
                let mut got = start.clone();
                add_product_with(isa, l, r, &mut got);
                prop_assert!(got.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", isa.name());
            }
        }
    }
}
