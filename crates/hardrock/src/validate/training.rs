//! Training files: read twice, first for what every row calls positive, then to judge each row against that.

use std::path::Path;

use hashbrown::{HashMap, HashSet};

use super::{Check, Collisions, Findings, Validation};
use crate::Result;
use crate::read::text_hash;
use crate::rows::{self, Doc, ReadOptions, RowFormat, TrainingRow};

/// Rows of the batch for which collisions are estimated.
const BATCH: u64 = 1024;

/// A document or an anchor as the checks see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Keys {
    id: Option<u64>,
    text: Option<u64>,
}

impl Keys {
    fn of_doc(doc: &Doc) -> Self {
        let text = (doc.text.is_some() || !doc.title.is_empty()).then(|| text_hash(&doc.full_text()));
        Self { id: doc.id.as_deref().map(id_hash), text }
    }

    fn of_anchor(row: &TrainingRow) -> Self {
        Self { id: row.query_id.as_deref().map(id_hash), text: row.query.as_deref().map(text_hash) }
    }

    fn each(self) -> impl Iterator<Item = u64> {
        self.id.into_iter().chain(self.text)
    }

    /// What the document is counted under: its text, else its id.
    fn main(self) -> u64 {
        self.text.or(self.id).unwrap_or_default()
    }
}

/// Differs from the hash of any text that is not preceded by the same byte.
fn id_hash(id: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[0]);
    hasher.update(id.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// What all rows together say.
#[derive(Default)]
struct Known {
    /// (anchor key, positive key) of every row.
    pairs: HashSet<(u64, u64)>,
    /// Per positive: rows that have it, its first anchor, and whether there is another anchor.
    positives: HashMap<u64, (u64, u64, bool)>,
}

impl Known {
    fn add(&mut self, anchor: Keys, positives: &[Keys]) {
        for (i, positive) in positives.iter().enumerate() {
            for a in anchor.each() {
                self.pairs.extend(positive.each().map(|p| (a, p)));
            }
            if positives[..i].iter().all(|p| p.main() != positive.main()) {
                let entry = self.positives.entry(positive.main()).or_insert((0, anchor.main(), false));
                entry.0 += 1;
                entry.2 |= entry.1 != anchor.main();
            }
        }
    }

    fn is_positive(&self, anchor: Keys, doc: Keys) -> bool {
        anchor.each().any(|a| doc.each().any(|d| self.pairs.contains(&(a, d))))
    }
}

pub(super) fn validate(path: &Path, format: Option<RowFormat>, options: &ReadOptions) -> Result<Validation> {
    let format = format.map_or_else(|| rows::guess(path), Ok)?;
    let mut known = Known::default();
    let mut total = 0u64;
    for row in rows::read(path, format, options)? {
        let (_, row) = row?;
        total += 1;
        let positives: Vec<Keys> = row.positives.iter().map(Keys::of_doc).collect();
        known.add(Keys::of_anchor(&row), &positives);
    }
    let mut pass = Pass { known, total, ..Pass::new(path, format) };
    for row in rows::read(path, format, options)? {
        let (line, row) = row?;
        pass.row(line, &row);
    }
    Ok(pass.finish())
}

/// The chance that a batch of `batch` out of `total` different rows, one of them given, holds none of `rows` others.
fn free_chance(total: u64, batch: u64, rows: u64) -> f64 {
    let (others, outside) = (total.saturating_sub(1), total.saturating_sub(batch));
    let mut chance = 1.0;
    for i in 0..rows.min(others) {
        if i >= outside || chance < 1e-12 {
            return 0.0;
        }
        chance *= (outside - i) as f64 / (others - i) as f64;
    }
    chance
}

/// The second reading.
struct Pass<'a> {
    path: &'a Path,
    format: RowFormat,
    known: Known,
    total: u64,
    findings: Findings,
    anchors: HashSet<u64>,
    /// Text of each id of a document, and an id of each text.
    text_of_id: HashMap<u64, u64>,
    id_of_text: HashMap<u64, u64>,
    positives: u64,
    negatives: u64,
    /// Sum over the rows of the chance that a batch holds a row with one of their negatives as its positive.
    collisions: f64,
}

impl<'a> Pass<'a> {
    fn new(path: &'a Path, format: RowFormat) -> Self {
        Self {
            path,
            format,
            known: Known::default(),
            total: 0,
            findings: Findings::default(),
            anchors: HashSet::new(),
            text_of_id: HashMap::new(),
            id_of_text: HashMap::new(),
            positives: 0,
            negatives: 0,
            collisions: 0.0,
        }
    }

