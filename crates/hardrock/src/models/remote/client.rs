//! Requests to an embedding server: tried again where that can help, at a rate, and stopped when asked to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::RemoteOptions;
use crate::{Error, Result};

/// Times that a request is tried.
const TRIES: u32 = 6;

/// Longest wait between two tries, whatever a server asks for.
const LONGEST: Duration = Duration::from_secs(60);

/// Bytes of an answer that are read.
const ANSWER: u64 = 1 << 30;

/// Bytes of a refusal that are shown.
const SHOWN: usize = 200;

/// How one try went wrong.
enum Failure {
    /// Trying again is of no use.
    Final(Error),
    /// It may go better after the wait that the server asked for, or ours.
    Passing(String, Option<Duration>),
}

/// A server with everything that its requests need. Threads share it.
pub(super) struct Client {
    agent: ureq::Agent,
    /// `Bearer …`, never shown.
    authorization: Option<String>,
    /// When the next request may start.
    turn: Mutex<Instant>,
    /// Between two starts.
    gap: Duration,
    first_wait: Duration,
}

impl Client {
    /// `key` is sent with every request and shown nowhere; `first_wait` stands before the second try and doubles.
    pub(super) fn new(options: &RemoteOptions, key: Option<&str>, first_wait: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs_f64(options.timeout)))
            .http_status_as_error(false)
            .build();
        Self {
            agent: config.into(),
            authorization: key.map(|key| format!("Bearer {key}")),
            turn: Mutex::new(Instant::now()),
            gap: options.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate)),
            first_wait,
        }
    }

    /// Posts `body` (gets, without one) and gives the answer to `read`, again and again until it is right, hopeless or
    /// stopped. What `read` refuses counts as a broken answer.
    ///
    /// # Errors
    /// [`Error::Server`] with the address, the status and the begin of the answer; [`Error::Interrupted`].
    pub(super) fn ask<T>(
        &self,
        url: &str,
        body: Option<&Value>,
        stop: &AtomicBool,
        read: impl Fn(&Value) -> std::result::Result<T, String>,
    ) -> Result<T> {
        let mut wait = self.first_wait;
        let mut last = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                pause(wait, stop)?;
                wait = (2 * wait).min(LONGEST);
            }
            self.take_turn(stop)?;
            match self.once(url, body, &read) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(problem, asked)) => {
                    tracing::warn!(url, %problem, attempt, "the server did not answer as it should");
                    wait = asked.map_or(wait, |asked| asked.min(LONGEST));
                    last = problem;
                }
            }
        }
        Err(Error::Server {
            problem: format!("{url}: {last}, after {TRIES} tries"),
            help: "see to the server and run the command again: finished vectors are kept".to_owned(),
        })
    }

    fn once<T>(
        &self,
        url: &str,
        body: Option<&Value>,
        read: impl Fn(&Value) -> std::result::Result<T, String>,
    ) -> std::result::Result<T, Failure> {
        let passing = |e: ureq::Error| Failure::Passing(e.to_string(), None);
        let answer = match body {
            Some(body) => {
                let mut request = self.agent.post(url).header("content-type", "application/json");
                if let Some(authorization) = &self.authorization {
                    request = request.header("authorization", authorization);
                }
                request.send(body.to_string())
            }
            None => {
                let mut request = self.agent.get(url);
                if let Some(authorization) = &self.authorization {
                    request = request.header("authorization", authorization);
                }
                request.call()
            }
        };
        let mut answer = answer.map_err(passing)?;
        let status = answer.status().as_u16();
        let asked = answer.headers().get("retry-after").and_then(|v| v.to_str().ok());
        let asked = asked.and_then(|s| s.trim().parse().ok()).map(Duration::from_secs);
        let bytes = answer.body_mut().with_config().limit(ANSWER).read_to_vec().map_err(passing)?;
        if status != 200 {
            let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
            let problem = format!("status {status}: {}", begin.trim());
            if matches!(status, 408 | 429 | 500..) {
                return Err(Failure::Passing(problem, asked));
            }
            let help = match status {
                401 | 403 => "put the key into the environment variable HARDROCK_API_KEY",
                404 => {
                    "check the address: BASE/v1#MODEL for OpenAI's shape, BASE for Text Embeddings Inference"
                }
                413 | 422 => "give a smaller --model-batch, or shorten the texts",
                _ => "",
            };
            return Err(Failure::Final(Error::Server {
                problem: format!("{url}: {problem}"),
                help: help.to_owned(),
            }));
        }
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|e| Failure::Passing(format!("broken answer of {} bytes: {e}", bytes.len()), None))?;
        read(&value).map_err(|problem| Failure::Passing(problem, None))
    }

    /// Waits for the next start that the rate allows.
    fn take_turn(&self, stop: &AtomicBool) -> Result<()> {
        if self.gap.is_zero() {
            return Ok(());
        }
        let now = Instant::now();
        let start = self.turn.lock().map_or(now, |mut turn| {
            let start = (*turn).max(now);
            *turn = start + self.gap;
            start
        });
        pause(start.saturating_duration_since(now), stop)
    }
}

/// Sleeps, but not through a stop.
///
/// # Errors
/// [`Error::Interrupted`].
pub(in crate::models) fn pause(time: Duration, stop: &AtomicBool) -> Result<()> {
    const LOOK: Duration = Duration::from_millis(100);
    let end = Instant::now() + time;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK));
    }
}
