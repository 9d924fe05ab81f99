//! Models behind an address: how a user brings a GPU, or a provider.

mod client;
mod concurrent;
mod rerank;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Card, Embedder, ModelOptions, Prompts};
use crate::store::Key;
use crate::{Error, Result};
use client::Client;
pub(super) use client::pause;
use concurrent::Concurrent;
pub(super) use rerank::open_reranker;

/// How requests are made; nothing here changes a vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteOptions {
    /// Requests under way at once.
    pub concurrency: usize,
    /// Texts of a request, at most.
    pub batch: usize,
    /// Requests per second, at most; none = as fast as they are answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Seconds that one request may take.
    pub timeout: f64,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self { concurrency: 4, batch: 32, rate: None, timeout: 60.0 }
    }
}

impl RemoteOptions {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Usage`].
    fn check(&self) -> Result<()> {
        let bad = |what: &str, must: &str| Err(Error::usage(format!("{what} must be {must}"), ""));
        if self.concurrency == 0 || self.concurrency > 256 {
            return bad("--model-concurrency", "from 1 to 256");
        }
        if self.batch == 0 {
            return bad("--model-batch", "at least 1");
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e6)) {
            return bad("--model-rate", "above 0 and at most a million requests per second");
        }
        if !(self.timeout > 0.0 && self.timeout <= 86_400.0) {
            return bad("--model-timeout", "above 0 and at most 86400 seconds");
        }
        Ok(())
    }
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Shape {
    /// OpenAI's `/v1/embeddings`.
    OpenAi,
    /// Text Embeddings Inference's `/embed`.
    Tei,
}

/// Characters of a request, at most: servers count bytes, and one long text is always sent.
const CHARACTERS: usize = 200_000;

/// Wait before the second try.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Whether the name of a model is an address.
pub(super) fn is_address(spec: &str) -> bool {
    spec.starts_with("http://") || spec.starts_with("https://")
}

/// Opens a model behind an address: `BASE/v1#MODEL` in OpenAI's shape, `BASE` for Text Embeddings Inference. One text is
/// encoded, to see that it works and how long vectors are.
///
/// # Errors
/// [`Error::Usage`] for an address with secrets in it or options that a server cannot follow; [`Error::Server`].
pub(super) fn open(spec: &str, options: &ModelOptions) -> Result<Box<dyn Embedder>> {
    Ok(Box::new(Remote::open(spec, options, FIRST_WAIT)?))
}

/// A model behind an address.
struct Remote {
    card: Card,
    prompts: Prompts,
    options: RemoteOptions,
    server: Arc<Server>,
}

/// What a thread needs to ask.
struct Server {
    client: Client,
    shape: Shape,
    url: String,
    model: Option<String>,
    dimensions: Option<usize>,
}

impl Server {
    fn request(&self, texts: &[String]) -> Value {
        match self.shape {
            Shape::OpenAi => {
                let mut body = json!({"input": texts, "encoding_format": "float"});
                let given = [
                    ("model", self.model.clone().map(Value::from)),
                    ("dimensions", self.dimensions.map(Value::from)),
                ];
                if let Value::Object(fields) = &mut body {
                    fields.extend(given.into_iter().filter_map(|(name, v)| Some((name.to_owned(), v?))));
                }
                body
            }
            Shape::Tei => json!({"inputs": texts, "truncate": true}),
        }
    }

    /// The vectors of an answer, in the texts' order: as many as texts, all of one dimension (`dim`, if it is known).
    fn read(
        &self,
        answer: &Value,
        texts: usize,
        dim: Option<usize>,
    ) -> std::result::Result<Vec<f32>, String> {
        let list = match self.shape {
            Shape::OpenAi => answer.get("data"),
            Shape::Tei => Some(answer),
        };
        let list = list.and_then(Value::as_array).ok_or("an answer without a list of vectors")?;
        if list.len() != texts {
            return Err(format!("{} vectors for {texts} texts", list.len()));
        }
        let mut rows: Vec<Option<&Vec<Value>>> = vec![None; texts];
        for (place, entry) in list.iter().enumerate() {
            let (at, vector) = match self.shape {
                Shape::Tei => (place, Some(entry)),
                Shape::OpenAi => {
                    let at = entry.get("index").and_then(Value::as_u64).map_or(place, |i| i as usize);
                    (at, entry.get("embedding"))
                }
            };
            let vector = vector.and_then(Value::as_array).ok_or("an entry without a vector")?;
            let row = rows.get_mut(at).filter(|row| row.is_none());
            *row.ok_or_else(|| format!("index {at} out of range or given twice"))? = Some(vector);
        }
        let mut out = Vec::new();
        let mut dim = dim;
        for row in rows.into_iter().flatten() {
            let dim = *dim.get_or_insert(row.len());
            if row.len() != dim || dim == 0 {
                return Err(format!("a vector of {} dimensions among vectors of {dim}", row.len()));
            }
            for x in row {
                let x = x.as_f64().map(|x| x as f32).filter(|x| x.is_finite());
                out.push(x.ok_or("a vector with something else than numbers")?);
            }
        }
        Ok(out)
    }

