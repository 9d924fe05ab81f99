//! A language model behind an OpenAI-compatible chat endpoint.
//!
//! Answers are kept by the content of the question, so that nothing is paid for twice; a busy or broken server is asked again
//! with growing pauses; an answer that is neither yes nor no counts as unsure.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::queue::Case;
use super::super::{Answer, Store};
use super::Judge;
use crate::{Error, Result};

/// The question when no template is given.
pub const TEMPLATE: &str = "\
Query: {query}

A document that is known to answer the query:
{positive}

Another document:
{document}

Does the other document also answer the query? Reply with one word: yes, no or unsure.";

/// Letters of a positive or document that are shown.
const SHOWN: usize = 4000;
/// Letters per token, roughly.
const LETTERS: f64 = 4.0;

/// How to ask.
#[derive(Debug, Clone)]
pub struct LlmOptions {
    /// The endpoint: its base (`http://host:port/v1`) or the whole address of `chat/completions`.
    pub url: String,
    /// The model's name at the endpoint.
    pub model: String,
    /// A file with the question, holding `{query}`, `{positive}` and `{document}`.
    pub template: Option<PathBuf>,
    /// Sent as a bearer token.
    pub key: Option<String>,
    /// Requests per minute, at most; 0 = any number.
    pub per_minute: u32,
    /// Tries per question.
    pub tries: u32,
    /// The first pause before asking again; it doubles.
    pub pause: Duration,
}

impl Default for LlmOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: "default".into(),
            template: None,
            key: None,
            per_minute: 0,
            tries: 6,
            pause: Duration::from_secs(1),
        }
    }
}

/// What asking will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Questions in all.
    pub questions: usize,
    /// Of these, answered before.
    pub kept: usize,
    /// Requests to be made.
    pub requests: usize,
    /// Tokens to be sent, by four letters a token.
    pub tokens: u64,
}

/// The judge.
pub struct Llm<'a> {
    options: LlmOptions,
    template: String,
    address: String,
    agent: ureq::Agent,
    store: &'a Store,
    last: Option<Instant>,
}

/// Why a request came to nothing.
enum Failure {
    /// Ask again, after this time where the server said one.
    Again(String, Option<Duration>),
    /// Asking again would not help.
    Final(String),
}

