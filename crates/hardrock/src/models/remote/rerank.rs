//! Cross-encoders behind an address: Text Embeddings Inference's `/rerank`.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use super::concurrent::Concurrent;
use super::{FIRST_WAIT, RemoteOptions, batches, host, key};
use crate::models::{Card, ModelOptions, Reranker};
use crate::store::Key;
use crate::{Error, Result};

/// Opens a cross-encoder behind an address `BASE`: `GET BASE/info`, `POST BASE/rerank`. One pair is scored, to see that
/// it works.
///
/// # Errors
/// [`Error::Usage`] for an address with secrets in it or options that a server cannot follow; [`Error::Server`].
pub(in crate::models) fn open_reranker(spec: &str, options: &ModelOptions) -> Result<Box<dyn Reranker>> {
    Ok(Box::new(Remote::open(spec, options, FIRST_WAIT)?))
}

/// A cross-encoder behind an address.
pub(super) struct Remote {
    card: Card,
    options: RemoteOptions,
    server: Arc<Server>,
}

struct Server {
    client: Client,
    url: String,
}

impl Server {
    /// Scores of the texts in their order: the server sorts them by score and says which is which.
    fn score(&self, query: &str, texts: &[String], stop: &AtomicBool) -> Result<Vec<f32>> {
        let body = json!({"query": query, "texts": texts, "truncate": true, "raw_scores": false, "return_text": false});
        self.client.ask(&self.url, Some(&body), stop, |answer| read(answer, texts.len()))
    }
}

fn read(answer: &Value, texts: usize) -> std::result::Result<Vec<f32>, String> {
    let list = answer.as_array().ok_or("an answer without a list of scores")?;
    if list.len() != texts {
        return Err(format!("{} scores for {texts} texts", list.len()));
    }
    let mut out = vec![f32::NAN; texts];
    for entry in list {
        let at = entry.get("index").and_then(Value::as_u64).ok_or("a score without an index")? as usize;
        let score = entry.get("score").and_then(Value::as_f64).map(|x| x as f32).filter(|x| x.is_finite());
        let slot = out.get_mut(at).filter(|slot| slot.is_nan());
        let slot = slot.ok_or_else(|| format!("index {at} out of range or given twice"))?;
        *slot = score.ok_or("an entry without a score")?;
    }
    Ok(out)
}

impl Remote {
    pub(super) fn open(spec: &str, options: &ModelOptions, first_wait: Duration) -> Result<Self> {
        options.remote.check()?;
        let base = spec.trim_end_matches('/');
        let base = base.strip_suffix("/rerank").unwrap_or(base);
        let host = host(base)?;
        if options.max_length.is_some() {
            return Err(Error::usage(
                "max-length cannot be set for a model behind an address",
                "the server cuts texts as it is configured",
            ));
        }
        let client =
            Client::new(&options.remote, key(host, |name| std::env::var(name).ok()).as_deref(), first_wait);
        let never = AtomicBool::new(false);
        let info = client.ask(&format!("{base}/info"), None, &never, |info| Ok(info.clone()))?;
        let text = |name: &str| info.get(name).and_then(Value::as_str).map(str::to_owned);
        let (id, revision) = (text("model_id").unwrap_or_default(), text("model_sha"));
        let server = Server { client, url: format!("{base}/rerank") };
        server.score("works", &["it works".to_owned()], &never)?;
        let fingerprint =
            Key::new("remote rerank").with("url", &server.url).with_json("model", &(&id, &revision))?.hex();
        let card = Card {
            id: spec.to_owned(),
            revision,
            architecture: id,
            dim: 1,
            max_length: info.get("max_input_length").and_then(Value::as_u64).map(|n| n as usize),
            pooling: "by the server".to_owned(),
            precision: "by the server",
            fingerprint,
            ..Card::default()
        };
        Ok(Self { card, options: options.remote.clone(), server: Arc::new(server) })
    }

    /// Requests of one anchor each.
    fn batches(&self, pairs: &[(&str, &str)]) -> Vec<Range<usize>> {
        batches(pairs.len(), self.options.batch, |i| pairs[i].1.len(), |i| pairs[i].0 != pairs[i - 1].0)
    }
}

impl Reranker for Remote {
    fn card(&self) -> &Card {
        &self.card
    }

    fn score(&self, pairs: &[(&str, &str)], out: &mut [f32], cancel: &AtomicBool) -> Result<()> {
        assert!(out.len() == pairs.len(), "a score for each pair");
        if pairs.is_empty() {
            return Ok(());
        }
        let batches = self.batches(pairs);
        let owned: Vec<(String, Vec<String>)> = batches
            .iter()
            .map(|b| (pairs[b.start].0.to_owned(), pairs[b.clone()].iter().map(|p| p.1.to_owned()).collect()))
            .collect();
        let server = self.server.clone();
        let ask = move |at: usize, stop: &AtomicBool| server.score(&owned[at].0, &owned[at].1, stop);
        let wait = Concurrent { url: &self.server.url, threads: self.options.concurrency, cancel };
        wait.run(batches.len(), ask, |at, scores| out[batches[at].clone()].copy_from_slice(&scores))
    }
}