    fn row(&mut self, line: u64, row: &TrainingRow) {
        self.positives += row.positives.len() as u64;
        self.negatives += row.negatives.len() as u64;
        let anchor = Keys::of_anchor(row);
        // A run has negatives only, and that is no fault.
        if row.positives.is_empty() && self.format != RowFormat::TrecRun {
            self.found(Check::NoPositive, line, row, None);
        }
        if row.negatives.is_empty() {
            self.found(Check::NoNegative, line, row, None);
        }
        if row.query.as_deref().is_some_and(|q| q.trim().is_empty()) {
            self.found(Check::EmptyText, line, row, None);
        }
        if !self.anchors.insert(anchor.main()) {
            self.found(Check::RepeatedAnchor, line, row, None);
        }
        let shared = |p: &Doc| self.known.positives.get(&Keys::of_doc(p).main()).is_some_and(|k| k.2);
        if let Some(doc) = row.positives.iter().find(|p| shared(p)) {
            self.found(Check::SharedPositive, line, row, Some(doc));
        }
        for side in [&row.positives, &row.negatives] {
            let keys: Vec<Keys> = side.iter().map(Keys::of_doc).collect();
            for (i, doc) in side.iter().enumerate() {
                self.doc(line, row, doc, keys[i]);
                if keys[..i].iter().any(|k| k.main() == keys[i].main()) {
                    self.found(Check::RepeatedInRow, line, row, Some(doc));
                }
                if anchor.id.is_some() && keys[i].id == anchor.id {
                    self.found(Check::SelfId, line, row, Some(doc));
                }
            }
        }
        let same = |doc: &&Doc| anchor.text.is_some() && Keys::of_doc(doc).text == anchor.text;
        for doc in row.positives.iter().filter(same) {
            self.found(Check::SelfPositive, line, row, Some(doc));
        }
        for doc in row.negatives.iter().filter(same) {
            self.found(Check::SelfNegative, line, row, Some(doc));
        }
        self.negatives_against_positives(line, row, anchor);
    }

    fn negatives_against_positives(&mut self, line: u64, row: &TrainingRow, anchor: Keys) {
        let mut seen = HashSet::new();
        let (mut rows, mut first) = (0, None);
        for doc in &row.negatives {
            let keys = Keys::of_doc(doc);
            if self.known.is_positive(anchor, keys) {
                self.found(Check::PositiveAmongNegatives, line, row, Some(doc));
            } else if let Some((count, ..)) = self.known.positives.get(&keys.main())
                && seen.insert(keys.main())
            {
                rows += count;
                first = first.or(Some(doc));
            }
        }
        if let Some(doc) = first {
            self.found(Check::CrossRow, line, row, Some(doc));
            self.collisions += 1.0 - free_chance(self.total, self.batch(), rows);
        }
    }

    /// Checks of a document alone and against all before it.
    fn doc(&mut self, line: u64, row: &TrainingRow, doc: &Doc, keys: Keys) {
        if doc.text.is_some() && doc.full_text().trim().is_empty() {
            self.found(Check::EmptyText, line, row, Some(doc));
            return;
        }
        let (Some(id), Some(text)) = (keys.id, keys.text) else { return };
        match self.text_of_id.insert(id, text) {
            Some(other) if other != text => self.found(Check::DuplicateId, line, row, Some(doc)),
            Some(_) => {}
            // Each id is counted once, at its first appearance.
            None => {
                if *self.id_of_text.entry(text).or_insert(id) != id {
                    self.found(Check::DuplicateText, line, row, Some(doc));
                }
            }
        }
    }

    fn found(&mut self, check: Check, line: u64, row: &TrainingRow, doc: Option<&Doc>) {
        self.findings.add(check, self.path, line, || match doc {
            Some(doc) => format!("{} of {}", doc.shown(), row.shown()),
            None => row.shown(),
        });
    }

    fn batch(&self) -> u64 {
        self.total.min(BATCH)
    }

    fn finish(self) -> Validation {
        let batch = self.batch();
        let expected_rows = self.collisions * batch as f64 / self.total.max(1) as f64;
        Validation {
            format: Some(self.format),
            counts: vec![
                ("rows", self.total),
                ("anchors", self.anchors.len() as u64),
                ("positives", self.positives),
                ("negatives", self.negatives),
            ],
            collisions: (self.total > 1).then_some(Collisions { batch, expected_rows }),
            findings: self.findings.sorted(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_of_a_free_batch_is_that_of_drawing_without_putting_back() {
        assert_eq!(free_chance(10, 10, 1), 0.0, "the whole file holds every other row");
        assert_eq!(free_chance(10, 4, 0), 1.0);
        // 9 others, 3 drawn, 2 to avoid: C(7, 3) / C(9, 3) = 35 / 84.
        assert!((free_chance(10, 4, 2) - 35.0 / 84.0).abs() < 1e-12);
    }
}
