//! The corpus as terms: for each document its `(term, count)` pairs in the order of the term ids.
//!
//! Everything lexical reads this one index: BM25 turns it round, tf-idf compares its rows. Term ids follow the
//! first occurrence in document order, whatever the number of threads: texts are tokenised in parallel batches with a
//! vocabulary of their own, and the batches' vocabularies are joined one after another.

use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use super::forward_build::scan;
use super::forward_file::{FileRows, POSTING, RowWriter};
use super::{IndexError, Result, Terms, Texts, Tokenizer, Watch};

/// Documents per batch: enough to pay for a batch's own vocabulary, few enough to keep it in cache.
pub(super) const BATCH: usize = 4096;

/// Terms and counts per document, in memory or in a file.
#[derive(Debug)]
pub struct Forward {
    pub(super) tokenizer: Tokenizer,
    pub(super) terms: Terms,
    pub(super) tally: Tally,
    rows: Store,
}

/// What is kept in memory wherever the rows are.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// `[documents + 1]` offsets of the rows, in postings.
    pub(super) starts: Vec<u64>,
    /// `[documents]` number of tokens, repeats included.
    pub(super) lens: Vec<u32>,
    /// `[terms]` number of documents that hold the term.
    pub(super) df: Vec<u32>,
}

#[derive(Debug)]
enum Store {
    Memory(Held),
    File(FileRows),
}

/// All rows one after another.
#[derive(Debug, Default)]
struct Held {
    terms: Vec<u32>,
    counts: Vec<u16>,
}

impl Held {
    fn with_capacity(postings: usize) -> Self {
        Self { terms: Vec::with_capacity(postings), counts: Vec::with_capacity(postings) }
    }
}

/// Room for rows that come from a file; reuse it between calls.
#[derive(Debug, Default)]
pub struct RowBuffer {
    pub(super) bytes: Vec<u8>,
    pub(super) terms: Vec<u32>,
    pub(super) counts: Vec<u16>,
}

/// One document as terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// Distinct term ids, ascending.
    pub terms: &'a [u32],
    /// How often each occurs; a count above 65,535 is kept as 65,535.
    pub counts: &'a [u16],
    /// Number of tokens, repeats included.
    pub len: u32,
}

/// The rows of neighbouring documents.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    starts: &'a [u64],
    lens: &'a [u32],
    terms: &'a [u32],
    counts: &'a [u16],
}

impl<'a> Rows<'a> {
    /// The rows in document order.
    pub fn iter(&self) -> impl Iterator<Item = Row<'a>> + use<'a> {
        let Self { starts, lens, terms, counts } = *self;
        let base = starts.first().copied().unwrap_or(0);
        starts.windows(2).zip(lens).map(move |(ends, &len)| {
            let range = (ends[0] - base) as usize..(ends[1] - base) as usize;
            Row { terms: &terms[range.clone()], counts: &counts[range], len }
        })
    }
}

/// Known terms of a query with their multiplicity, by ascending term id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryTerms(Vec<(u32, u32)>);

impl QueryTerms {
    /// `(term, count)` by ascending term.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.0.iter().copied()
    }

    /// Number of distinct known terms.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the corpus knows none of the query's terms.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn from_ids(ids: &mut [u32]) -> Self {
        ids.sort_unstable();
        Self(ids.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u32)).collect())
    }
}

impl Forward {
    /// Reads all texts once and keeps the rows in memory: 6 bytes per distinct term of each document, 12 per document, and
    /// the vocabulary.
    ///
    /// # Errors
    /// Those of the texts, `Cancelled`, or more than 2^32 - 1 documents or terms.
    pub fn build(texts: &dyn Texts, tokenizer: Tokenizer, watch: &Watch<'_>) -> Result<Self> {
        let mut held = Held::default();
        let (terms, tally) = scan(texts, &tokenizer, watch, |part| {
            held.terms.extend_from_slice(&part.terms);
            held.counts.extend_from_slice(&part.counts);
            Ok(())
        })?;
        Ok(Self { tokenizer, terms, tally, rows: Store::Memory(held) })
    }

    /// As [`Forward::build`], but the rows go to the file `path` as they are made; in memory stay 12 bytes per document and
    /// the vocabulary. The file is whole only when this returns: build under a temporary name, then rename.
    ///
    /// # Errors
    /// As [`Forward::build`], and when the file cannot be written.
    pub fn build_in_file(
        texts: &dyn Texts,
        tokenizer: Tokenizer,
        path: &Path,
        watch: &Watch<'_>,
    ) -> Result<Self> {
        let io = |source| IndexError::Io { path: path.to_owned(), source };
        let file = std::fs::File::create(path).map_err(io)?;
        let mut out = RowWriter::new(std::io::BufWriter::with_capacity(1 << 20, file)).map_err(io)?;
        let (terms, tally) =
            scan(texts, &tokenizer, watch, |part| out.rows(&part.terms, &part.counts).map_err(io))?;
        out.finish(&tokenizer, &terms, &tally)
            .and_then(|out| out.into_inner().map_err(std::io::IntoInnerError::into_error))
            .and_then(|file| file.sync_all())
            .map_err(io)?;
        let rows = Store::File(FileRows::new(path)?);
        Ok(Self { tokenizer, terms, tally, rows })
    }

