//! The answer of every search: ragged rows of items with scores.

/// Rows of `(item, score)`, best first, ties by lower item. Row `q` is `starts[q]..starts[q + 1]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Neighbours {
    /// `[rows + 1]` offsets into `items` and `scores`; the first is 0.
    pub starts: Vec<usize>,
    /// Dense ids of the found items.
    pub items: Vec<u32>,
    /// Score of each item, in the units of the search that made it.
    pub scores: Vec<f32>,
}

impl Neighbours {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the rows.
    #[must_use]
    pub fn rows(&self, range: std::ops::Range<usize>) -> Self {
        let mut out = Self { starts: vec![0], ..Self::default() };
        for row in range {
            let (items, scores) = self.row(row);
            out.items.extend_from_slice(items);
            out.scores.extend_from_slice(scores);
            out.starts.push(out.items.len());
        }
        out
    }

    /// Items and scores of row `row`; empty when there is no such row.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        match (self.starts.get(row), self.starts.get(row + 1)) {
            (Some(&from), Some(&to)) => (&self.items[from..to], &self.scores[from..to]),
            _ => (&[], &[]),
        }
    }
}
