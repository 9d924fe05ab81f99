//! The f32 scan of exact search: groups of anchors through panels of documents.

use rayon::prelude::*;

use super::flat::Watch;
use super::hits::HitsGroup;
use super::rows::{Result, Rows};
use crate::kernel::{self, ANCHORS, Best, DOCUMENTS, Isa, Panels, Scratch, Tile};

/// Rows that a packing task reads at once.
const SLAB: usize = 8 * DOCUMENTS;

/// Anchors on their way through the documents.
pub(super) struct Group {
    pub(super) panels: Panels,
    pub(super) found: Found,
}

/// What the anchors of a group have found so far.
pub(super) struct Found {
    bars: Vec<[f32; ANCHORS]>,
    best: Vec<Best>,
}

/// Buffers of a scan.
pub(super) struct Space {
    tile: Tile,
    scratch: Scratch,
}

impl Default for Space {
    fn default() -> Self {
        Self { tile: Tile::new(), scratch: Scratch::default() }
    }
}

impl Group {
    /// Packs the rows that `read` writes, `[n][dim]` from the row that it is given; `keep` hits of `documents` each.
    pub(super) fn new(
        count: usize,
        dim: usize,
        keep: usize,
        documents: usize,
        read: impl Fn(usize, &mut [f32]) -> Result<()>,
    ) -> Result<Self> {
        let mut panels = Panels::new(count, dim, ANCHORS);
        let mut slab = vec![0.0; ANCHORS.min(count) * dim];
        for (p, panel) in panels.all_mut().chunks_mut(ANCHORS * dim).enumerate() {
            let first = p * ANCHORS;
            let slab = &mut slab[..ANCHORS.min(count - first) * dim];
            read(first, slab)?;
            kernel::pack(slab, dim, ANCHORS, panel);
        }
        let mut bars = vec![[f32::INFINITY; ANCHORS]; panels.count()];
        // Rows that only fill the last panel stay under a bar that nothing passes.
        bars.as_flattened_mut()[..count].fill(f32::NEG_INFINITY);
        let best = (0..count).map(|_| Best::new(keep, documents)).collect();
        Ok(Group { panels, found: Found { bars, best } })
    }

    /// Scores the group against `documents`, whose first row is document `first`, in blocks of `block` panels.
    pub(super) fn scan(
        &mut self,
        isa: Isa,
        documents: &Panels,
        first: u32,
        block: usize,
        watch: Watch<'_>,
    ) -> Result<()> {
        let mut space = Space::default();
        let count = self.panels.count();
        for start in (0..documents.count()).step_by(block) {
            watch.check()?;
            let end = documents.count().min(start + block);
            // While a tile is worked on, parts of the next anchors and of the next block are fetched.
            let mut blocks = parts(documents.span(end..end + block), count * (end - start));
            for p in 0..count {
                let mut nexts = parts(self.panels.panel((p + 1) % count), end - start);
                for d in start..end {
                    let ahead = [nexts.next().unwrap_or_default(), blocks.next().unwrap_or_default()];
                    self.found.step(isa, (&self.panels, p), (documents, d), first, ahead, &mut space);
                }
            }
            let rows = documents.rows().min(end * DOCUMENTS) - start * DOCUMENTS;
            watch.scored(rows * self.found.best.len());
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: HitsGroup<'_>) {
        let mut scratch = Scratch::default();
        let rows = out.items.chunks_mut(out.keep).zip(out.scores.chunks_mut(out.keep)).zip(out.counts);
        for (best, ((items, scores), count)) in self.found.best.iter_mut().zip(rows) {
            *count = best.finish(&mut scratch, items, scores);
        }
    }
}

impl Found {
    /// Scores panel `p` of the anchors against panel `d` of the documents.
    pub(super) fn step(
        &mut self,
        isa: Isa,
        (anchors, p): (&Panels, usize),
        (documents, d): (&Panels, usize),
        first: u32,
        ahead: [&[f32]; 2],
        space: &mut Space,
    ) {
        let row = d * DOCUMENTS;
        let live = u32::MAX >> (DOCUMENTS - DOCUMENTS.min(documents.rows() - row));
        let (bars, best) = (&mut self.bars[p], &mut self.best[p * ANCHORS..]);
        let Space { tile, scratch } = space;
        let mut hot = kernel::tile(isa, anchors.panel(p), documents.panel(d), ahead, bars, live, tile);
        while hot != 0 {
            let i = hot.trailing_zeros() as usize;
            hot &= hot - 1;
            let bar = best[i].offer(&tile.scores[i], tile.above[i], first + row as u32, scratch);
            bars[i] = bar.unwrap_or(bars[i]);
        }
    }
}

/// Reads the rows from `first` into `panels` on the current rayon pool.
pub(super) fn fill(
    rows: &dyn Rows,
    first: usize,
    panels: &mut Panels,
    dim: usize,
    watch: Watch<'_>,
) -> Result<()> {
    let count = panels.rows();
    let slabs = panels.all_mut().par_chunks_mut(SLAB * dim).with_max_len(1).enumerate();
    slabs.try_for_each_init(Vec::new, |slab, (s, panels)| {
        watch.check()?;
        fill_slab(rows, (first, count), s, slab, panels, dim)
    })
}

/// Reads slab `s` of the `count` rows from `first` into its `panels`; `slab` is room for them.
fn fill_slab(
    rows: &dyn Rows,
    (first, count): (usize, usize),
    s: usize,
    slab: &mut Vec<f32>,
    panels: &mut [f32],
    dim: usize,
) -> Result<()> {
    let start = s * SLAB;
    slab.resize(SLAB.min(count - start) * dim, 0.0);
    rows.read(first + start, slab)?;
    kernel::pack(slab, dim, DOCUMENTS, panels);
    Ok(())
}

/// As [`fill`] on this thread alone.
pub(super) fn fill_here(
    rows: &dyn Rows,
    first: usize,
    panels: &mut Panels,
    dim: usize,
    watch: Watch<'_>,
) -> Result<()> {
    let count = panels.rows();
    let mut slab = Vec::new();
    for (s, panels) in panels.all_mut().chunks_mut(SLAB * dim).enumerate() {
        watch.check()?;
        fill_slab(rows, (first, count), s, &mut slab, panels, dim)?;
    }
    Ok(())
}

/// Cuts memory that will be needed into as many parts as there are tiles until then.
pub(super) fn parts<T>(memory: &[T], tiles: usize) -> std::slice::Chunks<'_, T> {
    memory.chunks(memory.len().div_ceil(tiles).next_multiple_of(16).max(16))
}
