//! Exact top-k search: every anchor against every document, by inner product.
//!
//! ## How it runs
//! Documents lie in packed panels of 32, anchors in panels of 12. A block of document panels that fits the
//! second cache level is scored against a group of anchors before the next block is touched; the tile compares
//! its scores with each anchor's current k-th best while they are still in registers, so hardly any are
//! written. Threads share out the groups of anchors. Where the packed documents do not fit the budget, they
//! are read and packed chunk by chunk, once for as many anchors as the budget allows.
//!
//! ## What is exact
//! Order: score descending, then document ascending, and zero equals negative zero. A score is the chain of
//! fused multiply-adds that [`crate::kernel`] defines, so neither threads, nor budget, nor the range asked
//! for, nor the instruction set changes a bit. A score that is NaN or negative infinity (sums that overflow)
//! is never a hit.
//!
//! ## The 8-bit pass
//! Where the processor multiplies bytes, and a sample of the anchors says that it pays, codes of the vectors choose the
//! candidates and f32 scores decide among them ([`super::flat_eight`]): the same hits with the same bits, sooner.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::Neighbours;
pub use super::ahead::Streaming;
use super::codes;
use super::flat_eight::Coded;
use super::flat_f32::{Group, fill};
use super::hits::Hits;
use super::rows::{Error, Result, Rows};
use crate::kernel::{self, ANCHORS, Best, DOCUMENTS, Eight, Isa, Panels};

/// Bytes of document panels that are scored before the next ones are touched: twice that fits a second level
/// cache beside the anchors that pass by, because the next block is fetched meanwhile.
const BLOCK: usize = 384 << 10;

/// Anchors that one task takes through all documents: enough that a block, once fetched, is used often.
const GROUP: usize = 64 * ANCHORS;

/// How a long search is stopped and followed from outside.
#[derive(Debug, Clone, Copy, Default)]
pub struct Watch<'a> {
    /// Set to stop within one block; the call answers [`Error::Cancelled`].
    pub cancel: Option<&'a AtomicBool>,
    /// Grows by the number of pairs scored.
    pub pairs: Option<&'a AtomicU64>,
}

impl Watch<'_> {
    pub(super) fn check(&self) -> Result<()> {
        match self.cancel {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    pub(super) fn scored(&self, pairs: usize) {
        if let Some(counter) = self.pairs {
            counter.fetch_add(pairs as u64, Ordering::Relaxed);
        }
    }
}

/// Anchors that the 8-bit pass is tried on before it is chosen.
const SAMPLE: usize = 4 * ANCHORS;

/// Anchors and documents below which coding costs more than it can save.
const WORTH: (usize, usize) = (256, 4096);

/// Documents made ready for search.
pub struct Flat<'a> {
    documents: &'a dyn Rows,
    budget: usize,
    isa: Isa,
    eight: Option<Eight>,
    /// Chosen by the first search.
    way: Mutex<Option<Arc<Way>>>,
    watch: Watch<'a>,
}

/// How the documents lie in memory.
pub(super) enum Way {
    /// As 8-bit codes that choose candidates.
    Coded(Coded),
    /// In f32, all of them.
    Packed(Panels),
    /// Not at all: they are read again by each search.
    Streamed,
}

impl<'a> Flat<'a> {
    /// For searches that hold at most `budget` bytes of documents. The first one makes them ready: as codes (1 byte a value, and
    /// 4 for the rows where they fit too) or packed in f32 (4 bytes), so that each is read once. Where neither
    /// fits, they are read again by each search, once for as many anchors as fit beside them into `budget`. (A
    /// search needs some 6 MiB per thread on top at 384 columns and k = 100.)
    ///
    /// # Errors
    /// [`Error::Parameter`] for no columns or more documents than 32 bits count.
    pub fn new(documents: &'a dyn Rows, budget: usize, watch: Watch<'a>) -> Result<Self> {
        Self::with_isa(documents, budget, watch, Isa::best())
    }

