//! Requests to the hub: redirects by hand, so that the token goes to the hub alone, and its refusals in words.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ureq::Body;
use ureq::http::{Response, header};

use super::HubId;
use super::settings::Settings;
use crate::models::remote::pause;
use crate::{Error, Result};

/// Times that a request is tried without anything coming of it.
const TRIES: u32 = 4;

/// Longest wait between two tries, whatever the hub asks for.
const LONGEST: Duration = Duration::from_secs(60);

/// Redirects that are followed.
const HOPS: usize = 8;

/// Bytes of a listing, or of a file that holds one, that are read.
pub(super) const SMALL: u64 = 64 << 20;

/// How one try went wrong.
pub(super) enum Failure {
    /// Trying again is of no use.
    Final(Error),
    /// It may go better after the wait that the hub asked for, or ours.
    Passing(String, Option<Duration>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// A failure that may pass.
pub(super) fn passing(problem: impl std::fmt::Display) -> Failure {
    Failure::Passing(problem.to_string(), None)
}

/// What a try came to.
pub(super) type Try<T> = std::result::Result<T, Failure>;

/// A revision as the hub describes it.
#[derive(Debug, serde::Deserialize)]
struct Answer {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Debug, serde::Deserialize)]
struct Sibling {
    rfilename: String,
}

/// What the hub says of a file before it is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// Names the content: equal tags, equal bytes.
    pub(super) tag: String,
    /// Bytes.
    pub(super) size: u64,
}

/// The hub.
pub(super) struct Client<'a> {
    agent: ureq::Agent,
    settings: &'a Settings,
    cancel: &'a AtomicBool,
}

/// The address a redirect leads to.
fn target(from: &str, location: &str) -> String {
    match (location.contains("://"), location.starts_with('/')) {
        (true, _) => location.to_owned(),
        (false, true) => format!("{}{location}", origin(from)),
        (false, false) => format!("{}/{location}", from.rsplit_once('/').map_or(from, |(folder, _)| folder)),
    }
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find('/').map_or(url, |end| &url[..start + end])
}

/// A header as text.
fn text<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

