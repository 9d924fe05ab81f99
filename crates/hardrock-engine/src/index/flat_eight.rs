//! The 8-bit pass of exact search: codes choose the candidates, f32 scores decide.
//!
//! A decoded product is within a proven error of the score ([`super::codes`]). An anchor's bar is the k-th best *lower* end
//! of its documents' intervals; what has its upper end below the bar has k better documents and is dropped. All that is
//! left is scored in f32, so the hits are those of the f32 search, ties included. Where a bound keeps too much (an
//! anchor of zeros, thousands of copies), the anchor is scored against all documents.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::codes::{self, AnchorPanel, Bound, Space, Turn};
use super::flat::Watch;
use super::hits::HitsGroup;
use super::rows::{Result, Rows};
use crate::kernel::{self, ANCHORS, Best, DOCUMENTS, Eight, Isa, Panels, Scratch, Tile};

/// Rows that the centre is taken from, at most.
const CENTRE_ROWS: usize = 4096;

/// Documents as codes, and their rows where memory allows.
pub(super) struct Coded {
    eight: Eight,
    turn: Turn,
    panels: Panels<u32>,
    scales: Vec<[f32; DOCUMENTS]>,
    bounds: Vec<Bound>,
    /// All rows `[documents][dim]`; empty = read from `documents` when needed.
    rows: Vec<f32>,
    /// Candidates after which an anchor is scored against everything instead.
    most: usize,
    tally: Tally,
}

/// What the pass kept so far.
#[derive(Default)]
struct Tally {
    anchors: AtomicUsize,
    candidates: AtomicUsize,
    spilled: AtomicUsize,
}

impl Coded {
    /// Codes all documents; none if one of them has no bound (not finite, too long).
    pub(super) fn new(
        eight: Eight,
        documents: &dyn Rows,
        keep_rows: bool,
        watch: Watch<'_>,
    ) -> Result<Option<Self>> {
        let (count, dim) = (documents.len(), documents.dim());
        let turn = Turn::new(centre(documents)?);
        let words = codes::words(dim);
        let mut panels = Panels::new(count, words, DOCUMENTS);
        let mut scales = vec![[0.0; DOCUMENTS]; panels.count()];
        let mut rows = vec![0.0; if keep_rows { count * dim } else { 0 }];
        let work = panels.all_mut().par_chunks_mut(words * DOCUMENTS).zip(&mut scales).enumerate();
        let read = |p: usize, rows: &mut [f32]| {
            watch.check()?;
            documents.read(p * DOCUMENTS, rows)
        };
        let bounds: Vec<Option<Bound>> = if keep_rows {
            work.zip(rows.par_chunks_mut(DOCUMENTS * dim))
                .map_init(Space::default, |space, ((p, (words, scales)), rows)| {
                    read(p, rows)?;
                    Ok(codes::code_documents(&turn, rows, words, scales, space))
                })
                .collect::<Result<_>>()?
        } else {
            work.map_init(Default::default, |(slab, space): &mut (Vec<f32>, Space), (p, (words, scales))| {
                slab.resize(DOCUMENTS.min(count - p * DOCUMENTS) * dim, 0.0);
                read(p, slab)?;
                Ok(codes::code_documents(&turn, slab, words, scales, space))
            })
            .collect::<Result<_>>()?
        };
        let Some(bounds) = bounds.into_iter().collect() else { return Ok(None) };
        // A row from memory costs as much as the f32 scan of some tens of documents, one from a file ten times that.
        let most = count / if keep_rows { 32 } else { 256 };
        Ok(Some(Coded { eight, turn, panels, scales, bounds, rows, most, tally: Tally::default() }))
    }

    /// Whether the pass pays, judged by what it kept so far.
    pub(super) fn pays(&self) -> bool {
        let anchors = self.tally.anchors.load(Ordering::Relaxed).max(1);
        let spilled = self.tally.spilled.load(Ordering::Relaxed);
        self.candidates() <= self.most as f64 / 4.0 && spilled * 50 <= anchors
    }

    /// Candidates per anchor so far, without those that were scored against everything.
    pub(super) fn candidates(&self) -> f64 {
        let anchors = self.tally.anchors.load(Ordering::Relaxed).max(1);
        self.tally.candidates.load(Ordering::Relaxed) as f64 / anchors as f64
    }

    /// Whether an anchor may keep `k` documents and still gain.
    pub(super) fn suits(&self, k: usize) -> bool {
        k <= self.most / 2
    }

