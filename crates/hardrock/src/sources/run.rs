//! Candidates from a run file that another system made.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use hardrock_core::{AnchorId, ItemId};
use hardrock_engine::index::Neighbours;

use super::Source;
use crate::Result;
use crate::read::Table;
use crate::read::trec::Run;

/// A run in dense numbers: per anchor (document, score), best first.
#[derive(Debug)]
pub struct RunSource<'a> {
    judged: &'a [AnchorId],
    starts: Vec<usize>,
    items: Vec<u32>,
    scores: Vec<f32>,
    /// Lines whose query is no anchor.
    pub unknown_queries: u64,
    /// Lines whose document is not in the corpus.
    pub unknown_documents: u64,
}

impl<'a> RunSource<'a> {
    /// Translates a run's ids. Lines that name unknown queries or documents are counted and left out.
    pub fn new(run: &Run, anchors: &Table, items: &Table, judged: &'a [AnchorId]) -> Self {
        let mut lists: Vec<Vec<(u32, f32)>> = vec![Vec::new(); anchors.len()];
        let (mut unknown_queries, mut unknown_documents) = (0, 0);
        for (query, documents) in run.iter() {
            let Some(anchor) = anchors.find(query) else {
                unknown_queries += documents.len() as u64;
                continue;
            };
            for (document, score) in documents {
                match items.find(document) {
                    Some(item) => lists[anchor as usize].push((item, score as f32)),
                    None => unknown_documents += 1,
                }
            }
        }
        let mut source = Self {
            judged,
            starts: vec![0],
            items: Vec::new(),
            scores: Vec::new(),
            unknown_queries,
            unknown_documents,
        };
        for mut list in lists {
            list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            source.items.extend(list.iter().map(|x| x.0));
            source.scores.extend(list.iter().map(|x| x.1));
            source.starts.push(source.items.len());
        }
        source
    }

    fn of(&self, anchor: usize) -> (&[u32], &[f32]) {
        let range = self.starts[anchor]..self.starts[anchor + 1];
        (&self.items[range.clone()], &self.scores[range])
    }
}

impl Source for RunSource<'_> {
    fn propose(&self, anchors: Range<usize>, depth: usize, _: &AtomicBool) -> Result<Neighbours> {
        let mut out = Neighbours::default();
        out.starts.push(0);
        for anchor in anchors {
            let (items, scores) = self.of(self.judged[anchor].index());
            let n = items.len().min(depth);
            out.items.extend_from_slice(&items[..n]);
            out.scores.extend_from_slice(&scores[..n]);
            out.starts.push(out.items.len());
        }
        Ok(out)
    }

    fn score(&self, anchor: AnchorId, items: &[ItemId], out: &mut [f32]) -> Result<()> {
        let (have, scores) = self.of(anchor.index());
        for (slot, item) in out.iter_mut().zip(items) {
            *slot = have.iter().position(|&i| i == item.0).map_or(f32::NAN, |at| scores[at]);
        }
        Ok(())
    }

    fn exactness(&self) -> String {
        "as given in the run file".into()
    }
}
