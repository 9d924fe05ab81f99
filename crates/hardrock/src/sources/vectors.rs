//! Exact nearest neighbours among given embeddings.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hardrock_core::{AnchorId, ItemId, Likeness};
use hardrock_engine::index::Neighbours;
use hardrock_engine::index::flat::{Flat, Watch};
use hardrock_engine::index::rows::{Result as RowsResult, Rows, normalise};
use hardrock_engine::kernel::{Isa, dots};
use rayon::prelude::*;

use super::{MemoryPlan, Source, StreamPlan};
use crate::embed::CachedRows;
use crate::mine::spec::Metric;
use crate::read::Table;
use crate::read::vectors::VectorFile;
use crate::{Error, Result};

/// The vectors of a table, brought into the table's order and ready for inner products.
pub struct Vectors {
    rows: Arc<dyn Rows + Send + Sync>,
    /// Row of each record; none = the same order.
    order: Option<Vec<u32>>,
    records: usize,
    metric: Metric,
}

/// Stands in an order for a record without a vector, which nobody may ask for.
pub(crate) const NO_ROW: u32 = u32::MAX;

impl Vectors {
    /// Vectors as a model made them, `order[i]` the row of record `i`.
    pub fn cached(rows: Arc<CachedRows>, order: Vec<u32>) -> Self {
        Self { rows, records: order.len(), order: Some(order), metric: Metric::Dot }
    }

    /// The same vectors, compared otherwise.
    #[must_use]
    pub fn compared_by(self, metric: Metric) -> Self {
        Self { metric, ..self }
    }

    /// How many records have a vector that is all zero.
    pub fn zeros(&self) -> Result<u64> {
        /// Rows that a task reads.
        const PIECE: usize = 1024;
        let dim = self.dim();
        let count = |start: usize| -> Result<u64> {
            let mut values = vec![0.0; PIECE.min(self.records - start) * dim];
            self.read(start, &mut values)?;
            Ok(values.chunks(dim).filter(|row| row.iter().all(|&x| x == 0.0)).count() as u64)
        };
        (0..self.records).into_par_iter().step_by(PIECE).map(count).sum()
    }
}

/// Opens the vectors of a table: by id where the file has ids, else by the rows of the file that the table was read from.
/// `side` is `documents` or `queries`, for errors; `work` takes what must be unpacked first.
pub fn open_vectors(path: &Path, table: &Table, side: &str, metric: Metric, work: &Path) -> Result<Vectors> {
    let file = VectorFile::open(path, work)?;
    file.check()?;
    let records = table.len();
    let order = match file.ids() {
        Some(ids) => {
            let by_id = |i: u32| {
                ids.find(table.id(i)).ok_or_else(|| {
                    Error::input(
                        path,
                        None,
                        format!("no vector for id `{}` of the {side}", table.id(i)),
                        "embed every record, or leave the ids out and keep the file's order",
                    )
                })
            };
            Some((0..records as u32).map(by_id).collect::<Result<Vec<u32>>>()?)
        }
        None if file.len() as u64 == table.rows_read() && table.is_whole() => None,
        None if file.len() as u64 == table.rows_read() => {
            Some((0..records as u32).map(|i| table.row(i)).collect())
        }
        None => {
            return Err(Error::input(
                path,
                None,
                format!("{} vectors for {} {side}", file.len(), table.rows_read()),
                "one vector per record in the records' order, or add ids (a Parquet id column, or NAME.ids.txt)",
            ));
        }
    };
    Ok(Vectors { rows: Arc::new(file), order, records, metric })
}

impl Rows for Vectors {
    fn len(&self) -> usize {
        self.records
    }

    fn dim(&self) -> usize {
        self.rows.dim()
    }

    fn read(&self, start: usize, out: &mut [f32]) -> RowsResult<()> {
        let dim = self.dim();
        match &self.order {
            None => self.rows.read(start, out)?,
            Some(order) => {
                let order = &order[start..start + out.len() / dim];
                // Rows that lie together are read together.
                let mut rest = &mut *out;
                for run in order.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
                    let (piece, tail) = std::mem::take(&mut rest).split_at_mut(run.len() * dim);
                    match run[0] {
                        NO_ROW => piece.fill(0.0),
                        first => self.rows.read(first as usize, piece)?,
                    }
                    rest = tail;
                }
            }
        }
        if self.metric == Metric::Cosine {
            out.chunks_mut(dim).for_each(normalise);
        }
        Ok(())
    }
}

/// The rows of the judged anchors.
#[derive(Clone, Copy)]
pub(super) struct Judged<'a> {
    pub(super) vectors: &'a Vectors,
    pub(super) judged: &'a [AnchorId],
}

impl Judged<'_> {
    pub(super) fn count(&self) -> usize {
        self.judged.len()
    }
}

impl Rows for Judged<'_> {
    fn len(&self) -> usize {
        self.judged.len()
    }

    fn dim(&self) -> usize {
        self.vectors.dim()
    }

    fn read(&self, start: usize, out: &mut [f32]) -> RowsResult<()> {
        for (anchor, out) in self.judged[start..].iter().zip(out.chunks_mut(self.dim())) {
            self.vectors.read(anchor.index(), out)?;
        }
        Ok(())
    }
}