impl<'a> Client<'a> {
    pub(super) fn new(settings: &'a Settings, cancel: &'a AtomicBool) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(settings.silence))
            .timeout_recv_response(Some(settings.silence))
            .timeout_per_read(Some(settings.silence))
            .build();
        Self { agent: config.into(), settings, cancel }
    }

    /// Runs `once` until it works, is hopeless or was tried in vain several times; `moved` says whether the last try,
    /// though it failed, got further than the one before.
    ///
    /// # Errors
    /// [`Error::Server`] in the end; [`Error::Interrupted`]; what `once` says is final.
    pub(super) fn persist<T>(
        &self,
        what: &str,
        mut moved: impl FnMut() -> bool,
        mut once: impl FnMut() -> Try<T>,
    ) -> Result<T> {
        let (mut wait, mut tries) = (self.settings.first_wait, 0);
        loop {
            // Also before the first try: a stop must not wait for the network.
            pause(Duration::ZERO, self.cancel)?;
            let (problem, asked) = match once() {
                Ok(done) => return Ok(done),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(problem, asked)) => (problem, asked),
            };
            tracing::warn!(what, %problem, "the hub did not answer as it should");
            if moved() {
                (wait, tries) = (self.settings.first_wait, 0);
            }
            tries += 1;
            if tries == TRIES {
                return Err(Error::Server {
                    problem: format!("{what}: {problem}, after {TRIES} tries"),
                    help: "check the connection (HF_ENDPOINT names another hub) and run the command again: what is fetched stays".to_owned(),
                });
            }
            pause(asked.map_or(wait, |asked| asked.min(LONGEST)), self.cancel)?;
            wait = (2 * wait).min(LONGEST);
        }
    }

    /// One request, of which `hop` may end the following of redirects early. The token is sent to the hub's own origin only.
    fn request(
        &self,
        method: &'static str,
        url: &str,
        from: u64,
        mut hop: impl FnMut(&str, &Response<Body>) -> bool,
    ) -> Try<Response<Body>> {
        let mut url = url.to_owned();
        for _ in 0..HOPS {
            let mut request = match method {
                "HEAD" => self.agent.head(&url),
                _ => self.agent.get(&url),
            };
            // Packed bytes could be neither counted nor continued.
            request = request.header(header::ACCEPT_ENCODING, "identity");
            if let Some(token) =
                self.settings.token.as_ref().filter(|_| origin(&url) == origin(&self.settings.endpoint))
            {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let response = request.call().map_err(passing)?;
            let next = match response.status().is_redirection() {
                true => text(&response, "location").map(|location| target(&url, location)),
                false => None,
            };
            let stop = hop(&url, &response);
            match next {
                Some(next) if !stop => url = next,
                _ => return Ok(response),
            }
        }
        Err(passing(format!("more than {HOPS} redirects")))
    }

    /// The commit of a revision and the files in it.
    ///
    /// # Errors
    /// [`Error::Usage`] for what the hub refuses, with what to do; [`Error::Server`]; [`Error::Interrupted`].
    pub(super) fn listing(&self, id: &HubId) -> Result<(String, BTreeSet<String>)> {
        let revision = id.revision.replace('/', "%2F");
        let url = format!("{}/api/models/{}/revision/{revision}", self.settings.endpoint, id.repo);
        let answer: Answer = self.persist(
            &url,
            || false,
            || {
                let mut response = self.request("GET", &url, 0, |_, _| false)?;
                self.refusal(id, None, &response)?;
                let bytes = response.body_mut().with_config().limit(SMALL).read_to_vec().map_err(passing)?;
                serde_json::from_slice(&bytes).map_err(|e| passing(format!("broken answer: {e}")))
            },
        )?;
        if answer.sha.len() < 7 || !answer.sha.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Error::Server {
                problem: format!("{url}: the hub names no commit but `{}`", answer.sha),
                help: "check HF_ENDPOINT".to_owned(),
            });
        }
        Ok((answer.sha, answer.siblings.into_iter().map(|s| s.rfilename).collect()))
    }

    /// The address of a file.
    pub(super) fn address(&self, id: &HubId, commit: &str, name: &str) -> String {
        let name = name.replace('%', "%25").replace('#', "%23").replace('?', "%3F").replace(' ', "%20");
        format!("{}/{}/resolve/{commit}/{name}", self.settings.endpoint, id.repo)
    }

    /// Tag and size of a file.
    ///
    /// # Errors
    /// As [`Client::listing`].
    pub(super) fn head(&self, id: &HubId, url: &str) -> Result<Head> {
        self.persist(
            url,
            || false,
            || {
                let (mut tag, mut size) = (None, None);
                // Large files lie elsewhere; the hub says what they are before it sends us there.
                let response = self.request("HEAD", url, 0, |_, response| {
                    tag = tag.take().or_else(|| text(response, "x-linked-etag").map(str::to_owned));
                    size = size.or_else(|| text(response, "x-linked-size").and_then(|s| s.parse().ok()));
                    tag.is_some() && size.is_some()
                })?;
                if tag.is_none() || size.is_none() {
                    self.refusal(id, Some(url), &response)?;
                }
                let tag = tag.or_else(|| text(&response, "etag").map(str::to_owned));
                let size = size.or_else(|| text(&response, "content-length").and_then(|s| s.parse().ok()));
                let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
                let named = |tag: &String| {
                    !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                };
                match (tag.filter(named), size) {
                    (Some(tag), Some(size)) => Ok(Head { tag, size }),
                    _ => Err(passing("an answer without the file's tag and size (ETag, Content-Length)")),
                }
            },
        )
    }

    /// A file from byte `from` on; the answer says itself where it begins.
    pub(super) fn open(&self, id: &HubId, url: &str, from: u64) -> Try<Response<Body>> {
        let response = self.request("GET", url, from, |_, _| false)?;
        if response.status() != 416 {
            self.refusal(id, Some(url), &response)?;
        }
        Ok(response)
    }

    /// An error where the hub does not give what was asked for.
    fn refusal(&self, id: &HubId, file: Option<&str>, response: &Response<Body>) -> Try<()> {
        let status = response.status().as_u16();
        if matches!(status, 200..300) {
            return Ok(());
        }
        if matches!(status, 408 | 429 | 500..) {
            let asked = text(response, "retry-after").and_then(|s| s.trim().parse().ok());
            return Err(Failure::Passing(format!("status {status}"), asked.map(Duration::from_secs)));
        }
        let (repo, endpoint) = (&id.repo, &self.settings.endpoint);
        let with_token = self.settings.token.is_some();
        let code = text(response, "x-error-code").unwrap_or_default();
        let (problem, help) = match (status, code, file) {
            (_, "GatedRepo", _) | (403, ..) if with_token => (
                format!("the token may not read the model {repo}, which is gated"),
                format!("accept its terms at {endpoint}/{repo}, with the account that the token belongs to"),
            ),
            (_, "GatedRepo", _) | (403, ..) => (
                format!("the model {repo} is gated"),
                format!("accept its terms at {endpoint}/{repo} and put a token into HF_TOKEN"),
            ),
            (404, "RevisionNotFound", _) => (
                format!("the model {repo} has no revision `{}`", id.revision),
                format!("see its branches and tags at {endpoint}/{repo}"),
            ),
            (404, _, Some(url)) => (
                format!("{url} is gone, though the hub lists it"),
                "run the command again: the model may just have changed".to_owned(),
            ),
            (401 | 404, _, _) => {
                let token = match with_token {
                    true => {
                        "check that the token (HF_TOKEN, or the file `token` in HF_HOME) is valid and may read it"
                    }
                    false => "if it is private, put a token into HF_TOKEN",
                };
                (
                    format!(
                        "there is no folder `{repo}`, and the hub at {endpoint} shows no model of that name"
                    ),
                    format!("check the spelling (ORGANISATION/NAME); {token}"),
                )
            }
            _ => {
                let problem = format!("{endpoint} answers for {repo} with status {status}");
                return Err(Failure::Final(Error::Server { problem, help: "check HF_ENDPOINT".to_owned() }));
            }
        };
        Err(Failure::Final(Error::usage(problem, help)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say() {
        let from = "https://hub/org/m/resolve/main/a/b.json";
        assert_eq!(target(from, "https://cdn/x?y"), "https://cdn/x?y");
        assert_eq!(target(from, "/api/x"), "https://hub/api/x");
        assert_eq!(target(from, "c.json"), "https://hub/org/m/resolve/main/a/c.json");
        assert_eq!((origin(from), origin("http://h:1")), ("https://hub", "http://h:1"));
    }
}