impl<'a> Llm<'a> {
    /// Checks the template; sends nothing.
    pub fn new(options: LlmOptions, store: &'a Store) -> Result<Self> {
        let template = match &options.template {
            Some(path) => read_template(path)?,
            None => TEMPLATE.to_owned(),
        };
        let base = options.url.trim_end_matches('/');
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(Error::usage(
                format!("`{base}` is no address"),
                "e.g. --by llm:http://localhost:8000/v1",
            ));
        }
        let address = if base.ends_with("/chat/completions") {
            base.to_owned()
        } else {
            format!("{base}/chat/completions")
        };
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(120)))
            .http_status_as_error(false)
            .build();
        Ok(Self { options, template, address, agent: config.into(), store, last: None })
    }

    fn question(&self, case: &Case) -> String {
        let cut = |text: &str| text.chars().take(SHOWN).collect::<String>();
        let positive = case.positives.first().map(|p| cut(p)).unwrap_or_default();
        // The texts are put in last and in one pass each, so that braces in them stay what they are.
        let mut out = String::new();
        let mut rest = self.template.as_str();
        while let Some(at) = rest.find('{') {
            out.push_str(&rest[..at]);
            let fields = [
                ("{query}", cut(&case.query)),
                ("{positive}", positive.clone()),
                ("{document}", cut(&case.document)),
            ];
            match fields.iter().find(|(name, _)| rest[at..].starts_with(name)) {
                Some((name, text)) => {
                    out.push_str(text);
                    rest = &rest[at + name.len()..];
                }
                None => {
                    out.push('{');
                    rest = &rest[at + 1..];
                }
            }
        }
        out + rest
    }

    fn key_of(&self, question: &str) -> String {
        let text = format!("{}\n{}\n{question}", self.address, self.options.model);
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }

    /// What these cases will take.
    pub fn estimate(&self, cases: &[Case]) -> Result<Estimate> {
        let mut out = Estimate { questions: cases.len(), kept: 0, requests: 0, tokens: 0 };
        for case in cases {
            let question = self.question(case);
            if self.store.kept(&self.key_of(&question))?.is_some() {
                out.kept += 1;
            } else {
                out.requests += 1;
                out.tokens += (question.chars().count() as f64 / LETTERS).ceil() as u64;
            }
        }
        Ok(out)
    }

    fn request(&self, question: &str) -> std::result::Result<String, Failure> {
        let body = json!({
            "model": self.options.model, "temperature": 0, "max_tokens": 16,
            "messages": [{"role": "user", "content": question}],
        });
        let mut request = self.agent.post(&self.address).header("Content-Type", "application/json");
        if let Some(key) = &self.options.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let again = |e: ureq::Error| Failure::Again(e.to_string(), None);
        let mut response = request.send(body.to_string()).map_err(again)?;
        let status = response.status().as_u16();
        let wait = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let text = response.body_mut().read_to_string().map_err(again)?;
        if status == 429 || status >= 500 {
            return Err(Failure::Again(format!("status {status}"), wait.map(Duration::from_secs)));
        }
        if status != 200 {
            let start: String = text.chars().take(200).collect();
            return Err(Failure::Final(format!("status {status}: {start}")));
        }
        let value: Value = serde_json::from_str(&text).map_err(|e| Failure::Again(e.to_string(), None))?;
        let said = value["choices"][0]["message"]["content"].as_str();
        said.map(str::to_owned).ok_or_else(|| Failure::Again("an answer without a message".into(), None))
    }

    /// Asks until there is an answer, within the rate and the number of tries.
    fn ask(&mut self, question: &str) -> Result<String> {
        let mut pause = self.options.pause;
        let mut last = String::new();
        for attempt in 0..self.options.tries.max(1) {
            if attempt > 0 {
                std::thread::sleep(pause);
                pause *= 2;
            }
            if let (Some(before), true) = (self.last, self.options.per_minute > 0) {
                let least = Duration::from_secs(60) / self.options.per_minute;
                std::thread::sleep(least.saturating_sub(before.elapsed()));
            }
            self.last = Some(Instant::now());
            match self.request(question) {
                Ok(said) => return Ok(said),
                Err(Failure::Final(why)) => {
                    return Err(Error::usage(
                        format!("{} refuses: {why}", self.address),
                        "check the address, the model's name and the key (HARDROCK_LLM_KEY)",
                    ));
                }
                Err(Failure::Again(why, wait)) => {
                    last = why;
                    pause = wait.unwrap_or(pause);
                }
            }
        }
        Err(Error::usage(
            format!("{} gave no answer in {} tries, at last: {last}", self.address, self.options.tries),
            "the verdicts so far are kept; the same command goes on from there",
        ))
    }
}

fn read_template(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    match ["{query}", "{document}"].iter().find(|f| !text.contains(**f)) {
        Some(missing) => Err(Error::input(
            path,
            None,
            format!("the template has no {missing}"),
            "it must hold {query} and {document}, and may hold {positive}",
        )),
        None => Ok(text),
    }
}

/// The first word that is an answer.
fn parse(said: &str) -> Option<Answer> {
    let lower = said.to_lowercase();
    lower.split(|c: char| !c.is_alphabetic()).find_map(|word| match word {
        "yes" | "relevant" => Some(Answer::Relevant),
        "no" | "not" | "irrelevant" => Some(Answer::Not),
        "unsure" | "unclear" => Some(Answer::Unsure),
        _ => None,
    })
}