/// Given embeddings as a source of candidates.
pub struct VectorsSource<'a> {
    flat: Flat<'a>,
    documents: &'a Vectors,
    queries: &'a Vectors,
    judged: &'a [AnchorId],
}

impl<'a> VectorsSource<'a> {
    /// `budget` in bytes bounds the packed documents in memory.
    pub fn new(
        documents: &'a Vectors,
        queries: &'a Vectors,
        judged: &'a [AnchorId],
        budget: usize,
        cancel: &'a AtomicBool,
    ) -> Result<Self> {
        if documents.dim() != queries.dim() {
            return Err(Error::usage(
                format!(
                    "the corpus vectors have {} dimensions, the query vectors {}",
                    documents.dim(),
                    queries.dim()
                ),
                "encode both sides with the same model",
            ));
        }
        let watch = Watch { cancel: Some(cancel), pairs: None };
        Ok(Self { flat: Flat::new(documents, budget, watch)?, documents, queries, judged })
    }

    /// As [`Source::memory`], for searches of `at_once` anchors.
    pub(super) fn held(&self, anchors: usize, at_once: usize, depth: usize) -> MemoryPlan {
        let (documents, codes) = self.flat.bytes();
        let streamed = self.flat.streaming(depth).map(|s| {
            let batch = s.anchors.min(at_once.max(1)).min(anchors.max(1));
            StreamPlan {
                documents: s.documents as u64,
                bytes: (s.documents * self.documents.dim() * size_of::<f32>()) as u64,
                anchors: batch as u64,
                passes: anchors.div_ceil(batch) as u64,
            }
        });
        let (room, codes) = (self.flat.budget() as u64, codes.map(|c| c as u64));
        MemoryPlan { room, documents: documents as u64, codes, streamed }
    }

    /// The rows that are searched for.
    pub(super) fn anchors(&self) -> Judged<'a> {
        Judged { vectors: self.queries, judged: self.judged }
    }
}

impl Source for VectorsSource<'_> {
    fn propose(&self, range: Range<usize>, depth: usize, _: &AtomicBool) -> Result<Neighbours> {
        Ok(self.flat.search(&self.anchors(), range, depth)?)
    }

    fn score(&self, anchor: AnchorId, items: &[ItemId], out: &mut [f32]) -> Result<()> {
        let mut query = vec![0.0; self.queries.dim()];
        self.queries.read(anchor.index(), &mut query)?;
        inner_products(self.documents, &query, items, out)
    }

    fn at_once(&self, depth: usize) -> usize {
        self.flat.streaming(depth).map_or(0, |s| s.anchors)
    }

    fn memory(&self, anchors: usize, depth: usize) -> Option<MemoryPlan> {
        Some(self.held(anchors, crate::mine::together(self.at_once(depth)), depth))
    }

    fn exactness(&self) -> String {
        "exact".into()
    }
}

/// Inner products of one vector and some documents, with the bits that a search gives them.
fn inner_products(documents: &Vectors, vector: &[f32], items: &[ItemId], out: &mut [f32]) -> Result<()> {
    /// Documents scored together.
    const BATCH: usize = 32;
    let dim = vector.len();
    let mut slab = vec![0.0; dim * BATCH.min(items.len())];
    for (items, out) in items.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
        let slab = &mut slab[..items.len() * dim];
        for (item, row) in items.iter().zip(slab.chunks_mut(dim)) {
            documents.read(item.index(), row)?;
        }
        dots(Isa::best(), vector, slab, out);
    }
    Ok(())
}

/// Cosine of two documents' vectors, for `kin`.
pub struct VectorsLikeness<'a> {
    /// The documents' vectors.
    pub documents: &'a Vectors,
}

impl Likeness for VectorsLikeness<'_> {
    fn name(&self) -> &'static str {
        "cosine"
    }

    fn likeness(&self, item: ItemId, others: &[ItemId], out: &mut [f32]) -> hardrock_core::Result<()> {
        let mut work = || -> Result<()> {
            let dim = self.documents.dim();
            let mut vector = vec![0.0; dim];
            self.documents.read(item.index(), &mut vector)?;
            inner_products(self.documents, &vector, others, out)?;
            // Dot-product vectors have lengths of their own; likeness is the angle in either case.
            if self.documents.metric == Metric::Dot {
                let length = |v: &[f32]| hardrock_engine::index::rows::norm(v) as f32;
                let own = length(&vector);
                for (slot, other) in out.iter_mut().zip(others) {
                    self.documents.read(other.index(), &mut vector)?;
                    let both = own * length(&vector);
                    *slot = if both > 0.0 { *slot / both } else { 0.0 };
                }
            }
            Ok(())
        };
        work().map_err(|e| hardrock_core::Error::Outside { stage: "kin", message: e.to_string() })
    }
}