    fn embed(&self, texts: &[String], dim: Option<usize>, stop: &AtomicBool) -> Result<Vec<f32>> {
        let body = self.request(texts);
        self.client.ask(&self.url, Some(&body), stop, |answer| self.read(answer, texts.len(), dim))
    }
}

/// The host of an address.
///
/// # Errors
/// [`Error::Usage`] for an address with secrets in it.
fn host(base: &str) -> Result<&str> {
    let host = base.split("//").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if host.contains('@') || base.contains('?') {
        return Err(Error::usage(
            "the model's address holds a user, a password or a query",
            "addresses stand in manifests: give a key in the environment variable HARDROCK_API_KEY instead",
        ));
    }
    Ok(host)
}

/// The key for an address. OpenAI's own goes to OpenAI alone.
fn key(host: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let openai = || variable("OPENAI_API_KEY").filter(|_| host == "api.openai.com");
    variable("HARDROCK_API_KEY").or_else(openai).filter(|key| !key.is_empty())
}

impl Remote {
    fn open(spec: &str, options: &ModelOptions, first_wait: Duration) -> Result<Self> {
        options.remote.check()?;
        let (base, model) = spec.split_once('#').map_or((spec, None), |(base, model)| (base, Some(model)));
        let base = base.trim_end_matches('/');
        let host = host(base)?;
        let shape = match base.ends_with("/v1") || base.ends_with("/embeddings") {
            true => Shape::OpenAi,
            false => Shape::Tei,
        };
        let model = model.filter(|model| !model.is_empty()).map(str::to_owned);
        if shape == Shape::OpenAi && model.is_none() {
            return Err(Error::usage(
                format!("{base} does not say which model"),
                format!("name it after a #, as in {base}#text-embedding-3-small"),
            ));
        }
        if options.max_length.is_some() {
            return Err(Error::usage(
                "--max-length cannot be set for a model behind an address",
                "the server cuts texts as it is configured",
            ));
        }
        if let Some(precision) = options.precision {
            return Err(Error::usage(
                format!("--precision {} cannot be set for a model behind an address", precision.name()),
                "the server computes as it is configured",
            ));
        }
        if shape == Shape::Tei && options.truncate_dim.is_some() {
            return Err(Error::usage(
                "--truncate-dim cannot be set for Text Embeddings Inference",
                "use its OpenAI shape: BASE/v1#MODEL",
            ));
        }
        let client =
            Client::new(&options.remote, key(host, |name| std::env::var(name).ok()).as_deref(), first_wait);
        let never = AtomicBool::new(false);
        let (mut served, mut max_length, mut url) = (None, None, format!("{base}/embeddings"));
        if base.ends_with("/embeddings") {
            base.clone_into(&mut url);
        }
        if shape == Shape::Tei {
            url = format!("{base}/embed");
            let info = client.ask(&format!("{base}/info"), None, &never, |info| Ok(info.clone()))?;
            let text = |name: &str| info.get(name).and_then(Value::as_str).map(str::to_owned);
            served = text("model_id").map(|id| (id, text("model_sha")));
            max_length = info.get("max_input_length").and_then(Value::as_u64).map(|n| n as usize);
        }
        let server = Server { client, shape, url, model: model.clone(), dimensions: options.truncate_dim };
        let dim = server.embed(&["dimension".to_owned()], options.truncate_dim, &never)?.len();
        let fingerprint = Key::new("remote")
            .with("url", &server.url)
            .with_json("model", &(shape, &model, &served, options.truncate_dim))?
            .hex();
        let card = Card {
            id: spec.to_owned(),
            revision: served.as_ref().and_then(|(_, sha)| sha.clone()),
            architecture: served.map(|(id, _)| id).or(model).unwrap_or_default(),
            dim,
            max_length,
            pooling: "by the server".to_owned(),
            precision: "by the server",
            fingerprint,
            ..Card::default()
        };
        let prompts = Prompts {
            query: options.prompts.query.clone().unwrap_or_default(),
            passage: options.prompts.passage.clone().unwrap_or_default(),
        };
        Ok(Self { card, prompts, options: options.remote.clone(), server: Arc::new(server) })
    }

    /// Shares texts out to requests.
    fn batches(&self, texts: &[&str]) -> Vec<Range<usize>> {
        batches(texts.len(), self.options.batch, |i| texts[i].len(), |_| false)
    }
}

/// Shares `count` things out to requests of at most `most` each and so many characters; one for which `begins` holds begins
/// a request.
fn batches(
    count: usize,
    most: usize,
    size: impl Fn(usize) -> usize,
    begins: impl Fn(usize) -> bool,
) -> Vec<Range<usize>> {
    let (mut batches, mut start, mut characters) = (Vec::new(), 0, 0);
    for i in 0..count {
        if i > start && (i - start == most || characters + size(i) > CHARACTERS || begins(i)) {
            batches.push(start..i);
            (start, characters) = (i, 0);
        }
        characters += size(i);
    }
    batches.push(start..count);
    batches
}

impl Embedder for Remote {
    fn card(&self) -> &Card {
        &self.card
    }

    fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    fn encode(&self, texts: &[&str], out: &mut [f32], cancel: &AtomicBool) -> Result<()> {
        let dim = self.card.dim;
        assert!(out.len() == texts.len() * dim, "a vector for each text");
        if texts.is_empty() {
            return Ok(());
        }
        let batches = self.batches(texts);
        let owned: Vec<Vec<String>> =
            batches.iter().map(|b| texts[b.clone()].iter().map(|&t| t.to_owned()).collect()).collect();
        let (server, count) = (self.server.clone(), batches.len());
        let ask = move |at: usize, stop: &AtomicBool| server.embed(&owned[at], Some(dim), stop);
        let wait = Concurrent { url: &self.server.url, threads: self.options.concurrency, cancel };
        wait.run(count, ask, |at, vectors| {
            let rows = &batches[at];
            out[rows.start * dim..rows.end * dim].copy_from_slice(&vectors);
        })
    }
}
