//! What is wrong with training data before anybody trains on it: counts with the first few examples, by file and line.

mod folder;
mod training;

use std::path::Path;

use serde::Serialize;

use crate::Result;
use crate::rows::{ReadOptions, RowFormat};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Teaches the opposite of what is meant, or breaks readers; `hardrock validate` ends with 1.
    Error,
    /// Costs quality in some set-ups.
    Warning,
    /// Worth knowing.
    Note,
}

/// The kinds of findings, with name, severity and what to do.
macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal $severity:ident $mend:literal;)+) => {
        /// One kind of finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Check { $($(#[doc = $doc])+ $variant,)+ }

        impl Check {
            /// Every kind, in the order of the report.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Words for people.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }

            /// What to do about it.
            pub fn mend(self) -> &'static str {
                match self { $(Self::$variant => $mend,)+ }
            }
        }
    };
}

checks! {
    /// A negative is a positive of the same anchor, in this row or another, by id or by normalised text.
    PositiveAmongNegatives "positives among the negatives" Error "mine again with the filters `known` and `text`";
    /// A negative says what the anchor says.
    SelfNegative "negatives that are the anchor itself" Error "mine again with the filter `text`";
    /// One id stands for two different texts, or a table holds an id twice.
    DuplicateId "ids that stand twice" Error "give each record an id of its own";
    /// A text of white space only.
    EmptyText "empty texts" Error "fill them in, or remove the records";
    /// A row that has nothing to learn from.
    NoPositive "rows without a positive" Error "remove the rows, or label them";
    /// A judgement of a document that the corpus does not hold.
    MissingDocument "judgements of missing documents" Error "use the corpus that belongs to these qrels";
    /// A judgement of a query that the queries do not hold.
    MissingQuery "judgements of missing queries" Error "use the queries that belong to these qrels";
    /// Two judgements of one pair that differ.
    Contradiction "judgements that contradict each other" Error "keep one of the two";
    /// A row without negatives.
    NoNegative "rows without a negative" Warning "mine deeper, or train with in-batch negatives only";
    /// A positive says what the anchor says.
    SelfPositive "positives that are the anchor itself" Warning "nothing is learnt from them; remove them";
    /// A document carries the anchor's id.
    SelfId "documents with the anchor's id" Warning "harmless where queries and documents are numbered apart";
    /// A document stands twice in the positives, or twice in the negatives, of one row.
    RepeatedInRow "documents repeated within a row" Warning "remove the repetitions";
    /// Two ids have the same normalised text.
    DuplicateText "texts under more than one id" Warning "a duplicate of a positive makes a false negative; the filter `text` drops it";
    /// One judgement stands twice.
    RepeatedJudgement "repeated judgements" Warning "remove the repetitions";
    /// A negative of one row is the positive of a row with another anchor.
    CrossRow "rows with a negative that is another row's positive" Note "keep such rows out of one batch, or mask them";
    /// A document is the positive of several anchors.
    SharedPositive "positives of more than one anchor" Note "in one batch each is a false negative of the other; mask them";
    /// An anchor has several rows.
    RepeatedAnchor "rows whose anchor had a row before" Note "keep them out of one batch, or mask them";
    /// A query that no judgement names.
    UnjudgedQuery "queries without a judgement" Note "they are left out of mining and of evaluation";
}

/// Where and what, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// `file:line`.
    pub place: String,
    /// Ids, or the start of the text.
    pub what: String,
}

/// One kind of finding with its count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind.
    pub check: Check,
    /// How bad it is.
    pub severity: Severity,
    /// How often, at least 1.
    pub count: u64,
    /// The first few.
    pub examples: Vec<Example>,
}

/// How rows fall over each other in a batch drawn at random: a negative of one is the positive of another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Collisions {
    /// Rows in the batch: 1024, or all there are.
    pub batch: u64,
    /// Rows of the batch that are expected to hold a negative which is another row's positive.
    pub expected_rows: f64,
}

/// What was read and what was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Validation {
    /// Format of a training file; `None` = a folder in BEIR layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<RowFormat>,
    /// What was read, by name: rows, positives, negatives; documents, queries, judgements.
    pub counts: Vec<(&'static str, u64)>,
    /// Kinds that were found, in the order of [`Check::ALL`].
    pub findings: Vec<Finding>,
    /// Of training files with at least two rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collisions: Option<Collisions>,
}

impl Validation {
    /// Findings of the kind that makes the command end with 1.
    pub fn errors(&self) -> u64 {
        self.findings.iter().filter(|f| f.severity == Severity::Error).map(|f| f.count).sum()
    }
}

/// Looks through a training file of any format, or a folder in BEIR layout.
///
/// # Errors
/// A format that cannot be told; a record that cannot be read.
pub fn validate(path: &Path, format: Option<RowFormat>, options: &ReadOptions) -> Result<Validation> {
    if path.is_dir() { folder::validate(path) } else { training::validate(path, format, options) }
}

/// Collects findings.
#[derive(Default)]
struct Findings(Vec<Finding>);

/// Examples kept per kind.
const EXAMPLES: usize = 5;

impl Findings {
    fn add(&mut self, check: Check, path: &Path, line: u64, what: impl FnOnce() -> String) {
        let finding = match self.0.iter_mut().position(|f| f.check == check) {
            Some(i) => &mut self.0[i],
            None => {
                let new = Finding { check, severity: check.severity(), count: 0, examples: Vec::new() };
                self.0.push(new);
                let last = self.0.len() - 1;
                &mut self.0[last]
            }
        };
        finding.count += 1;
        if finding.examples.len() < EXAMPLES {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            finding.examples.push(Example { place: format!("{name}:{line}"), what: what() });
        }
    }

    fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|f| f.check);
        self.0
    }
}
