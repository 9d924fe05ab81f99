//! Read-only world knowledge handed to filters: everything that is not in the row itself.

use crate::{AnchorId, ItemId, Result};

/// A group or time value that a record does not have.
pub const ABSENT: u32 = u32::MAX;

/// What a filter may look up. A filter whose side input is `None` reports [`crate::Error::Missing`].
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Per document.
    pub items: &'a Catalogue,
    /// Per anchor.
    pub anchors: &'a Catalogue,
    /// Labelled positives.
    pub known: &'a Known,
    /// Documents that a judge found relevant (`judged`).
    pub judged: &'a Known,
    /// Similarity of two documents, in `[0, 1]` or `[-1, 1]` (`kin`).
    pub likeness: Option<&'a dyn Likeness>,
    /// Share of word shingles that two documents have in common (`near`).
    pub overlap: Option<&'a dyn Overlap>,
    /// Is-a relations between documents (`taxonomy`).
    pub taxonomy: Option<&'a Taxonomy>,
    /// A second encoder's opinion (`guide`).
    pub guide: Option<&'a dyn Opinion>,
    /// A cross-encoder's opinion (`rerank`).
    pub cross_encoder: Option<&'a dyn Opinion>,
    /// An outside program's opinion (`command`).
    pub outside: Option<&'a dyn Outside>,
}

/// Columns about documents or anchors; every present column is `[records]`.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// Hash of the normalised text; 0 for a record without text, which equals no other.
    pub text: Vec<u64>,
    /// Family of near-duplicates: the lowest member's number.
    pub family: Option<Vec<u32>>,
    /// Value of the group column, interned over both sides; [`ABSENT`] where there is none.
    pub group: Option<Vec<u32>>,
    /// Value of the time column (any number that grows with time); `None` where there is none.
    pub time: Option<Vec<Option<f64>>>,
}

/// Which documents are labelled positives of an anchor, those of anchors with the same text included.
#[derive(Debug, Clone, Default)]
pub struct Known {
    starts: Vec<usize>,
    items: Vec<ItemId>,
}

impl Known {
    /// From one list of positives per anchor, in any order.
    pub fn new(lists: impl IntoIterator<Item = Vec<ItemId>>) -> Self {
        let mut known = Self { starts: vec![0], items: Vec::new() };
        for mut list in lists {
            list.sort_unstable();
            list.dedup();
            known.items.extend(list);
            known.starts.push(known.items.len());
        }
        known
    }

    /// The known positives of an anchor, sorted; empty for an anchor without any.
    pub fn of(&self, anchor: AnchorId) -> &[ItemId] {
        match (self.starts.get(anchor.index()), self.starts.get(anchor.index() + 1)) {
            (Some(&a), Some(&b)) => &self.items[a..b],
            _ => &[],
        }
    }
}

/// Similarity between documents.
pub trait Likeness: Sync {
    /// What it measures, for reports: `tf-idf cosine`, `cosine`.
    fn name(&self) -> &'static str;
    /// Writes the similarity of `item` to each of `others` into `out` `[others]`.
    fn likeness(&self, item: ItemId, others: &[ItemId], out: &mut [f32]) -> Result<()>;
}

/// Shared word shingles of two documents.
pub trait Overlap: Sync {
    /// Writes the exact Jaccard similarity in `[0, 1]` of the shingle sets of `item` and each of `others` into `out` `[others]`.
    fn jaccard(&self, item: ItemId, others: &[ItemId], out: &mut [f32]) -> Result<()>;
}

/// A model's opinion of how well documents answer anchors.
pub trait Opinion: Sync {
    /// Writes the score of each pair into `out` `[pairs]`, higher = better; one anchor's pairs stand together.
    fn score(&self, pairs: &[(AnchorId, ItemId)], out: &mut [f32]) -> Result<()>;
}

/// One question to an outside program: an anchor, its positives and its live candidates with their judging scores.
#[derive(Debug, Clone)]
pub struct Question {
    /// The anchor.
    pub anchor: AnchorId,
    /// Its labelled positives.
    pub positives: Vec<ItemId>,
    /// The candidates to judge.
    pub candidates: Vec<ItemId>,
    /// Their judging scores `[candidates]`.
    pub scores: Vec<f32>,
}

/// An outside program that judges candidates.
pub trait Outside: Sync {
    /// For each question, per candidate: `None` = keep, `Some(value)` = drop, with the value the program gave (NaN if none).
    fn judge(&self, questions: &[Question]) -> Result<Vec<Vec<Option<f32>>>>;
}

/// Is-a edges between documents.
#[derive(Debug, Clone, Default)]
pub struct Taxonomy {
    starts: Vec<usize>,
    parents: Vec<ItemId>,
}

impl Taxonomy {
    /// From one list of parents per item.
    pub fn new(lists: impl IntoIterator<Item = Vec<ItemId>>) -> Self {
        let mut t = Self { starts: vec![0], parents: Vec::new() };
        for mut list in lists {
            list.sort_unstable();
            list.dedup();
            t.parents.extend(list);
            t.starts.push(t.parents.len());
        }
        t
    }

    /// Direct parents of an item.
    pub fn parents(&self, item: ItemId) -> &[ItemId] {
        match (self.starts.get(item.index()), self.starts.get(item.index() + 1)) {
            (Some(&a), Some(&b)) => &self.parents[a..b],
            _ => &[],
        }
    }

    /// Every ancestor of an item within `limit` steps up, with the length of the shortest way, sorted by item. The item
    /// itself is no ancestor of its own, not even where the edges run in a circle.
    pub fn ancestors(&self, item: ItemId, limit: u32) -> Vec<(ItemId, u32)> {
        let mut found: Vec<(ItemId, u32)> = Vec::new();
        let mut frontier = vec![item];
        for step in 1..=limit {
            let mut next: Vec<ItemId> = frontier.iter().flat_map(|&i| self.parents(i)).copied().collect();
            next.sort_unstable();
            next.dedup();
            next.retain(|n| *n != item && found.binary_search_by_key(n, |f| f.0).is_err());
            if next.is_empty() {
                break;
            }
            found.extend(next.iter().map(|&n| (n, step)));
            found.sort_unstable();
            frontier = next;
        }
        found
    }
}
