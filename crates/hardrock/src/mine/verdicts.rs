//! Verdicts by the data's own numbers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hardrock_core::{AnchorId, ItemId, Known};

use super::plan::Plan;
use crate::read::Dataset;
use crate::verdicts::{Answer, Record, read};
use crate::{Error, Result};

/// The files of verdicts that a job reads.
pub(super) fn files(plan: &Plan) -> Vec<PathBuf> {
    let p_fn = &plan.spec.p_fn;
    p_fn.verdicts.iter().chain(&p_fn.learn_from).cloned().collect()
}

/// The verdicts of a job.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// The last verdict on each pair, as read.
    pub(super) records: Vec<Record>,
    /// (anchor, document, record) of those that the data knows, from `verdicts`.
    pairs: Vec<(u32, ItemId, Record)>,
    /// The same of those to learn from.
    lessons: Vec<(u32, ItemId, Record)>,
}

impl Verdicts {
    /// Reads the files of a job.
    pub(super) fn open(plan: &Plan, dataset: &Dataset) -> Result<Self> {
        let p_fn = &plan.spec.p_fn;
        let numbered = |path: &PathBuf, records: &[Record]| -> Result<Vec<(u32, ItemId, Record)>> {
            let pairs: Vec<_> = records
                .iter()
                .filter_map(|r| {
                    let pair = (dataset.anchors.find(&r.query_id)?, dataset.items.find(&r.doc_id)?);
                    Some((pair.0, ItemId(pair.1), r.clone()))
                })
                .collect();
            if pairs.is_empty() && !records.is_empty() {
                return Err(Error::usage(
                    format!(
                        "none of the {} verdicts of {} is about this data",
                        records.len(),
                        path.display()
                    ),
                    "give the verdicts of a run on the same data",
                ));
            }
            Ok(pairs)
        };
        let mut out = Self::default();
        if let Some(path) = &p_fn.verdicts {
            out.records = read(path)?;
            out.pairs = numbered(path, &out.records)?;
        }
        if let Some(path) = &p_fn.learn_from {
            out.lessons = numbered(path, &read(path)?)?;
        } else if p_fn.promise.is_none() {
            // Nothing is to be proved, so the same verdicts may teach.
            out.lessons = out.pairs.clone();
        }
        Ok(out)
    }

    /// What judges found relevant, per anchor.
    pub(super) fn relevant(&self, anchors: usize) -> Known {
        let mut lists = vec![Vec::new(); anchors];
        for (anchor, item, record) in self.pairs.iter().chain(&self.lessons) {
            if record.answer == Answer::Relevant {
                lists[*anchor as usize].push(*item);
            }
        }
        Known::new(lists)
    }

    /// The pairs to learn from, by anchor; what a judge was not sure of teaches nothing.
    pub(super) fn lessons(&self) -> BTreeMap<AnchorId, Vec<(ItemId, &Record)>> {
        let mut by_anchor: BTreeMap<AnchorId, Vec<(ItemId, &Record)>> = BTreeMap::new();
        for (anchor, item, record) in self.lessons.iter().filter(|l| l.2.answer != Answer::Unsure) {
            by_anchor.entry(AnchorId(*anchor)).or_default().push((*item, record));
        }
        by_anchor
    }

    /// Answer on each pair of the first file, for the reliability of a model that did not learn from it.
    pub(super) fn answers(&self) -> BTreeMap<(u32, u32), bool> {
        let sure = self.pairs.iter().filter(|p| p.2.answer != Answer::Unsure);
        sure.map(|(a, i, r)| ((*a, i.0), r.answer == Answer::Relevant)).collect()
    }
}
