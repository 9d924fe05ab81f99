//! Who belongs to whom: graded judgements and given negatives, as compressed rows per anchor.

use std::path::Path;

use crate::{Error, Result};

/// Graded judgements per anchor; the documents of an anchor are sorted by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgements {
    /// `[anchors + 1]`
    starts: Vec<u64>,
    items: Vec<u32>,
    grades: Vec<i32>,
}

impl Judgements {
    /// How many anchors there are, those without judgements included.
    pub fn anchors(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// How many judgements there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Documents and grades of an anchor, sorted by document; empty for a number out of range.
    pub fn of(&self, anchor: u32) -> (&[u32], &[i32]) {
        let range = row(&self.starts, anchor);
        (&self.items[range.clone()], &self.grades[range])
    }

    /// The documents of an anchor whose grade is at least `level`, in order of their numbers.
    pub fn positives(&self, anchor: u32, level: i32) -> impl Iterator<Item = u32> + '_ {
        let (items, grades) = self.of(anchor);
        items.iter().zip(grades).filter(move |&(_, &g)| g >= level).map(|(&i, _)| i)
    }

    /// The grade of a document for an anchor; `None` where it is not judged.
    pub fn grade(&self, anchor: u32, item: u32) -> Option<i32> {
        let (items, grades) = self.of(anchor);
        items.binary_search(&item).ok().and_then(|i| grades.get(i)).copied()
    }

    /// Keeps the judgements of which `keep` (anchor, document) is true.
    pub(crate) fn retain(&mut self, keep: impl Fn(u32, u32) -> bool) {
        let (mut starts, mut items, mut grades) = (vec![0], Vec::new(), Vec::new());
        for anchor in 0..self.anchors() as u32 {
            let (own, graded) = self.of(anchor);
            for (&item, &grade) in own.iter().zip(graded).filter(|(i, _)| keep(anchor, **i)) {
                items.push(item);
                grades.push(grade);
            }
            starts.push(items.len() as u64);
        }
        *self = Self { starts, items, grades };
    }

    pub(crate) fn parts(&self) -> (&[u64], &[u32], &[i32]) {
        (&self.starts, &self.items, &self.grades)
    }

    /// From stored parts; `None` when they do not fit together.
    pub(crate) fn from_parts(starts: Vec<u64>, items: Vec<u32>, grades: Vec<i32>) -> Option<Self> {
        let fits = fits(&starts, items.len()) && grades.len() == items.len();
        fits.then_some(Self { starts, items, grades })
    }
}

/// Negatives that the data already holds, per anchor, in the file's order (best first where it was mined).
#[derive(Debug, Clone)]
pub struct Given {
    /// `[anchors + 1]`
    starts: Vec<u64>,
    items: Vec<u32>,
    scores: Vec<f32>,
}

impl Given {
    /// Documents and scores (NaN where there is none) of an anchor's given negatives.
    pub fn of(&self, anchor: u32) -> (&[u32], &[f32]) {
        let range = row(&self.starts, anchor);
        (&self.items[range.clone()], &self.scores[range])
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// From (anchor, document, score) in file order; a document that an anchor names again keeps its first place.
    pub(crate) fn new(anchors: usize, list: &[(u32, u32, f32)]) -> Self {
        let mut order: Vec<usize> = (0..list.len()).collect();
        order.sort_by_key(|&i| (list[i].0, list[i].1, i));
        order.dedup_by_key(|&mut i| (list[i].0, list[i].1));
        order.sort_by_key(|&i| (list[i].0, i));
        let starts = starts(anchors, order.iter().map(|&i| list[i].0));
        let items = order.iter().map(|&i| list[i].1).collect();
        let scores = order.iter().map(|&i| list[i].2).collect();
        Self { starts, items, scores }
    }

    pub(crate) fn parts(&self) -> (&[u64], &[u32], &[f32]) {
        (&self.starts, &self.items, &self.scores)
    }

    /// From stored parts; `None` when they do not fit together.
    pub(crate) fn from_parts(starts: Vec<u64>, items: Vec<u32>, scores: Vec<f32>) -> Option<Self> {
        let fits = fits(&starts, items.len()) && scores.len() == items.len();
        fits.then_some(Self { starts, items, scores })
    }
}

fn row(starts: &[u64], anchor: u32) -> std::ops::Range<usize> {
    let i = anchor as usize;
    match (starts.get(i), starts.get(i + 1)) {
        (Some(&a), Some(&b)) => a as usize..b as usize,
        _ => 0..0,
    }
}

fn fits(starts: &[u64], length: usize) -> bool {
    starts.first() == Some(&0) && starts.is_sorted() && starts.last() == Some(&(length as u64))
}

/// Row begins from a sorted list of row numbers.
fn starts(rows: usize, sorted: impl Iterator<Item = u32>) -> Vec<u64> {
    let mut starts = vec![0u64; rows + 1];
    for row in sorted {
        starts[row as usize + 1] += 1;
    }
    for i in 1..starts.len() {
        starts[i] += starts[i - 1];
    }
    starts
}

/// A judgement with the line that says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    pub(crate) anchor: u32,
    pub(crate) item: u32,
    pub(crate) grade: i32,
    /// Saturated: a qrels file of more than 4 billion lines names the last line it can.
    pub(crate) line: u32,
    /// Number of the file.
    pub(crate) file: u32,
}

