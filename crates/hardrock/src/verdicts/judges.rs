//! Judges that answer without a person: a file, a program, a language model.

mod llm;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::queue::Case;
use super::{Answer, files, read};
use crate::{Error, Result};

pub use llm::{Estimate, Llm, LlmOptions, TEMPLATE};

/// A judge.
pub trait Judge {
    /// Its name in the store.
    fn name(&self) -> String;
    /// What it says of a case, with a remark where it has one.
    fn answer(&mut self, case: &Case) -> Result<(Answer, Option<String>)>;
}

/// Judgements in a file: a pair that it does not call relevant is not.
pub struct FileJudge {
    name: String,
    relevant: BTreeSet<(String, String)>,
}

impl FileJudge {
    /// Reads qrels or other verdicts.
    pub fn open(path: &Path) -> Result<Self> {
        let records = if super::is_store(path) { read(path)? } else { files::latest(files::read(path)?) };
        let relevant = records.into_iter().filter(|r| r.answer == Answer::Relevant);
        Ok(Self {
            name: format!("qrels:{}", path.file_name().unwrap_or_default().to_string_lossy()),
            relevant: relevant.map(|r| (r.query_id, r.doc_id)).collect(),
        })
    }
}

impl Judge for FileJudge {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn answer(&mut self, case: &Case) -> Result<(Answer, Option<String>)> {
        let pair = (case.pair.query_id.clone(), case.pair.doc_id.clone());
        Ok((if self.relevant.contains(&pair) { Answer::Relevant } else { Answer::Not }, None))
    }
}

/// A program that reads one JSON object per line and answers each with one line `{"answer": "relevant" | "not" | "unsure"}`.
pub struct Program {
    command: String,
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Program {
    /// Starts the program through the shell.
    pub fn start(command: &str) -> Result<Self> {
        let failed = |e: std::io::Error| Error::usage(format!("cannot start `{command}`: {e}"), "");
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let from = from.ok_or_else(|| Error::usage(format!("`{command}` has no output"), ""))?;
        Ok(Self { command: command.to_owned(), child, to, from: BufReader::new(from) })
    }

    fn ask(&mut self, line: &str) -> std::io::Result<String> {
        if let Some(to) = &mut self.to {
            writeln!(to, "{line}")?;
            to.flush()?;
        }
        let mut answer = String::new();
        self.from.read_line(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A closed input ends a program that reads lines.
        self.to = None;
        let _ = self.child.wait();
    }
}

impl Judge for Program {
    fn name(&self) -> String {
        format!("command:{}", self.command)
    }

    fn answer(&mut self, case: &Case) -> Result<(Answer, Option<String>)> {
        let question = serde_json::json!({
            "query_id": case.pair.query_id, "doc_id": case.pair.doc_id, "query": case.query,
            "positives": case.positives, "document": case.document, "p_fn": case.p_fn,
        });
        let command = self.command.clone();
        let said = self.ask(&question.to_string()).map_err(|e| {
            Error::usage(format!("`{command}` does not answer: {e}"), "it must read a line and write a line")
        })?;
        let value: serde_json::Value = serde_json::from_str(said.trim()).unwrap_or_default();
        let answer = value["answer"].as_str().and_then(Answer::from_name);
        let answer = answer.ok_or_else(|| {
            Error::usage(
                format!(
                    "`{command}` answered {:?} for {} and {}",
                    said.trim(),
                    case.pair.query_id,
                    case.pair.doc_id
                ),
                "each line of input is answered by {\"answer\": \"relevant\" | \"not\" | \"unsure\"}",
            )
        })?;
        Ok((answer, value["note"].as_str().map(str::to_owned)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::queue::Pair;
    use super::*;

    pub(crate) fn case(query: &str, doc: &str) -> Case {
        Case {
            pair: Pair { query_id: query.into(), doc_id: doc.into() },
            query: format!("text of {query}"),
            positives: vec!["a positive".into()],
            document: format!("text of {doc}"),
            p_fn: Some(0.5),
        }
    }

    #[test]
    fn what_the_file_does_not_name_is_not_relevant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gold.qrels");
        std::fs::write(&path, "q1 0 d1 1\nq1 0 d2 0\n").unwrap();
        let mut judge = FileJudge::open(&path).unwrap();
        let mut of = |d| judge.answer(&case("q1", d)).unwrap().0;
        assert_eq!([of("d1"), of("d2"), of("d3")], [Answer::Relevant, Answer::Not, Answer::Not]);
        assert_eq!(judge.name(), "qrels:gold.qrels");
    }

    #[test]
    fn a_program_sees_the_texts_and_its_nonsense_is_quoted() {
        let command = r#"while read -r l; do case "$l" in *'"text of d1"'*) echo '{"answer":"relevant","note":"yes"}';; *d2*) echo '{"answer":"not"}';; *) echo perhaps;; esac; done"#;
        let mut judge = Program::start(command).unwrap();
        assert_eq!(judge.answer(&case("q", "d1")).unwrap(), (Answer::Relevant, Some("yes".into())));
        assert_eq!(judge.answer(&case("q", "d2")).unwrap().0, Answer::Not);
        let error = judge.answer(&case("q", "d3")).unwrap_err();
        assert!(error.to_string().contains("\"perhaps\"") && error.to_string().contains("d3"), "{error}");
    }
}
