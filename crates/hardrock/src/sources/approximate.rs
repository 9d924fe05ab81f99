//! Nearest neighbours through clusters, to a recall that a sample of the anchors proves.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use hardrock_core::{AnchorId, ItemId};
use hardrock_engine::index::Neighbours;
use hardrock_engine::index::clustered::{Clusters, Join, Recall};
use hardrock_engine::index::flat::Watch;

use super::vectors::{Judged, Vectors, VectorsSource};
use super::{MemoryPlan, Sample, Source};
use crate::{Error, Result};

/// Where the clusters of a source will be; it outlives the source.
pub type ClusterCell<'a> = OnceLock<Clusters<'a>>;

/// A [`VectorsSource`] that proposes through clusters. They are made when they are first needed, so that a run which
/// finds its proposals finished does without.
pub struct ApproximateSource<'a> {
    pairs: VectorsSource<'a>,
    documents: &'a Vectors,
    clusters: &'a ClusterCell<'a>,
    join: OnceLock<Join<'a>>,
    /// Clusters that each anchor looks at, by depth.
    probes: OnceLock<(usize, usize)>,
    target: f64,
    seed: u64,
    budget: usize,
    cancel: &'a AtomicBool,
}

impl<'a> ApproximateSource<'a> {
    /// `target` is the recall to reach, in (0, 1]; `pairs` scores single pairs and knows the anchors; `budget` in bytes
    /// bounds the documents in memory.
    pub fn new(
        pairs: VectorsSource<'a>,
        documents: &'a Vectors,
        clusters: &'a ClusterCell<'a>,
        (target, seed): (f64, u64),
        budget: usize,
        cancel: &'a AtomicBool,
    ) -> Self {
        let (join, probes) = (OnceLock::new(), OnceLock::new());
        Self { pairs, documents, clusters, join, probes, target, seed, budget, cancel }
    }

    fn join(&self) -> Result<&Join<'a>> {
        let watch = Watch { cancel: Some(self.cancel), pairs: None };
        let gone = || Error::usage("the clusters are gone", "");
        if self.clusters.get().is_none() {
            // Two threads that come here at once make the same clusters.
            let _ = self.clusters.set(Clusters::new(self.documents, self.seed, watch)?);
        }
        let clusters = self.clusters.get().ok_or_else(gone)?;
        if self.join.get().is_none() {
            let _ = self.join.set(Join::new(clusters, self.budget, watch)?);
        }
        self.join.get().ok_or_else(gone)
    }

    /// Chosen on all anchors, whatever part of them is searched for first.
    fn probes(&self, join: &Join<'a>, depth: usize) -> Result<usize> {
        if let Some((_, probes)) = self.probes.get().filter(|(known, _)| *known == depth) {
            return Ok(*probes);
        }
        let anchors = self.pairs.anchors();
        let probes = join.probes(&anchors, 0..anchors.count(), depth, self.target)?;
        let _ = self.probes.set((depth, probes));
        Ok(probes)
    }
}

impl Source for ApproximateSource<'_> {
    fn propose(&self, range: Range<usize>, depth: usize, _: &AtomicBool) -> Result<Neighbours> {
        let join = self.join()?;
        let probes = self.probes(join, depth)?;
        Ok(join.search(&self.pairs.anchors(), range, depth, probes)?.0)
    }

    fn score(&self, anchor: AnchorId, items: &[ItemId], out: &mut [f32]) -> Result<()> {
        self.pairs.score(anchor, items, out)
    }

    fn memory(&self, anchors: usize, depth: usize) -> Option<MemoryPlan> {
        Some(self.pairs.held(anchors, crate::mine::together(0), depth))
    }

    fn exactness(&self) -> String {
        format!("approximate, to a recall of {}", self.target)
    }

    fn recall(&self, sample: &Sample<'_>) -> Result<Option<Recall>> {
        let all = self.pairs.anchors();
        let picked: Vec<AnchorId> =
            sample.anchors.iter().filter_map(|&at| all.judged.get(at).copied()).collect();
        let anchors = Judged { judged: &picked, ..all };
        let exact = self.join()?.exact(&anchors, 0..picked.len(), sample.depth)?;
        Ok(Some(Recall::of(sample.found, &exact)))
    }
}