/// Two lines that judge the same pair differently.
pub(crate) struct Conflict {
    pub(crate) first: Judged,
    pub(crate) second: Judged,
}

impl Conflict {
    pub(crate) fn error(&self, files: &[impl AsRef<Path>], anchor: &str, item: &str) -> Error {
        let Some(path) = files.get(self.second.file as usize).map(AsRef::as_ref) else {
            return Error::usage(format!("`{anchor}` and `{item}` are judged twice"), "");
        };
        let whence = if self.first.file == self.second.file {
            format!("line {}", self.first.line)
        } else {
            let other = files.get(self.first.file as usize).map(|f| f.as_ref().display().to_string());
            format!("{}:{}", other.unwrap_or_default(), self.first.line)
        };
        Error::input(
            path,
            u64::from(self.second.line),
            format!(
                "`{anchor}` and `{item}` are judged {} here and {} in {whence}",
                self.second.grade, self.first.grade
            ),
            "keep one of the two judgements",
        )
    }
}

/// Builds the rows. Repeats of a judgement are left out and counted; `conflict` decides what a contradiction does (the
/// first of the two lines is kept).
pub(crate) fn gather(
    anchors: usize,
    mut list: Vec<Judged>,
    mut conflict: impl FnMut(Conflict) -> Result<()>,
) -> Result<(Judgements, u64)> {
    list.sort_unstable_by_key(|j| (j.anchor, j.item, j.file, j.line));
    let mut repeats = 0;
    let mut failed = Ok(());
    list.dedup_by(|later, kept| {
        if (later.anchor, later.item) != (kept.anchor, kept.item) {
            return false;
        }
        if later.grade == kept.grade {
            repeats += 1;
        } else if failed.is_ok() {
            failed = conflict(Conflict { first: *kept, second: *later });
        }
        true
    });
    failed?;
    let starts = starts(anchors, list.iter().map(|j| j.anchor));
    let items = list.iter().map(|j| j.item).collect();
    let grades = list.iter().map(|j| j.grade).collect();
    Ok((Judgements { starts, items, grades }, repeats))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(anchor: u32, item: u32, grade: i32, line: u32) -> Judged {
        Judged { anchor, item, grade, line, file: 0 }
    }

    #[test]
    fn rows_are_sorted_and_repeats_counted() {
        let list = vec![judged(2, 9, 1, 1), judged(0, 5, 2, 2), judged(0, 3, 0, 3), judged(0, 5, 2, 4)];
        let (rows, repeats) = gather(3, list, |_| panic!("no conflict here")).unwrap();
        assert_eq!(repeats, 1);
        assert_eq!(rows.of(0), (&[3, 5][..], &[0, 2][..]));
        assert_eq!(rows.of(1), (&[][..], &[][..]));
        assert_eq!(rows.positives(0, 1).collect::<Vec<_>>(), [5]);
        assert_eq!((rows.grade(2, 9), rows.grade(2, 8), rows.grade(7, 8)), (Some(1), None, None));
    }

    #[test]
    fn what_is_not_kept_is_gone() {
        let list = vec![judged(0, 5, 2, 1), judged(0, 6, 1, 2), judged(2, 5, 1, 3)];
        let (mut rows, _) = gather(3, list, |_| panic!("no conflict here")).unwrap();
        rows.retain(|a, i| (a, i) != (0, 5));
        assert_eq!((rows.of(0).0, rows.of(2).0, rows.len()), (&[6][..], &[5][..], 2));
    }

    #[test]
    fn a_contradiction_names_both_lines() {
        let list = vec![judged(0, 5, 2, 7), judged(0, 5, 1, 4)];
        let error = gather(1, list, |c| Err(c.error(&[Path::new("q.tsv")], "q1", "d5"))).unwrap_err();
        assert_eq!(error.to_string(), "q.tsv:7: `q1` and `d5` are judged 2 here and 1 in line 4");
    }

    #[test]
    fn given_negatives_keep_the_files_order() {
        let given = Given::new(2, &[(1, 9, 0.5), (1, 2, 0.25), (1, 9, 0.1)]);
        assert_eq!(given.of(1), (&[9, 2][..], &[0.5, 0.25][..]));
        assert_eq!(given.of(0).0.len(), 0);
    }
}
