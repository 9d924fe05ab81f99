//! Rows laid out the way the tile reads them: panels of `width` rows, depth first.

/// Rows of `dim` values in panels `[panel][dim][width]`, the last one filled up with zeros. The first value
/// lies on a cache line, so that no vector of documents straddles two. A value has four bytes: a float, or four
/// codes of [`super::eight`].
pub(crate) struct Panels<T = f32> {
    store: Vec<T>,
    skip: usize,
    rows: usize,
    dim: usize,
    width: usize,
}

impl<T: Copy + Default> Panels<T> {
    /// Room for `rows` rows, all zero. (Fresh zero pages cost nothing until they are written.)
    pub(crate) fn new(rows: usize, dim: usize, width: usize) -> Self {
        let store = vec![T::default(); rows.div_ceil(width) * width * dim + 16];
        let skip = store.as_ptr().align_offset(64).min(16);
        Panels { store, skip, rows, dim, width }
    }

    /// Bytes that [`Panels::new`] takes for as many rows.
    pub(crate) fn bytes(rows: usize, dim: usize, width: usize) -> usize {
        rows.div_ceil(width).saturating_mul(width).saturating_mul(dim).saturating_mul(4).saturating_add(64)
    }

    /// Rows held, without the filling.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Panels held.
    pub(crate) fn count(&self) -> usize {
        self.rows.div_ceil(self.width)
    }

    /// Values per panel.
    fn size(&self) -> usize {
        self.dim * self.width
    }

    /// Panel `at`, `[dim][width]`.
    pub(crate) fn panel(&self, at: usize) -> &[T] {
        let size = self.size();
        &self.store[self.skip + at * size..][..size]
    }

    /// The panels of `which`, `[n][dim][width]`; those beyond the last are left out.
    pub(crate) fn span(&self, which: std::ops::Range<usize>) -> &[T] {
        let at = |panel: usize| self.skip + panel.min(self.count()) * self.size();
        &self.store[at(which.start)..at(which.end)]
    }

    /// All panels as one slice, to be filled in parallel by chunks of whole panels.
    pub(crate) fn all_mut(&mut self) -> &mut [T] {
        let len = self.count() * self.size();
        &mut self.store[self.skip..][..len]
    }
}

/// Depth steps moved at once: a cache line of each row.
const STEPS: usize = 16;

/// Lays `rows` `[n][dim]` out in `panels`, which holds as many whole panels as `n` rows need; the rest of the
/// last panel becomes zero.
pub(crate) fn pack(rows: &[f32], dim: usize, width: usize, panels: &mut [f32]) {
    for (panel, rows) in panels.chunks_mut(dim * width).zip(rows.chunks(dim * width)) {
        if rows.len() < dim * width {
            panel.fill(0.0);
        }
        for (block, panel) in panel.chunks_mut(STEPS * width).enumerate() {
            for (j, row) in rows.chunks(dim).enumerate() {
                let from = &row[block * STEPS..];
                for (to, &x) in panel[j..].iter_mut().step_by(width).zip(from) {
                    *to = x;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_hold_the_rows_depth_first_and_zeros_after_the_last() {
        for (rows, dim, width) in [(1, 1, 12), (5, 3, 4), (33, 40, 32), (12, 17, 12)] {
            let data: Vec<f32> = (1..=rows * dim).map(|x| x as f32).collect();
            let mut panels: Panels = Panels::new(rows, dim, width);
            panels.all_mut().fill(-1.0);
            pack(&data, dim, width, panels.all_mut());
            for p in 0..panels.count() {
                assert_eq!(panels.panel(p).as_ptr().align_offset(4), 0);
                for (at, &x) in panels.panel(p).iter().enumerate() {
                    let (k, row) = (at / width, p * width + at % width);
                    let want = if row < rows { data[row * dim + k] } else { 0.0 };
                    assert_eq!(x, want);
                }
            }
        }
    }

    #[test]
    fn panels_start_on_a_cache_line() {
        for rows in [1, 100, 5000] {
            let panels: Panels = Panels::new(rows, 48, 32);
            assert_eq!(panels.panel(0).as_ptr().addr() % 64, 0);
        }
    }
}