    /// As [`Flat::new`] by a given instruction set; all give the same bits.
    ///
    /// # Errors
    /// Those of [`Flat::new`].
    pub fn with_isa(documents: &'a dyn Rows, budget: usize, watch: Watch<'a>, isa: Isa) -> Result<Self> {
        let (rows, dim) = (documents.len(), documents.dim());
        if dim == 0 {
            return Err(Error::Parameter { what: "dimension", must: "at least 1", got: 0 });
        }
        if rows > u32::MAX as usize - DOCUMENTS {
            return Err(Error::Parameter { what: "documents", must: "at most 4294967263", got: rows });
        }
        // The 8-bit instructions come with the widest of the others.
        let eight = if isa == Isa::best() { Eight::best() } else { None };
        Ok(Flat { documents, budget, isa, eight, way: Mutex::new(None), watch })
    }

    /// The same without the 8-bit pass, to measure what that gains.
    #[must_use]
    pub fn in_f32(mut self) -> Self {
        self.eight = None;
        self
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether there are no documents.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// The best `k` documents of each anchor of `range`, on the current rayon pool.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::Parameter`] (`k` = 0 or a range beyond the anchors), [`Error::Read`],
    /// [`Error::Cancelled`].
    pub fn search(&self, anchors: &dyn Rows, range: Range<usize>, k: usize) -> Result<Neighbours> {
        let dim = self.documents.dim();
        if anchors.dim() != dim {
            return Err(Error::Dimension { anchors: anchors.dim(), documents: dim });
        }
        if k == 0 {
            return Err(Error::Parameter { what: "k", must: "at least 1", got: 0 });
        }
        if range.start > range.end || range.end > anchors.len() {
            let (must, got) = ("a range inside the anchors", range.end);
            return Err(Error::Parameter { what: "anchors", must, got });
        }
        let keep = k.min(self.len());
        if keep == 0 || range.is_empty() {
            let starts = vec![0; range.len() + 1];
            return Ok(Neighbours { starts, items: Vec::new(), scores: Vec::new() });
        }
        let Some(mut out) = Hits::new(range.len(), keep) else {
            return Err(Error::Parameter { what: "k", must: "small enough to hold the hits", got: k });
        };
        match &*self.ready(anchors, range.clone(), keep)? {
            Way::Coded(coded) if coded.suits(keep) => self.search_coded(coded, anchors, range, &mut out)?,
            Way::Packed(panels) => self.search_packed(panels, anchors, range, &mut out)?,
            Way::Coded(_) | Way::Streamed => self.search_streamed(anchors, range, &mut out)?,
        }
        Ok(out.close())
    }

    /// Bytes of documents that a search may hold.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// The instruction set of the f32 scores.
    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    /// How the first search found it best to hold the documents, in words; empty before.
    pub fn way(&self) -> String {
        match self.way.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            None => String::new(),
            Some(Way::Coded(coded)) => format!("8-bit, {:.0} candidates an anchor", coded.candidates()),
            Some(Way::Packed(_)) => "f32".into(),
            Some(Way::Streamed) => "f32, streamed".into(),
        }
    }

    /// Bytes that hold all documents, in 32 bits and as codes with 8; the latter are none where the processor has no products
    /// of bytes.
    pub fn bytes(&self) -> (usize, Option<usize>) {
        let (rows, dim) = (self.documents.len(), self.documents.dim());
        (Panels::<f32>::bytes(rows, dim, DOCUMENTS), self.eight.map(|_| codes::bytes(rows, dim)))
    }

    /// How the documents pass through memory in searches for the best `k`, where they do not fit in 32 bits. (As codes they may
    /// fit nevertheless.)
    pub fn streaming(&self, k: usize) -> Option<Streaming> {
        let keep = k.clamp(1, self.len().max(1));
        (self.bytes().0 > self.budget).then(|| self.chunks(keep))
    }

    /// Makes the documents ready, as the first search of these anchors would.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Cancelled`].
    pub fn prepare(&self, anchors: &dyn Rows, range: Range<usize>, k: usize) -> Result<()> {
        self.ready(anchors, range, k.clamp(1, self.len().max(1))).map(drop)
    }

    pub(super) fn ready(&self, anchors: &dyn Rows, range: Range<usize>, keep: usize) -> Result<Arc<Way>> {
        let slot = || self.way.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = slot().clone();
        if let Some(way) = ready {
            return Ok(way);
        }
        // Not under the lock: a thread that waits for the others may be handed another search of this index.
        let way = Arc::new(match self.coded(anchors, range, keep)? {
            Some(coded) => Way::Coded(coded),
            None => self.packed()?.map_or(Way::Streamed, Way::Packed),
        });
        Ok(slot().get_or_insert(way).clone())
    }

