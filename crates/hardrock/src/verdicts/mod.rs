//! Verdicts: what a judge found about pairs of anchor and document, kept beside the run.
//!
//! [`Store`] keeps them in one SQLite file that several writers may share; [`files`] reads and writes JSON lines, qrels and
//! annotation records; [`queue`] says which pair to judge next; [`judges`] are those that answer without a person.

pub mod files;
pub mod judges;
pub mod plan;
pub mod queue;
mod store;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};
pub use store::Store;

/// What a judge says of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It answers the anchor: as a negative it would be false.
    Relevant,
    /// It does not.
    Not,
    /// The judge cannot tell. It counts as false in a promise and is not learned from.
    Unsure,
}

impl Answer {
    /// The answer as it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relevant => "relevant",
            Self::Not => "not",
            Self::Unsure => "unsure",
        }
    }

    /// The answer of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Relevant, Self::Not, Self::Unsure].into_iter().find(|a| a.name() == name)
    }
}

/// One verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The anchor's id.
    pub query_id: String,
    /// The document's id.
    pub doc_id: String,
    /// What was found.
    pub answer: Answer,
    /// Who found it: a person's name, `qrels:FILE`, `llm:MODEL`.
    #[serde(default)]
    pub judge: String,
    /// When, in seconds since 1970.
    #[serde(default)]
    pub at: u64,
    /// Probability with which the pair was drawn; none where it was not drawn at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<f64>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Where the store of a run lies: `OUT.verdicts.sqlite`.
pub fn beside(mined: &Path) -> PathBuf {
    let mut name = mined.as_os_str().to_owned();
    name.push(".verdicts.sqlite");
    PathBuf::from(name)
}

/// True for a store, false for a text file.
pub fn is_store(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "sqlite" || e == "db")
}

/// The last verdict on each pair of a store or a text file, in the order of the pairs.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    if !path.is_file() {
        return Err(Error::io("read", path)(std::io::ErrorKind::NotFound.into()));
    }
    if is_store(path) { Store::open(path)?.latest() } else { Ok(files::latest(files::read(path)?)) }
}

/// A hash of everything that a file of verdicts says, the plans of a store included.
pub fn fingerprint(path: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let text = |value: serde_json::Result<String>| value.map_err(|e| Error::usage(e.to_string(), ""));
    hasher.update(text(serde_json::to_string(&read(path)?))?.as_bytes());
    if is_store(path) {
        hasher.update(text(serde_json::to_string(&Store::open(path)?.plans()?))?.as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_secs())
}

/// How often two judges, or one judge twice, agreed on a pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Agreement {
    /// Pairs that were judged at least twice.
    pub pairs: u64,
    /// Pairs on which the first two verdicts differ.
    pub disagreed: u64,
}

impl Agreement {
    /// From all verdicts in the order in which they were given.
    pub fn of(all: &[Record]) -> Self {
        let mut by_pair = std::collections::BTreeMap::<(&str, &str), Vec<Answer>>::new();
        for r in all {
            by_pair.entry((&r.query_id, &r.doc_id)).or_default().push(r.answer);
        }
        let mut out = Self::default();
        for answers in by_pair.values() {
            if let [a, b, ..] = answers.as_slice() {
                out.pairs += 1;
                out.disagreed += u64::from(a != b);
            }
        }
        out
    }

    /// Share of single verdicts that are wrong, if errors of the two are independent: `2 e (1 - e)` pairs disagree. `None`
    /// below 20 pairs, where it says nothing.
    pub fn error(&self) -> Option<f64> {
        let share = self.disagreed as f64 / self.pairs as f64;
        (self.pairs >= 20).then(|| 0.5 * (1.0 - (1.0 - 2.0 * share).max(0.0).sqrt()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn record(query: &str, doc: &str, answer: Answer) -> Record {
        let (query_id, doc_id, judge) = (query.into(), doc.into(), "me".into());
        Record { query_id, doc_id, answer, judge, at: 7, drawn: None, note: None }
    }

    #[test]
    fn disagreement_on_pairs_gives_the_error_of_one_verdict() {
        let mut all = Vec::new();
        for i in 0..100 {
            all.push(record("q", &i.to_string(), Answer::Not));
            all.push(record("q", &i.to_string(), if i < 18 { Answer::Relevant } else { Answer::Not }));
        }
        let agreement = Agreement::of(&all);
        assert_eq!((agreement.pairs, agreement.disagreed), (100, 18));
        // 2 · .1 · .9 = .18
        assert!((agreement.error().unwrap() - 0.1).abs() < 1e-9);
        assert_eq!(Agreement::of(&all[..20]).error(), None);
    }

    #[test]
    fn the_fingerprint_changes_with_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.sqlite");
        let store = Store::open(&path).unwrap();
        store.add(&record("q", "d", Answer::Not)).unwrap();
        let before = fingerprint(&path).unwrap();
        assert_eq!(before, fingerprint(&path).unwrap());
        store.add(&record("q", "d", Answer::Relevant)).unwrap();
        assert_ne!(before, fingerprint(&path).unwrap());
    }
}