    /// Codes anchors `[n][dim]`.
    pub(super) fn group(&self, anchors: Vec<f32>, keep: usize) -> Group {
        let words = codes::words(self.dim());
        let count = anchors.len() / self.dim();
        let mut panels = Panels::new(count, words, ANCHORS);
        let mut space = Space::default();
        let parts = panels.all_mut().chunks_mut(words * ANCHORS).zip(anchors.chunks(self.dim() * ANCHORS));
        let meta: Vec<AnchorPanel> =
            parts.map(|(words, rows)| codes::code_anchors(&self.turn, rows, words, &mut space)).collect();
        let scales = meta.iter().flat_map(|p| p.scales).take(count);
        let near: Vec<Near> = scales.map(|s| Near::new(keep, s > 0.0)).collect();
        let mut bars = vec![[f32::INFINITY; ANCHORS]; panels.count()];
        for (bar, near) in bars.as_flattened_mut().iter_mut().zip(&near) {
            *bar = if near.spilled { f32::INFINITY } else { f32::NEG_INFINITY };
        }
        Group { anchors, panels, found: Found { meta, bars, near } }
    }

    fn dim(&self) -> usize {
        self.turn.dim()
    }

    /// Takes a group through all documents.
    pub(super) fn scan(&self, group: &mut Group, block: usize, watch: Watch<'_>) -> Result<()> {
        let mut space = Scan::default();
        let count = self.panels.count();
        for start in (0..count).step_by(block) {
            watch.check()?;
            let end = count.min(start + block);
            let tiles = group.panels.count() * (end - start);
            let mut blocks = super::flat_f32::parts(self.panels.span(end..end + block), tiles);
            for p in 0..group.panels.count() {
                let next = group.panels.panel((p + 1) % group.panels.count());
                let mut nexts = super::flat_f32::parts(next, end - start);
                for d in start..end {
                    let ahead = [nexts.next().unwrap_or_default(), blocks.next().unwrap_or_default()];
                    self.step((&group.panels, p), &mut group.found, d, ahead, &mut space);
                }
            }
            let rows = self.panels.rows().min(end * DOCUMENTS) - start * DOCUMENTS;
            watch.scored(rows * group.found.near.len());
        }
        self.close(group);
        Ok(())
    }

    /// Compares panel `p` of the anchors with panel `d` of the documents.
    pub(super) fn step(
        &self,
        (anchors, p): (&Panels<u32>, usize),
        found: &mut Found,
        d: usize,
        ahead: [&[u32]; 2],
        space: &mut Scan,
    ) {
        let row = d * DOCUMENTS;
        let live = u32::MAX >> (DOCUMENTS - DOCUMENTS.min(self.panels.rows() - row));
        let (meta, lows) = (&found.meta[p], &mut found.bars[p]);
        let near = &mut found.near[p * ANCHORS..];
        let errors = meta.reach.errors(self.bounds[d]);
        let bars = std::array::from_fn(|i| (lows[i] - errors[i]) * meta.inverses[i]);
        let Scan { tile, scratch } = space;
        let mut hot = kernel::eight_tile(
            self.eight,
            anchors.panel(p),
            self.panels.panel(d),
            ahead,
            &meta.starts,
            &self.scales[d],
            &bars,
            live,
            tile,
        );
        while hot != 0 {
            let i = hot.trailing_zeros() as usize;
            hot &= hot - 1;
            near[i].offer(&tile.scores[i], meta.scales[i], errors[i], tile.above[i], row as u32);
            if near[i].full() {
                lows[i] = near[i].cut(|b| meta.reach.error(i, b), &self.bounds, self.most, scratch);
            }
        }
    }

    /// The documents' codes.
    pub(super) fn panels(&self) -> &Panels<u32> {
        &self.panels
    }

    /// Ends the way of a group through the documents.
    pub(super) fn close(&self, group: &mut Group) {
        let mut scratch = Vec::new();
        let Found { meta, near, .. } = &mut group.found;
        for (i, near) in near.iter_mut().enumerate() {
            let reach = &meta[i / ANCHORS].reach;
            near.cut(|b| reach.error(i % ANCHORS, b), &self.bounds, self.most, &mut scratch);
            self.tally.anchors.fetch_add(1, Ordering::Relaxed);
            self.tally.candidates.fetch_add(near.items.len(), Ordering::Relaxed);
            self.tally.spilled.fetch_add(usize::from(near.spilled), Ordering::Relaxed);
        }
    }

    /// Scores what every anchor of the group has left, and keeps the best.
    pub(super) fn finish(
        &self,
        group: &Group,
        documents: &dyn Rows,
        isa: Isa,
        watch: Watch<'_>,
        out: HitsGroup<'_>,
    ) -> Result<()> {
        let mut scratch = Scratch::default();
        let places = out.items.chunks_mut(out.keep).zip(out.scores.chunks_mut(out.keep)).zip(out.counts);
        for (i, ((items, scores), count)) in places.enumerate() {
            watch.check()?;
            let mut best = Best::new(out.keep, documents.len());
            self.rescore(group, i, documents, isa, &mut best, &mut scratch)?;
            *count = best.finish(&mut scratch, items, scores);
        }
        Ok(())
    }