    /// Writes the whole index; [`Forward::open`] reads it again.
    ///
    /// # Errors
    /// When the rows cannot be read or `out` cannot be written.
    pub fn write(&self, out: impl std::io::Write) -> Result<()> {
        let mut out = RowWriter::new(out).map_err(IndexError::Write)?;
        let mut buffer = RowBuffer::default();
        let mut from = 0;
        while from < self.len() {
            let to = (from + BATCH).min(self.len());
            let rows = self.rows(from..to, &mut buffer)?;
            out.rows(rows.terms, rows.counts).map_err(IndexError::Write)?;
            from = to;
        }
        let mut out = out.finish(&self.tokenizer, &self.terms, &self.tally).map_err(IndexError::Write)?;
        out.flush().map_err(IndexError::Write)
    }

    /// Opens a written index. Rows that take at most `room` bytes (6 a posting) come into memory; else they stay in the file
    /// and are read where they are needed, at about a microsecond each.
    ///
    /// # Errors
    /// When the file cannot be read, is cut short or damaged, or was made with other token options.
    pub fn open(path: &Path, tokenizer: Tokenizer, room: u64) -> Result<Self> {
        let (file, terms, tally) = super::forward_file::open(path, &tokenizer)?;
        let mut index = Self { tokenizer, terms, tally, rows: Store::File(file) };
        if index.postings().saturating_mul(POSTING) <= room {
            let mut held = Held::with_capacity(index.postings() as usize);
            let mut buffer = RowBuffer::default();
            for batch in batches(0..index.len(), BATCH) {
                let rows = index.rows(batch, &mut buffer)?;
                held.terms.extend_from_slice(rows.terms);
                held.counts.extend_from_slice(rows.counts);
            }
            index.rows = Store::Memory(held);
        }
        Ok(index)
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.tally.lens.len()
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.tally.lens.is_empty()
    }

    /// The vocabulary.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What made the terms, and makes those of the queries.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Number of `(document, term)` pairs.
    pub fn postings(&self) -> u64 {
        self.tally.starts.last().copied().unwrap_or(0)
    }

    /// `[terms]` number of documents that hold each term.
    pub fn document_frequencies(&self) -> &[u32] {
        &self.tally.df
    }

    /// `[documents]` number of tokens of each document.
    pub fn lengths(&self) -> &[u32] {
        &self.tally.lens
    }

    /// Mean number of tokens; 0 without documents.
    pub fn mean_length(&self) -> f64 {
        let total: u64 = self.tally.lens.iter().map(|&l| u64::from(l)).sum();
        if self.is_empty() { 0.0 } else { total as f64 / self.len() as f64 }
    }

    /// The rows of `docs`; rows in a file are read into `buffer`.
    ///
    /// # Errors
    /// `docs` outside the corpus, or the file cannot be read or is damaged.
    pub fn rows<'a>(&'a self, docs: Range<usize>, buffer: &'a mut RowBuffer) -> Result<Rows<'a>> {
        if docs.end > self.len() || docs.start > docs.end {
            return Err(IndexError::NoSuchDocument { id: docs.end.max(docs.start), len: self.len() });
        }
        let starts = &self.tally.starts[docs.start..=docs.end];
        let lens = &self.tally.lens[docs.clone()];
        let postings = self.tally.starts[docs.start]..self.tally.starts[docs.end];
        let (terms, counts) = match &self.rows {
            Store::Memory(held) => {
                let range = postings.start as usize..postings.end as usize;
                (&held.terms[range.clone()], &held.counts[range])
            }
            Store::File(file) => {
                file.read(postings, self.terms.len(), buffer)?;
                (buffer.terms.as_slice(), buffer.counts.as_slice())
            }
        };
        Ok(Rows { starts, lens, terms, counts })
    }