impl Judge for Llm<'_> {
    fn name(&self) -> String {
        format!("llm:{}", self.options.model)
    }

    fn answer(&mut self, case: &Case) -> Result<(Answer, Option<String>)> {
        let question = self.question(case);
        let key = self.key_of(&question);
        let said = match self.store.kept(&key)? {
            Some(said) => said,
            None => {
                let said = self.ask(&question)?;
                self.store.keep(&key, &said)?;
                said
            }
        };
        Ok(match parse(&said) {
            Some(answer) => (answer, None),
            None => {
                (Answer::Unsure, Some(format!("answered {:?}", said.chars().take(80).collect::<String>())))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::case;
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    /// Serves one scripted reply per connection: a status with a body, or a cut line. Keeps the bodies that it was sent.
    fn serve(script: Vec<Option<(u16, String)>>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for reply in script {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut line, mut length) = (String::new(), 0);
                while reader.read_line(&mut line).unwrap() > 2 {
                    if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
                        length = n.trim().parse().unwrap();
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                log.lock().unwrap().push(String::from_utf8(body).unwrap());
                if let Some((status, body)) = reply {
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nRetry-After: 0\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    stream.write_all((head + &body).as_bytes()).unwrap();
                }
            }
        });
        (url, seen)
    }

    fn says(text: &str) -> Option<(u16, String)> {
        Some((200, json!({"choices": [{"message": {"content": text}}]}).to_string()))
    }

    fn options(url: &str) -> LlmOptions {
        LlmOptions {
            url: url.into(),
            model: "m".into(),
            pause: Duration::from_millis(1),
            ..LlmOptions::default()
        }
    }

    #[test]
    fn faults_are_waited_out_and_answers_are_kept() {
        let script = vec![
            Some((500, "broken".into())),
            None,
            Some((429, "slow down".into())),
            Some((200, "{not json".into())),
            says("Yes."),
            says("I would say no"),
            says("hm"),
        ];
        let (url, seen) = serve(script);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("v.sqlite")).unwrap();
        let mut judge = Llm::new(options(&url), &store).unwrap();
        assert_eq!(judge.answer(&case("q", "d1")).unwrap(), (Answer::Relevant, None));
        assert_eq!(judge.answer(&case("q", "d2")).unwrap().0, Answer::Not);
        let (answer, note) = judge.answer(&case("q", "d3")).unwrap();
        assert_eq!((answer, note.unwrap().contains("hm")), (Answer::Unsure, true));
        assert_eq!(seen.lock().unwrap().len(), 7);
        // The server is gone; what was asked before is known.
        assert_eq!(judge.answer(&case("q", "d1")).unwrap().0, Answer::Relevant);
        let estimate = judge.estimate(&[case("q", "d1"), case("q", "new")]).unwrap();
        assert_eq!((estimate.questions, estimate.kept, estimate.requests), (2, 1, 1));
        assert!(estimate.tokens > 40 && estimate.tokens < 120, "{estimate:?}");
        assert!(seen.lock().unwrap()[0].contains("text of d1"));
    }

    #[test]
    fn a_refusal_ends_at_once_and_says_what_to_check() {
        let (url, seen) = serve(vec![Some((401, "no key".into()))]);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("v.sqlite")).unwrap();
        let error = Llm::new(options(&url), &store).unwrap().answer(&case("q", "d")).unwrap_err();
        assert!(error.to_string().contains("401: no key"), "{error}");
        assert_eq!(seen.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_dead_server_is_given_up_after_the_tries() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("v.sqlite")).unwrap();
        let dead = LlmOptions { tries: 3, ..options("http://127.0.0.1:9/v1") };
        let error = Llm::new(dead, &store).unwrap().answer(&case("q", "d")).unwrap_err();
        assert!(error.to_string().contains("in 3 tries"), "{error}");
    }

    #[test]
    fn the_template_is_filled_once_and_must_have_its_fields() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("v.sqlite")).unwrap();
        let path = folder.path().join("t.txt");
        std::fs::write(&path, "{query}|{document}|{other}").unwrap();
        let with = LlmOptions { template: Some(path.clone()), ..options("http://x") };
        let mut odd = case("q", "d");
        odd.query = "{document}".into();
        assert_eq!(Llm::new(with.clone(), &store).unwrap().question(&odd), "{document}|text of d|{other}");
        std::fs::write(&path, "{query}").unwrap();
        assert!(Llm::new(with, &store).err().unwrap().to_string().contains("{document}"));
    }

    #[test]
    fn the_rate_is_kept() {
        let (url, _) = serve(vec![says("no"), says("no"), says("no")]);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("v.sqlite")).unwrap();
        let slow = LlmOptions { per_minute: 600, ..options(&url) };
        let mut judge = Llm::new(slow, &store).unwrap();
        let start = Instant::now();
        for doc in ["a", "b", "c"] {
            judge.answer(&case("q", doc)).unwrap();
        }
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    }
}
