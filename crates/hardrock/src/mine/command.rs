//! The `command` filter's other side: a program of the user's that reads questions as JSON lines and answers in JSON lines.
//!
//! One line in per candidate pair: `{"query_id", "query", "positives": [..], "doc_id", "document", "score"}`; one line out per
//! line in, in the same order: `{"keep": true}` or `{"keep": false, "value": 0.93}`. Answers are kept on disk by the hash of
//! the program and the line, so that a pair is asked once over all runs.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use hardrock_core::{Error as CoreError, Outside, Question};
use serde::{Deserialize, Serialize};

use crate::read::{Dataset, content_hash};
use crate::{Error, Result};

/// Name for errors and reports.
const STAGE: &str = "command";

/// A program asked about candidates.
pub struct Program<'a> {
    words: Vec<String>,
    dataset: &'a Dataset,
    cache: Mutex<Cache>,
}

/// Answers so far: in memory by hash, appended to a file as they come.
struct Cache {
    path: PathBuf,
    answers: hashbrown::HashMap<[u8; 16], Option<f32>>,
}

#[derive(Serialize)]
struct Asked<'a> {
    query_id: &'a str,
    query: &'a str,
    positives: &'a [String],
    doc_id: &'a str,
    document: &'a str,
    score: Option<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    keep: bool,
    #[serde(default)]
    value: Option<f32>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    key: String,
    drop: bool,
    value: Option<f32>,
}

impl<'a> Program<'a> {
    /// `command` is cut into words at white space, quotes respected; no shell is started. Answers are kept in `folder`.
    /// The cache depends on the command and on the files that it names, so that an edited program is asked again.
    pub fn new(command: &str, dataset: &'a Dataset, folder: &Path) -> Result<Self> {
        let words = words(command);
        if words.is_empty() {
            return Err(Error::usage(
                "the command filter has an empty command",
                "give it as command:PROGRAM",
            ));
        }
        let mut hash = blake3::Hasher::new();
        hash.update(command.as_bytes());
        for file in files(command) {
            hash.update(content_hash(&file)?.as_bytes());
        }
        let hash = hash.finalize().to_hex();
        let path = folder.join(format!("command-{}.jsonl", &hash[..16]));
        Ok(Self { words, dataset, cache: Mutex::new(Cache::open(path)?) })
    }

    /// Asks the program about the lines; one process per call.
    fn ask(&self, lines: &[String]) -> std::result::Result<Vec<Option<f32>>, String> {
        let mut child = Command::new(&self.words[0])
            .args(&self.words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start `{}`: {e}", self.words[0]))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(mut stderr)) = (stdin, stdout, stderr) else {
            return Err("the program's pipes could not be opened".into());
        };
        // A program may answer before it has read everything, and may complain: each pipe needs a reader of its own.
        let (answers, complaint) = std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut to = BufWriter::new(stdin);
                for line in lines {
                    // A program that stops reading is found by its missing answers.
                    if writeln!(to, "{line}").is_err() {
                        break;
                    }
                }
            });
            let complaint = scope.spawn(move || {
                let mut text = Vec::new();
                let _ = std::io::Read::read_to_end(&mut stderr, &mut text);
                String::from_utf8_lossy(&text).into_owned()
            });
            let mut answers = Vec::with_capacity(lines.len());
            for line in BufReader::new(stdout).lines() {
                match line {
                    Ok(line) if line.trim().is_empty() => {}
                    Ok(line) => answers.push(line),
                    Err(e) => return (Err(e.to_string()), complaint.join().unwrap_or_default()),
                }
            }
            (Ok(answers), complaint.join().unwrap_or_default())
        });
        let status = child.wait().map_err(|e| e.to_string())?;
        let said = complaint.trim().lines().next_back().unwrap_or_default();
        if !status.success() {
            return Err(format!("the program ended with {status}: {said}"));
        }
        let answers = answers?;
        if answers.len() != lines.len() {
            return Err(format!(
                "{} lines in, {} answers out; one answer per line is needed",
                lines.len(),
                answers.len()
            ));
        }
        answers
            .iter()
            .enumerate()
            .map(|(i, line)| {
                let a: Answer = serde_json::from_str(line).map_err(|e| {
                    format!(
                        "answer {} is not {{\"keep\": true|false, \"value\": number}}: {e}: {line}",
                        i + 1
                    )
                })?;
                Ok((!a.keep).then(|| a.value.unwrap_or(f32::NAN)))
            })
            .collect()
    }

    /// The lines of all questions, one per (anchor, candidate).
    fn lines(&self, questions: &[Question]) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for q in questions {
            let query = self.dataset.anchors.text(q.anchor.0)?;
            let positives: Vec<String> =
                q.positives.iter().map(|p| self.dataset.items.text(p.0)).collect::<Result<_>>()?;
            for (&c, &score) in q.candidates.iter().zip(&q.scores) {
                let asked = Asked {
                    query_id: self.dataset.anchors.id(q.anchor.0),
                    query: &query,
                    positives: &positives,
                    doc_id: self.dataset.items.id(c.0),
                    document: &self.dataset.items.text(c.0)?,
                    score: score.is_finite().then_some(score),
                };
                lines.push(
                    serde_json::to_string(&asked)
                        .map_err(|e| Error::usage(format!("command filter: {e}"), ""))?,
                );
            }
        }
        Ok(lines)
    }

    fn answers(&self, questions: &[Question]) -> Result<Vec<Vec<Option<f32>>>> {
        let failed = |message: String| Error::Core(CoreError::Outside { stage: STAGE, message });
        let lines = self.lines(questions)?;
        let key = |line: &String| -> [u8; 16] {
            let hash = blake3::hash(line.as_bytes());
            std::array::from_fn(|i| hash.as_bytes()[i])
        };
        let keys: Vec<[u8; 16]> = lines.iter().map(key).collect();
        let unknown: Vec<usize> = {
            let cache = self.cache.lock().map_err(|_| failed("another thread failed".into()))?;
            (0..keys.len()).filter(|&i| !cache.answers.contains_key(&keys[i])).collect()
        };
        if !unknown.is_empty() {
            let asked: Vec<String> = unknown.iter().map(|&i| lines[i].clone()).collect();
            let answers = self.ask(&asked).map_err(failed)?;
            let mut cache = self.cache.lock().map_err(|_| failed("another thread failed".into()))?;
            cache.add(unknown.iter().map(|&i| keys[i]).zip(answers))?;
        }
        let cache = self.cache.lock().map_err(|_| failed("another thread failed".into()))?;
        let mut at = keys.iter();
        let answer = |_: &_| at.next().and_then(|k| cache.answers.get(k).copied()).flatten();
        let mut answer = answer;
        Ok(questions.iter().map(|q| q.candidates.iter().map(&mut answer).collect()).collect())
    }
}