    /// The documents in f32, if they fit.
    fn packed(&self) -> Result<Option<Panels>> {
        let (rows, dim) = (self.documents.len(), self.documents.dim());
        if Panels::<f32>::bytes(rows, dim, DOCUMENTS) > self.budget {
            return Ok(None);
        }
        let mut panels = Panels::new(rows, dim, DOCUMENTS);
        fill(self.documents, 0, &mut panels, dim, self.watch)?;
        Ok(Some(panels))
    }

    /// The documents as codes, if they fit and a sample says that they pay.
    fn coded(&self, anchors: &dyn Rows, range: Range<usize>, keep: usize) -> Result<Option<Coded>> {
        let (rows, dim) = (self.documents.len(), self.documents.dim());
        let Some(eight) = self.eight else { return Ok(None) };
        let bytes = codes::bytes(rows, dim);
        if range.len() < WORTH.0 || rows < WORTH.1 || bytes > self.budget {
            return Ok(None);
        }
        let keep_rows = bytes.saturating_add(rows.saturating_mul(4 * dim)) <= self.budget;
        let Some(coded) = Coded::new(eight, self.documents, keep_rows, self.watch)? else { return Ok(None) };
        if !coded.suits(keep) {
            return Ok(None);
        }
        let mut sample = vec![0.0; SAMPLE * dim];
        for (pick, row) in sample.chunks_mut(dim).enumerate() {
            anchors.read(range.start + pick * range.len() / SAMPLE, row)?;
        }
        let quiet = Watch { pairs: None, ..self.watch };
        sample.par_chunks(ANCHORS * dim).try_for_each(|rows| {
            coded.scan(&mut coded.group(rows.to_vec(), keep), self.block() * 4, quiet)
        })?;
        Ok(coded.pays().then_some(coded))
    }

    /// Document panels of a block in f32.
    fn block(&self) -> usize {
        (BLOCK / (self.documents.dim() * DOCUMENTS * 4)).max(1)
    }

    /// Codes at hand: each task takes one group of anchors through all of them, then scores what is left.
    fn search_coded(
        &self,
        coded: &Coded,
        anchors: &dyn Rows,
        range: Range<usize>,
        out: &mut Hits,
    ) -> Result<()> {
        let dim = self.documents.dim();
        let size = group_size(range.len());
        out.groups(size).enumerate().try_for_each(|(g, out)| {
            let first = range.start + g * size;
            let mut rows = vec![0.0; (range.end.min(first + size) - first) * dim];
            anchors.read(first, &mut rows)?;
            let mut group = coded.group(rows, out.keep);
            coded.scan(&mut group, self.block() * 4, self.watch)?;
            coded.finish(&group, self.documents, self.isa, self.watch, out)
        })
    }

    /// All documents at hand: each task takes one group of anchors through all of them.
    fn search_packed(
        &self,
        panels: &Panels,
        anchors: &dyn Rows,
        range: Range<usize>,
        out: &mut Hits,
    ) -> Result<()> {
        let size = group_size(range.len());
        out.groups(size).enumerate().try_for_each(|(g, out)| {
            let first = range.start + g * size;
            let mut group = self.group(anchors, first..range.end.min(first + size), out.keep)?;
            group.scan(self.isa, panels, 0, self.block(), self.watch)?;
            group.finish(out);
            Ok(())
        })
    }

    /// How the documents pass through memory where they do not fit.
    fn chunks(&self, keep: usize) -> Streaming {
        let dim = self.documents.dim();
        // With the hits that the search answers, and their copy on the way out.
        let per_anchor = dim * 4 + Best::bytes(keep, self.len()) + 16 * keep;
        Streaming::new(self.budget, dim, per_anchor, ANCHORS)
    }

