//! TREC run files: `qid Q0 docno rank sim tag`, one document a line.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Run;
use crate::{Error, Result};

/// Writes a run query by query.
pub struct RunWriter<W> {
    out: W,
    path: PathBuf,
    tag: String,
}

impl<W: Write> RunWriter<W> {
    /// Writes to `out`; `path` is its name in errors, `tag` the run's name (sixth column).
    ///
    /// # Errors
    /// The tag is empty or holds blanks.
    pub fn new(out: W, path: &Path, tag: &str) -> Result<Self> {
        one_word(path, "run id", tag)?;
        Ok(Self { out, path: path.to_owned(), tag: tag.to_owned() })
    }

    /// Writes a query's documents in the order given, ranks from 1. Scores are written so that reading them gives the
    /// same number; they should not rise, since readers sort by them.
    ///
    /// # Errors
    /// An id is empty or holds blanks (the format cannot hold it), a score is NaN or infinite, or the system refuses.
    pub fn write<'a, S: Display + Copy + Into<f64>>(
        &mut self,
        query: &str,
        docs: impl IntoIterator<Item = (&'a str, S)>,
    ) -> Result<()> {
        one_word(&self.path, "query id", query)?;
        for ((doc, score), rank) in docs.into_iter().zip(1_u64..) {
            one_word(&self.path, "document id", doc)?;
            if !score.into().is_finite() {
                let problem = format!("document `{doc}` of query `{query}` has the score {score}");
                return Err(Error::usage(problem, "leave out documents without a score"));
            }
            writeln!(self.out, "{query} Q0 {doc} {rank} {score} {}", self.tag)
                .map_err(Error::io("write", &self.path))?;
        }
        Ok(())
    }

    /// Writes what is buffered and gives the stream back.
    pub fn finish(mut self) -> Result<W> {
        self.out.flush().map_err(Error::io("write", &self.path))?;
        Ok(self.out)
    }
}

/// Writes a whole run: queries in its order, documents by falling score, ties by falling id as trec_eval ranks them.
///
/// # Errors
/// As [`RunWriter::write`].
pub fn write_run<W: Write>(out: W, path: &Path, run: &Run, tag: &str) -> Result<W> {
    let mut writer = RunWriter::new(out, path, tag)?;
    for (query, docs) in run.iter() {
        let mut docs: Vec<(&str, f64)> = docs.collect();
        docs.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| b.0.cmp(a.0)));
        writer.write(query, docs)?;
    }
    writer.finish()
}

fn one_word(path: &Path, what: &str, word: &str) -> Result<()> {
    if !word.is_empty() && !word.contains(|c: char| c.is_ascii_whitespace()) {
        return Ok(());
    }
    Err(Error::usage(
        format!(
            "{}: the {what} `{word}` cannot stand in a TREC run, whose columns are split at blanks",
            path.display()
        ),
        "give ids without blanks, or write Parquet",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(run: &Run) -> Result<String> {
        Ok(String::from_utf8(write_run(Vec::new(), Path::new("out.run"), run, "bm25")?).unwrap())
    }

    #[test]
    fn documents_stand_in_the_order_in_which_trec_eval_ranks_them() {
        let run =
            Run::from_rows([("q", "9", 1.5), ("q", "a", 2.0), ("q", "10", 1.5), ("p", "a", 1e-7)]).unwrap();
        let text = "q Q0 a 1 2 bm25\nq Q0 9 2 1.5 bm25\nq Q0 10 3 1.5 bm25\np Q0 a 1 0.0000001 bm25\n";
        assert_eq!(written(&run).unwrap(), text);
    }

    #[test]
    fn what_the_format_cannot_hold_is_refused() {
        let blank = written(&Run::from_rows([("q 1", "a", 1.0)]).unwrap()).unwrap_err();
        assert_eq!(
            blank.to_string(),
            "out.run: the query id `q 1` cannot stand in a TREC run, whose columns are split at blanks"
        );
        let nan = written(&Run::from_rows([("q", "a", f64::NAN)]).unwrap()).unwrap_err();
        assert_eq!(nan.to_string(), "document `a` of query `q` has the score NaN");
    }
}