impl Outside for Program<'_> {
    fn judge(&self, questions: &[Question]) -> hardrock_core::Result<Vec<Vec<Option<f32>>>> {
        self.answers(questions).map_err(|e| match e {
            Error::Core(core) => core,
            other => CoreError::Outside { stage: STAGE, message: other.to_string() },
        })
    }
}

impl Cache {
    /// Reads what is there. A last line that was cut off by a crash is left out.
    fn open(path: PathBuf) -> Result<Self> {
        let mut answers = hashbrown::HashMap::new();
        if path.exists() {
            let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            for stored in text.lines().filter_map(|l| serde_json::from_str::<Stored>(l).ok()) {
                if let Some(key) = unhex(&stored.key) {
                    answers.insert(key, stored.drop.then(|| stored.value.unwrap_or(f32::NAN)));
                }
            }
        }
        Ok(Self { path, answers })
    }

    fn add(&mut self, new: impl Iterator<Item = ([u8; 16], Option<f32>)>) -> Result<()> {
        let mut text = String::new();
        for (key, answer) in new {
            let value = answer.filter(|v| v.is_finite());
            let hex: String = key.iter().map(|b| format!("{b:02x}")).collect();
            let stored = Stored { key: hex, drop: answer.is_some(), value };
            if let Ok(line) = serde_json::to_string(&stored) {
                text.push_str(&line);
                text.push('\n');
            }
            self.answers.insert(key, answer);
        }
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .map_err(Error::io("write", &self.path))?;
        file.write_all(text.as_bytes()).map_err(Error::io("write", &self.path))
    }
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut key = [0; 16];
    for (i, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(key)
}

/// The files among a command's words: the program where it is named by path, its script, its settings.
pub(super) fn files(command: &str) -> Vec<PathBuf> {
    words(command).into_iter().map(PathBuf::from).filter(|p| p.is_file()).collect()
}

/// Cuts at white space; single and double quotes hold words together.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut open) = (Vec::new(), String::new(), None, false);
    for c in command.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => word.push(c),
            None if c == '\'' || c == '"' => (quote, open) = (Some(c), true),
            None if c.is_whitespace() => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            None => word.push(c),
        }
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_respect_quotes() {
        assert_eq!(words("python3 'my filter.py' --t \"\" x"), ["python3", "my filter.py", "--t", "", "x"]);
    }

    #[test]
    fn the_cache_survives_and_a_torn_last_line_is_left_out() -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.jsonl");
        let mut cache = Cache::open(path.clone())?;
        cache.add([([1; 16], None), ([2; 16], Some(0.5))].into_iter())?;
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"key\":\"03");
        std::fs::write(&path, bytes).unwrap();
        let again = Cache::open(path)?;
        assert_eq!(
            (again.answers.get(&[1; 16]), again.answers.get(&[2; 16])),
            (Some(&None), Some(&Some(0.5)))
        );
        assert_eq!(again.answers.len(), 2);
        Ok(())
    }
}
