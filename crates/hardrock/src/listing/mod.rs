//! Documents listed by query, each with a value: relevance judgements ([`Qrels`]) and retrieval runs ([`Run`]).
//!
//! Ids are strings, compared as bytes, kept once; a row costs 8 or 16 bytes. Queries stand in order of first appearance,
//! the documents of a query in file order.

mod write;

use std::fmt;

use crate::read::Ids;

pub use write::{RunWriter, write_run};

/// Relevance judgements: grades by query and document. Negative = in the pool, but neither relevant nor not.
pub type Qrels = Listing<i32>;

/// A retrieval run: scores by query and document, higher is better.
pub type Run = Listing<f64>;

/// Documents by query, each with a value; no query lists a document twice.
pub struct Listing<V> {
    queries: Ids,
    docs: Ids,
    /// Where each query's rows begin, `[queries + 1]`.
    starts: Vec<usize>,
    /// Number of the document and its value, query by query.
    rows: Vec<(u32, V)>,
}

/// A document that stands twice in one query's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The query's id.
    pub query: String,
    /// The document's id.
    pub doc: String,
}

/// Takes rows one by one; queries may come in any order and in pieces.
pub struct ListingBuilder<V> {
    queries: Ids,
    docs: Ids,
    rows: Vec<(u32, V)>,
    /// Pieces of rows of one query that stand together: query, first row.
    pieces: Vec<(u32, usize)>,
    /// For each document, one more than the piece that last named it.
    last_piece: Vec<usize>,
}

impl<V: Copy> Listing<V> {
    /// Number of queries.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether there is no query.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// Number of rows of all queries.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Ids of the queries, in order of first appearance.
    pub fn queries(&self) -> &Ids {
        &self.queries
    }

    /// Ids of the documents that any query lists, in order of first appearance.
    pub fn docs(&self) -> &Ids {
        &self.docs
    }

    /// Rows of a query by its number, as (number of the document, value) in file order; empty out of range.
    pub fn numbered(&self, query: u32) -> &[(u32, V)] {
        let query = query as usize;
        match (self.starts.get(query), self.starts.get(query + 1)) {
            (Some(&start), Some(&end)) => self.rows.get(start..end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Rows of a query as (document, value) in file order; empty for an unknown query.
    pub fn of(&self, query: &str) -> impl ExactSizeIterator<Item = (&str, V)> {
        self.named(self.queries.find(query).unwrap_or(u32::MAX))
    }

    /// Every query with its rows, as [`of`](Self::of) gives them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, impl ExactSizeIterator<Item = (&str, V)>)> {
        (0..self.len() as u32).map(|number| (self.queries.get(number), self.named(number)))
    }

    fn named(&self, query: u32) -> impl ExactSizeIterator<Item = (&str, V)> {
        self.numbered(query).iter().map(|&(doc, value)| (self.docs.get(doc), value))
    }

    /// The listing of (query, document, value) rows.
    ///
    /// # Errors
    /// A query lists a document twice.
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = (&'a str, &'a str, V)>) -> Result<Self, Duplicate> {
        let mut builder = ListingBuilder::default();
        for (query, doc, value) in rows {
            builder.push(query, doc, value)?;
        }
        builder.finish()
    }

    /// The same rows with other values.
    pub(crate) fn map(mut self, value: impl Fn(V) -> V) -> Self {
        self.rows.iter_mut().for_each(|row| row.1 = value(row.1));
        self
    }
}

impl<V> fmt::Debug for Listing<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Listing({} queries, {} documents, {} rows)",
            self.queries.len(),
            self.docs.len(),
            self.rows.len()
        )
    }
}

impl<V> Default for ListingBuilder<V> {
    fn default() -> Self {
        Self {
            queries: Ids::new(),
            docs: Ids::new(),
            rows: Vec::new(),
            pieces: Vec::new(),
            last_piece: Vec::new(),
        }
    }
}

