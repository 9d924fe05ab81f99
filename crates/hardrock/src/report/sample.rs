//! Which rows of a drawn anchor the report shows.

use super::summary::Sample;
use crate::candidates::{AnchorCandidates, CandidateRow, Status};
use crate::explain::Explained;
use crate::texts::{Texts, one_line};

/// Documents shown per anchor: positives, selected, dropped.
const SHOWN: [usize; 3] = [3, 6, 6];

/// The shown rows of one anchor, before their texts are known.
pub(super) struct Chosen<'a> {
    anchor: &'a AnchorCandidates,
    groups: [Vec<&'a CandidateRow>; 3],
    counts: [usize; 3],
}

impl<'a> Chosen<'a> {
    pub(super) fn of(anchor: &'a AnchorCandidates) -> Self {
        let dropped = anchor.candidates().filter(|r| r.status == Status::Dropped).collect();
        let mut groups = [anchor.positives().collect(), anchor.selected(), dropped];
        let counts = groups.each_ref().map(Vec::len);
        for (group, shown) in groups.iter_mut().zip(SHOWN) {
            group.truncate(shown);
        }
        Self { anchor, groups, counts }
    }

    pub(super) fn documents(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.groups.iter().flatten().map(|r| r.doc_id.as_str())
    }

    pub(super) fn sample(&self, texts: &Texts) -> Sample {
        let group = |g: &Vec<&CandidateRow>| g.iter().map(|r| Explained::of(r, texts)).collect();
        let [positives, selected, dropped] = self.groups.each_ref().map(group);
        Sample {
            query_id: self.anchor.query_id.clone(),
            text: texts.query(&self.anchor.query_id).map(one_line),
            positives,
            selected,
            dropped,
            counts: self.counts,
        }
    }
}
