//! What the readers saw and did not stop for, counted under fixed names that go into the manifest.

use std::collections::BTreeMap;

/// Text files that began with a UTF-8 byte order mark.
pub const BOM: &str = "files with a byte order mark";
/// Lines that ended in `\r\n`.
pub const CRLF: &str = "lines with Windows line ends";
/// Ids written as numbers, where other ids of the data are strings; `1` and `"1"` are one id.
pub const NUMBER_IDS: &str = "ids given as numbers beside ids given as strings";
/// Records left out by `on_bad_row = "skip"`.
pub const SKIPPED: &str = "skipped rows";
/// Qrels lines that name a document that is not in the corpus.
pub const MISSING_DOCUMENTS: &str = "judgements of missing documents";
/// Qrels lines that name a query that is not in the queries.
pub const MISSING_QUERIES: &str = "judgements of missing queries";
/// Qrels lines that say again what an earlier line says.
pub const REPEATED: &str = "repeated judgements";
/// Judgements below 0 (in TREC: seen, not judged).
pub const NEGATIVE_GRADES: &str = "judgements with a negative grade";
/// Qrels files without a header line.
pub const NO_HEADER: &str = "delimited files without a header line";
/// Queries that the qrels do not name; they are left out.
pub const UNJUDGED_QUERIES: &str = "queries without judgements";
/// Anchors none of whose judgements reaches the level.
pub const NO_POSITIVE: &str = "anchors without positives";
/// Positives of text rows that the given corpus did not hold; they were added to it.
pub const ADDED: &str = "documents added to the given corpus";

/// Counts by name.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    counts: BTreeMap<String, u64>,
    number_ids: u64,
    string_ids: u64,
}

impl Notices {
    pub(crate) fn add(&mut self, name: &str, n: u64) {
        if n > 0 {
            *self.counts.entry(name.to_owned()).or_default() += n;
        }
    }

    pub(crate) fn encoding(&mut self, bom: bool) {
        self.add(BOM, bom.into());
    }

    pub(crate) fn line_ends(&mut self, crlf: u64) {
        self.add(CRLF, crlf);
    }

    /// Adds how the ids of a file were written, in a format that tells numbers from strings.
    pub(crate) fn ids(&mut self, numbers: u64, strings: u64) {
        self.number_ids += numbers;
        self.string_ids += strings;
    }

    pub(crate) fn finish(mut self) -> BTreeMap<String, u64> {
        if self.string_ids > 0 {
            self.add(NUMBER_IDS, self.number_ids);
        }
        self.counts
    }
}
