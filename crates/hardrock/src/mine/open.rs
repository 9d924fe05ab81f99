//! Opens the sources that search, for anchors or for the corpus itself.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use hardrock_core::AnchorId;

use super::dense::Pair;
use super::plan::Plan;
use super::prepare::lexical;
use super::spec::{GraphSpec, PoolSpec, SourceSpec};
use crate::read::{Dataset, Table};
use crate::sources::{
    ApproximateSource, Bm25Source, ClusterCell, GraphOver, GraphSource, Lexical, PendingSource, Retrieved,
    Source, VectorsSource,
};
use crate::store::Stage;
use crate::{Error, Result};

/// What sources are made of.
pub(super) struct Opener<'a> {
    pub(super) dataset: &'a Dataset,
    /// Anchors to be mined for.
    pub(super) judged: &'a [AnchorId],
    pub(super) lexicals: &'a [Lexical],
    /// Lowest grade that counts as positive.
    pub(super) level: i32,
    pub(super) seed: u64,
    /// Bytes of one source.
    pub(super) room: u64,
    pub(super) cancel: &'a AtomicBool,
}

/// What belongs to one pool and outlives its source.
pub(super) struct Belongings<'a> {
    pub(super) vectors: &'a Pair,
    /// Clusters of the documents.
    pub(super) clusters: &'a ClusterCell<'a>,
    /// Documents that a graph has lists of.
    pub(super) documents: &'a [AnchorId],
}

/// Whom a search is for.
#[derive(Clone, Copy, PartialEq)]
enum For {
    Anchors,
    Documents,
}

/// The documents that the pool's graph must have lists of, ascending: all, or those where a walk can begin.
pub(super) fn graph_documents(
    plan: &Plan,
    pool: usize,
    dataset: &Dataset,
    judged: &[AnchorId],
) -> Result<Vec<AnchorId>> {
    let SourceSpec::Graph(graph) = &plan.spec.pool[pool].source else { return Ok(Vec::new()) };
    if graph.retrieved > 0 || plan.family_graph() == Some(pool) {
        return Ok((0..dataset.items.len() as u32).map(AnchorId).collect());
    }
    let level = plan.spec.data.level;
    let positives = judged.iter().flat_map(|a| dataset.judgements.positives(a.0, level));
    let documents: BTreeSet<u32> = positives.collect();
    if documents.is_empty() {
        return Err(Error::usage(
            "the source graph starts from positives, but no anchor has any",
            "name judgements (--split), or start from what a search finds: --graph-retrieved 10",
        ));
    }
    Ok(documents.into_iter().map(AnchorId).collect())
}

/// Neighbours that a graph keeps of each document.
pub(super) fn graph_width(pool: &PoolSpec, graph: &GraphSpec) -> usize {
    graph.neighbours.unwrap_or(pool.depth)
}

impl<'a> Opener<'a> {
    /// A source by BM25 or by vectors.
    pub(super) fn search(&self, spec: &SourceSpec, own: &Belongings<'a>) -> Result<Box<dyn Source + 'a>> {
        self.searching(spec, own, For::Anchors, self.room)
    }

    /// A source by the graph of the corpus, whose lists are kept in `stage`.
    pub(super) fn graph(
        &self,
        pool: &PoolSpec,
        graph: &GraphSpec,
        own: &Belongings<'a>,
        stage: Stage,
    ) -> Result<Box<dyn Source + 'a>> {
        if own.vectors.pending().is_some() {
            return Ok(Box::new(PendingSource));
        }
        let room = if graph.retrieved > 0 { self.room / 2 } else { self.room };
        let search = self.searching(&graph.over, own, For::Documents, room)?;
        let keep = graph_width(pool, graph);
        let over = GraphOver { search, documents: own.documents, keep, stage };
        let retrieved = match graph.retrieved {
            0 => None,
            depth => Some(Retrieved { search: self.searching(&graph.over, own, For::Anchors, room)?, depth }),
        };
        let labels = (&self.dataset.judgements, self.level);
        Ok(Box::new(GraphSource::new(over, retrieved, self.judged, labels, self.cancel)))
    }

    fn searching(
        &self,
        spec: &SourceSpec,
        own: &Belongings<'a>,
        whom: For,
        room: u64,
    ) -> Result<Box<dyn Source + 'a>> {
        let (table, judged): (&'a Table, &'a [AnchorId]) = match whom {
            For::Anchors => (&self.dataset.anchors, self.judged),
            For::Documents => (&self.dataset.items, own.documents),
        };
        if let SourceSpec::Bm25(bm25) = spec {
            let lexical = lexical(self.lexicals, bm25)?;
            return Ok(Box::new(Bm25Source::new(lexical, &bm25.weights, room, table, judged)?));
        }
        let Some([documents, queries]) = own.vectors.ready() else { return Ok(Box::new(PendingSource)) };
        let (room, searched) = (room as usize, if whom == For::Anchors { queries } else { documents });
        let exact = VectorsSource::new(documents, searched, judged, room, self.cancel)?;
        Ok(match spec.approximate() {
            None => Box::new(exact),
            Some(target) => {
                let aim = (target, self.seed);
                Box::new(ApproximateSource::new(exact, documents, own.clusters, aim, room, self.cancel))
            }
        })
    }
}