    /// Calls `f(document, row)` for each document of `docs` in order, with at most a batch of rows in memory.
    ///
    /// # Errors
    /// As [`Forward::rows`].
    pub fn each_row(
        &self,
        docs: Range<usize>,
        buffer: &mut RowBuffer,
        mut f: impl FnMut(usize, Row<'_>),
    ) -> Result<()> {
        for batch in batches(docs, BATCH) {
            for (doc, row) in batch.clone().zip(self.rows(batch, buffer)?.iter()) {
                f(doc, row);
            }
        }
        Ok(())
    }

    /// The row of one document.
    ///
    /// # Errors
    /// As [`Forward::rows`].
    pub fn row<'a>(&'a self, doc: u32, buffer: &'a mut RowBuffer) -> Result<Row<'a>> {
        let doc = doc as usize;
        let Rows { lens, terms, counts, .. } = self.rows(doc..doc + 1, buffer)?;
        Ok(Row { terms, counts, len: lens.first().copied().unwrap_or(0) })
    }

    /// The known terms of a text that need not be in the corpus.
    pub fn query(&self, text: &str) -> QueryTerms {
        let mut ids = Vec::new();
        self.tokenizer.tokens(text, |term| ids.extend(self.terms.get(term)));
        QueryTerms::from_ids(&mut ids)
    }

    /// The known terms of each text of `range`, in parallel.
    ///
    /// # Errors
    /// Those of the texts, or `Cancelled`.
    pub fn queries(
        &self,
        texts: &dyn Texts,
        range: Range<usize>,
        watch: &Watch<'_>,
    ) -> Result<Vec<QueryTerms>> {
        let parts: Vec<Vec<QueryTerms>> = batches(range, 256)
            .into_par_iter()
            .map(|part| {
                watch.check()?;
                let mut found = Vec::with_capacity(part.len());
                texts.for_each(part, &mut |_, text| found.push(self.query(text)))?;
                Ok(found)
            })
            .collect::<Result<_>>()?;
        Ok(parts.into_iter().flatten().collect())
    }
}

/// `range` cut into pieces of `size`.
pub(super) fn batches(range: Range<usize>, size: usize) -> Vec<Range<usize>> {
    range.clone().step_by(size).map(|from| from..(from + size).min(range.end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::TokenOptions;
    use proptest::prelude::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::new(TokenOptions::plain()).unwrap()
    }

    fn built(texts: &[&str]) -> Forward {
        Forward::build(&texts, tokenizer(), &Watch::default()).unwrap()
    }

    fn same(a: &Forward, b: &Forward) {
        assert_eq!(a.terms.iter().collect::<Vec<_>>(), b.terms.iter().collect::<Vec<_>>());
        assert_eq!(a.lengths(), b.lengths());
        assert_eq!(a.document_frequencies(), b.document_frequencies());
        let (mut x, mut y) = (RowBuffer::default(), RowBuffer::default());
        for doc in 0..a.len() as u32 {
            assert_eq!(a.row(doc, &mut x).unwrap(), b.row(doc, &mut y).unwrap());
        }
    }

    #[test]
    fn rows_hold_sorted_terms_with_counts() {
        let index = built(&["b a b", "", "c a"]);
        let mut buffer = RowBuffer::default();
        assert_eq!(index.row(0, &mut buffer).unwrap(), Row { terms: &[0, 1], counts: &[2, 1], len: 3 });
        assert_eq!(index.row(1, &mut buffer).unwrap(), Row { terms: &[], counts: &[], len: 0 });
        assert_eq!(index.row(2, &mut buffer).unwrap(), Row { terms: &[1, 2], counts: &[1, 1], len: 2 });
        assert_eq!(index.document_frequencies(), [1, 2, 1]);
        assert_eq!(index.postings(), 4);
        assert!(matches!(index.row(3, &mut buffer), Err(IndexError::NoSuchDocument { .. })));
    }

    #[test]
    fn a_query_counts_repeats_and_skips_unknown_terms() {
        let index = built(&["b a b", "c a"]);
        assert_eq!(index.query("C b x c").iter().collect::<Vec<_>>(), [(0, 1), (2, 2)]);
        assert!(index.query("nothing here").is_empty());
    }

    #[test]
    fn threads_change_nothing() {
        let texts: Vec<String> =
            (0..20_000u32).map(|i| format!("w{} w{} common w{}", i * 7919 % 977, i % 31, i / 100)).collect();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Forward::build(&texts, tokenizer(), &Watch::default()).unwrap())
        };
        same(&with(1), &with(3));
    }

    #[test]
    fn a_set_flag_stops_the_build() {
        let flag = std::sync::atomic::AtomicBool::new(true);
        let watch = Watch { cancel: Some(&flag), progress: None };
        let texts = vec!["a"];
        assert!(matches!(Forward::build(&texts, tokenizer(), &watch), Err(IndexError::Cancelled)));
    }

    #[test]
    fn counts_saturate_instead_of_wrapping() {
        let text = "a ".repeat(70_000);
        let index = built(&[text.as_str()]);
        let mut buffer = RowBuffer::default();
        assert_eq!(index.row(0, &mut buffer).unwrap(), Row { terms: &[0], counts: &[65_535], len: 70_000 });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn file_and_memory_hold_the_same(texts in proptest::collection::vec("[a-e ]{0,12}", 0..40)) {
            let dir = tempfile::tempdir().unwrap();
            let memory = Forward::build(&texts, tokenizer(), &Watch::default()).unwrap();
            let streamed =
                Forward::build_in_file(&texts, tokenizer(), &dir.path().join("a"), &Watch::default()).unwrap();
            memory.write(std::fs::File::create(dir.path().join("b")).unwrap()).unwrap();
            same(&memory, &streamed);
            let needed = memory.postings() * POSTING;
            for (room, held) in [(needed, true), (needed.saturating_sub(1), needed == 0)] {
                let opened = Forward::open(&dir.path().join("b"), tokenizer(), room).unwrap();
                prop_assert_eq!(matches!(opened.rows, Store::Memory(_)), held);
                same(&memory, &opened);
            }
            prop_assert!(std::fs::read(dir.path().join("a")).unwrap() == std::fs::read(dir.path().join("b")).unwrap());
        }
    }
}