    /// Documents chunk by chunk; a batch of anchors sees each chunk before it goes.
    fn search_streamed(&self, anchors: &dyn Rows, range: Range<usize>, out: &mut Hits) -> Result<()> {
        let streaming = self.chunks(out.keep);
        for start in range.clone().step_by(streaming.anchors) {
            let end = range.end.min(start + streaming.anchors);
            let size = group_size(end - start);
            let groups = (start..end).into_par_iter().step_by(size);
            let mut groups: Vec<Group> = groups
                .map(|first| self.group(anchors, first..end.min(first + size), out.keep))
                .collect::<Result<_>>()?;
            streaming.run(self.documents, self.watch, |first, panels| {
                let each = groups.par_iter_mut().with_max_len(1);
                each.try_for_each(|group| {
                    group.scan(self.isa, panels, first as u32, self.block(), self.watch)
                })
            })?;
            let part = out.part(start - range.start..end - range.start);
            part.groups(size).zip(&mut groups).for_each(|(out, group)| group.finish(out));
        }
        Ok(())
    }

    /// Reads and packs the anchors of `rows`.
    fn group(&self, anchors: &dyn Rows, rows: Range<usize>, keep: usize) -> Result<Group> {
        Group::new(rows.len(), self.documents.dim(), keep, self.len(), |at, out| {
            anchors.read(rows.start + at, out)
        })
    }
}

/// Scores given pairs with the bits a search gives them: those of anchor `i` of `range` are the documents
/// `items[starts[i]..starts[i + 1]]`. Runs on the current rayon pool.
///
/// # Errors
/// [`Error::Dimension`], [`Error::Parameter`] (a document or range out of bounds, `starts` that do not fit),
/// [`Error::Read`], [`Error::Cancelled`].
pub fn score_pairs(
    anchors: &dyn Rows,
    documents: &dyn Rows,
    range: Range<usize>,
    starts: &[usize],
    items: &[u32],
    watch: Watch<'_>,
) -> Result<Vec<f32>> {
    let dim = documents.dim();
    if anchors.dim() != dim {
        return Err(Error::Dimension { anchors: anchors.dim(), documents: dim });
    }
    let bad = |what, must, got| Err(Error::Parameter { what, must, got });
    if range.start > range.end || range.end > anchors.len() {
        return bad("anchors", "a range inside the anchors", range.end);
    }
    let rising = starts.is_sorted() && starts.first() == Some(&0) && starts.last() == Some(&items.len());
    if starts.len() != range.len() + 1 || !rising {
        return bad("starts", "one more than the anchors, ascending from 0 to the pairs", starts.len());
    }
    if let Some(&item) = items.iter().find(|&&item| item as usize >= documents.len()) {
        return bad("documents", "rows of the documents", item as usize);
    }
    let isa = Isa::best();
    let mut scores = vec![0.0; items.len()];
    let mut jobs = Vec::with_capacity(range.len());
    let mut rest = &mut scores[..];
    for (anchor, span) in range.zip(starts.windows(2)) {
        let (mine, after) = rest.split_at_mut(span[1] - span[0]);
        rest = after;
        if !mine.is_empty() {
            jobs.push((anchor, &items[span[0]..span[1]], mine));
        }
    }
    let space = || (vec![0.0; dim], vec![0.0; dim * DOCUMENTS]);
    jobs.into_par_iter().try_for_each_init(space, |(row, slab), (anchor, items, scores)| {
        watch.check()?;
        anchors.read(anchor, row)?;
        for (items, scores) in items.chunks(DOCUMENTS).zip(scores.chunks_mut(DOCUMENTS)) {
            let slab = &mut slab[..items.len() * dim];
            for (&item, slab) in items.iter().zip(slab.chunks_mut(dim)) {
                documents.read(item as usize, slab)?;
            }
            kernel::dots(isa, row, slab, scores);
        }
        watch.scored(items.len());
        Ok(())
    })?;
    Ok(scores)
}

/// Anchors per task: whole panels, and as many tasks for each thread, at least four where there are several.
fn group_size(anchors: usize) -> usize {
    let threads = rayon::current_num_threads();
    let tasks = match threads {
        1 => anchors.div_ceil(GROUP),
        _ => anchors.div_ceil(threads * GROUP).max(4) * threads,
    };
    anchors.div_ceil(tasks.max(1)).next_multiple_of(ANCHORS).max(ANCHORS)
}

#[cfg(test)]
#[path = "flat_tests.rs"]
mod tests;