    /// Scores the candidates of anchor `i` of the group and leaves the best of them in `best`.
    fn rescore(
        &self,
        group: &Group,
        i: usize,
        documents: &dyn Rows,
        isa: Isa,
        best: &mut Best,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let dim = self.dim();
        let anchor = &group.anchors[i * dim..][..dim];
        let mut scores = [0.0; DOCUMENTS];
        let mut slab = vec![0.0; dim * DOCUMENTS];
        let near = &group.found.near[i];
        if near.spilled {
            for first in (0..documents.len()).step_by(DOCUMENTS) {
                let n = DOCUMENTS.min(documents.len() - first);
                self.read(documents, first, &mut slab[..n * dim])?;
                kernel::dots(isa, anchor, &slab[..n * dim], &mut scores[..n]);
                (0..n).for_each(|j| best.push(scores[j], (first + j) as u32, scratch));
            }
            return Ok(());
        }
        for items in near.items.chunks(DOCUMENTS) {
            let slab = &mut slab[..items.len() * dim];
            for (&item, row) in items.iter().zip(slab.chunks_mut(dim)) {
                self.read(documents, item as usize, row)?;
            }
            kernel::dots(isa, anchor, slab, &mut scores[..items.len()]);
            items.iter().zip(&scores).for_each(|(&item, &score)| best.push(score, item, scratch));
        }
        Ok(())
    }

    fn read(&self, documents: &dyn Rows, first: usize, out: &mut [f32]) -> Result<()> {
        if self.rows.is_empty() {
            return documents.read(first, out);
        }
        out.copy_from_slice(&self.rows[first * self.dim()..][..out.len()]);
        Ok(())
    }
}

/// Mean of rows spread over all documents. Any vector would do for the bound; the mean makes it small.
fn centre(documents: &dyn Rows) -> Result<Vec<f32>> {
    let (count, dim) = (documents.len(), documents.dim());
    let picks = CENTRE_ROWS.min(count);
    let mut sums = vec![0.0f64; dim];
    let mut row = vec![0.0; dim];
    for pick in 0..picks {
        documents.read(pick * count / picks, &mut row)?;
        sums.iter_mut().zip(&row).for_each(|(s, &x)| *s += f64::from(x));
    }
    let mean = sums.iter().map(|s| (s / picks.max(1) as f64) as f32);
    Ok(mean.map(|x| if x.is_finite() { x } else { 0.0 }).collect())
}

/// Coded anchors on their way through the documents.
pub(super) struct Group {
    anchors: Vec<f32>,
    pub(super) panels: Panels<u32>,
    pub(super) found: Found,
}

/// What the anchors of a group have found so far.
pub(super) struct Found {
    meta: Vec<AnchorPanel>,
    /// Each anchor's k-th best lower end.
    bars: Vec<[f32; ANCHORS]>,
    near: Vec<Near>,
}

/// Buffers of a scan.
pub(super) struct Scan {
    tile: Tile,
    scratch: Vec<f32>,
}

impl Default for Scan {
    fn default() -> Self {
        Self { tile: Tile::new(), scratch: Vec::new() }
    }
}

/// Documents of one anchor that may still be among its best.
struct Near {
    keep: usize,
    limit: usize,
    /// Lower ends of the intervals, in the order of the documents.
    lows: Vec<f32>,
    items: Vec<u32>,
    spilled: bool,
}

impl Near {
    fn new(keep: usize, bounded: bool) -> Self {
        Near { keep, limit: 2 * keep + 128, lows: Vec::new(), items: Vec::new(), spilled: !bounded }
    }

    fn offer(&mut self, values: &[f32; DOCUMENTS], scale: f32, error: f32, mut above: u32, first: u32) {
        while above != 0 {
            let lane = above.trailing_zeros();
            above &= above - 1;
            self.lows.push(values[lane as usize] * scale - error);
            self.items.push(first + lane);
        }
    }

    fn full(&self) -> bool {
        self.lows.len() > self.limit
    }

    /// Drops what cannot be among the best and returns the k-th best lower end.
    fn cut(
        &mut self,
        error: impl Fn(Bound) -> f32,
        bounds: &[Bound],
        most: usize,
        scratch: &mut Vec<f32>,
    ) -> f32 {
        if self.spilled {
            return f32::INFINITY;
        }
        if self.lows.len() <= self.keep {
            return f32::NEG_INFINITY;
        }
        scratch.clear();
        scratch.extend_from_slice(&self.lows);
        let (_, &mut low, _) = scratch.select_nth_unstable_by(self.keep - 1, |a, b| b.total_cmp(a));
        let mut kept = 0;
        for at in 0..self.lows.len() {
            let (mine, item) = (self.lows[at], self.items[at]);
            let error = error(bounds[item as usize / DOCUMENTS]);
            self.lows[kept] = mine;
            self.items[kept] = item;
            kept += usize::from(mine + 2.0 * error >= low);
        }
        self.lows.truncate(kept);
        self.items.truncate(kept);
        if kept > most {
            self.spilled = true;
            (self.lows, self.items) = (Vec::new(), Vec::new());
            return f32::INFINITY;
        }
        self.limit = kept + kept / 2 + 128;
        low
    }
}