impl<V: Copy> ListingBuilder<V> {
    /// Adds a row.
    ///
    /// # Errors
    /// The row before it or another of the same piece lists the document for this query. A repetition in a later piece
    /// is found by [`finish`](Self::finish).
    pub fn push(&mut self, query: &str, doc: &str, value: V) -> Result<(), Duplicate> {
        let query = match self.pieces.last() {
            Some(&(last, _)) if self.queries.get(last) == query => last,
            _ => {
                let (number, _) = self.queries.intern(query);
                self.pieces.push((number, self.rows.len()));
                number
            }
        };
        let (doc, new) = self.docs.intern(doc);
        if new {
            self.last_piece.push(0);
        }
        let piece = self.pieces.len();
        match self.last_piece.get_mut(doc as usize) {
            Some(last) if *last == piece => return Err(self.duplicate(query, doc)),
            Some(last) => *last = piece,
            None => {}
        }
        self.rows.push((doc, value));
        Ok(())
    }

    /// The listing.
    ///
    /// # Errors
    /// A query whose rows came in pieces lists a document twice.
    pub fn finish(mut self) -> Result<Listing<V>, Duplicate> {
        let mut starts: Vec<usize> = self.pieces.iter().map(|piece| piece.1).collect();
        starts.push(self.rows.len());
        if self.pieces.len() > self.queries.len() {
            starts = self.gather(&starts)?;
        }
        Ok(Listing { queries: self.queries, docs: self.docs, starts, rows: self.rows })
    }

    /// Brings the pieces of each query together, in file order; `bounds` = where the pieces begin, and the end.
    fn gather(&mut self, bounds: &[usize]) -> Result<Vec<usize>, Duplicate> {
        let mut order: Vec<(u32, usize)> = self.pieces.iter().zip(0..).map(|(p, i)| (p.0, i)).collect();
        order.sort_unstable();
        self.last_piece.fill(0);
        let mut rows = Vec::with_capacity(self.rows.len());
        let mut starts = Vec::with_capacity(self.queries.len() + 1);
        for pieces in order.chunk_by(|a, b| a.0 == b.0) {
            starts.push(rows.len());
            for &(query, piece) in pieces {
                for &(doc, value) in &self.rows[bounds[piece]..bounds[piece + 1]] {
                    if std::mem::replace(&mut self.last_piece[doc as usize], starts.len()) == starts.len() {
                        return Err(self.duplicate(query, doc));
                    }
                    rows.push((doc, value));
                }
            }
        }
        starts.push(rows.len());
        self.rows = rows;
        Ok(starts)
    }

    fn duplicate(&self, query: u32, doc: u32) -> Duplicate {
        Duplicate { query: self.queries.get(query).to_owned(), doc: self.docs.get(doc).to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_in_pieces_come_together_in_file_order() {
        let run =
            Run::from_rows([("q2", "b", 3.0), ("q1", "b", 2.0), ("q2", "a", 1.0), ("q1", "c", 0.5)]).unwrap();
        assert_eq!(run.queries().iter().collect::<Vec<_>>(), ["q2", "q1"]);
        assert_eq!(run.of("q2").collect::<Vec<_>>(), [("b", 3.0), ("a", 1.0)]);
        assert_eq!(run.of("q1").collect::<Vec<_>>(), [("b", 2.0), ("c", 0.5)]);
        assert_eq!(run.of("q3").len(), 0);
        assert_eq!((run.len(), run.rows(), run.docs().len()), (2, 4, 3));
    }

    #[test]
    fn a_document_twice_in_a_query_is_refused_in_one_piece_or_two() {
        let twice = Duplicate { query: "q".into(), doc: "a".into() };
        assert_eq!(Qrels::from_rows([("q", "a", 1), ("q", "b", 1), ("q", "a", 1)]).unwrap_err(), twice);
        assert_eq!(Qrels::from_rows([("q", "a", 1), ("p", "a", 1), ("q", "a", 2)]).unwrap_err(), twice);
        assert!(Qrels::from_rows([("q", "a", 1), ("p", "a", 1), ("q", "b", 2), ("p", "b", 2)]).is_ok());
    }
}
