//! The other side of `rerank` and `guide`: models that score (anchor, document), and what they have said before.
//!
//! A cross-encoder's scores are kept by the model's fingerprint and the two texts, a guide's vectors where every encoder's
//! are, so that another margin asks no model. Both are asked for one block at a time, outside of the threads that judge.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hardrock_core::{AnchorId, Asking, FilterSpec, ItemId, Opinion};
use hardrock_engine::index::rows::normalise;
use hardrock_engine::kernel::{Isa, dots};

use super::plan::Plan;
use super::{Progress, Silent};
use crate::embed::{self, Cache, TextKey, Wanted};
use crate::models::{self, Embedder, ModelOptions, RemoteOptions, Reranker, Roles};
use crate::read::{Dataset, Table};
use crate::store::{Key, Store};
use crate::{Error, Result};

/// Names of the filters that ask models, in the order in which they run.
pub(crate) const NAMES: [&str; 2] = ["guide", "rerank"];

/// The models of a plan's filters, each under the name that it was given.
#[derive(Default)]
pub(super) struct Judges {
    guide: Option<(String, Box<dyn Embedder>)>,
    rerank: Option<(String, Box<dyn Reranker>)>,
}

impl Judges {
    /// Opens the models, so that a wrong name ends the run before anything is read.
    pub(super) fn open(plan: &Plan, progress: &dyn Progress, cancel: &AtomicBool) -> Result<Self> {
        let mut judges = Self::default();
        for filter in &plan.spec.filters.chain {
            match filter {
                FilterSpec::Guide(guide) => {
                    let prompts =
                        Roles { query: guide.prompt_query.clone(), passage: guide.prompt_passage.clone() };
                    let options =
                        ModelOptions { prompts, ..options(guide.max_length, guide.server.as_ref()) };
                    let model = models::open_watched(&guide.model, &options, progress, cancel)?;
                    judges.guide = Some((guide.model.clone(), model));
                }
                FilterSpec::Rerank(rerank) => {
                    let options = options(rerank.max_length, rerank.server.as_ref());
                    let model = models::open_reranker(&rerank.model, &options, progress, cancel)?;
                    judges.rerank = Some((rerank.model.clone(), model));
                }
                _ => {}
            }
        }
        Ok(judges)
    }

    /// Each filter's name with its model's name and what decides its opinion.
    pub(super) fn fingerprints(&self) -> Vec<(&'static str, String, String)> {
        // Prompts are no part of an encoder, but of what it is given.
        let guide = self.guide.as_ref().map(|(name, model)| {
            let prompts = model.prompts();
            let key = Key::new("guide").with("model", model.fingerprint());
            let key = key.with("query", &prompts.query).with("passage", &prompts.passage);
            (NAMES[0], name.clone(), key.hex())
        });
        let rerank =
            self.rerank.as_ref().map(|(name, m)| (NAMES[1], name.clone(), m.fingerprint().to_owned()));
        guide.into_iter().chain(rerank).collect()
    }
}

fn options(max_length: Option<usize>, server: Option<&Asking>) -> ModelOptions {
    let usual = RemoteOptions::default();
    let asked = server.cloned().unwrap_or_default();
    let remote = RemoteOptions {
        concurrency: asked.concurrency.unwrap_or(usual.concurrency),
        batch: asked.batch.unwrap_or(usual.batch),
        rate: asked.rate.or(usual.rate),
        timeout: asked.timeout.unwrap_or(usual.timeout),
    };
    ModelOptions { max_length, remote, ..ModelOptions::default() }
}

/// The error of a model: the pure stages carry its words, this its help and its exit code.
#[derive(Default)]
pub struct Failure(Mutex<Option<Error>>);

impl Failure {
    fn keep<T>(&self, stage: &'static str, result: Result<T>) -> hardrock_core::Result<T> {
        result.map_err(|e| {
            let message = e.to_string();
            if let Ok(mut kept) = self.0.lock() {
                *kept = Some(e);
            }
            hardrock_core::Error::Outside { stage, message }
        })
    }

    /// What a stage's error was before it was one.
    pub(super) fn restore(&self, e: Error) -> Error {
        let kept = self.0.lock().ok().and_then(|mut kept| kept.take());
        kept.unwrap_or(e)
    }
}

/// What the models are asked about.
pub(super) struct About<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) store: &'a Store,
    pub(super) failure: &'a Failure,
    pub(super) cancel: &'a AtomicBool,
}

impl<'a> About<'a> {
    /// The opinions of the models that are open: the guide's and the cross-encoder's.
    pub(super) fn open(
        &'a self,
        judges: &'a Judges,
    ) -> Result<(Option<Guide<'a>>, Option<CrossEncoder<'a>>)> {
        let guide = judges.guide.as_ref().map(|(_, model)| -> Result<Guide<'a>> {
            let cache = Mutex::new(embed::open_cache(self.store, &**model)?);
            Ok(Guide { about: self, model: &**model, cache })
        });
        let rerank = judges.rerank.as_ref().map(|(_, model)| -> Result<CrossEncoder<'a>> {
            let key = Key::new("scores").with("model", model.fingerprint());
            let cache = Cache::open(self.store.stage("scores", &key)?.folder(), 1)?;
            Ok(CrossEncoder { about: self, model: &**model, cache: Mutex::new(cache) })
        });
        Ok((guide.transpose()?, rerank.transpose()?))
    }
}

fn poisoned<T>(_: T) -> Error {
    Error::usage("a thread of this run failed", "run the command again")
}

/// Vectors of a second encoder, compared by their cosine.
pub(super) struct Guide<'a> {
    about: &'a About<'a>,
    model: &'a dyn Embedder,
    cache: Mutex<Cache>,
}

/// Distinct records in ascending order with the vectors of their texts, of unit length `[records][dim]`.
struct Side {
    records: Vec<u32>,
    vectors: Vec<f32>,
    dim: usize,
}

impl Side {
    fn of(&self, record: u32) -> &[f32] {
        let at = self.records.partition_point(|&r| r < record);
        &self.vectors[at * self.dim..][..self.dim]
    }
}

impl Guide<'_> {
    fn side(&self, table: &Table, records: impl Iterator<Item = u32>, prompt: &str) -> Result<Side> {
        let mut records: Vec<u32> = records.collect();
        records.sort_unstable();
        records.dedup();
        let wanted = Wanted { table, records: &records, prompt, name: "texts for the guide" };
        let mut cache = self.cache.lock().map_err(poisoned)?;
        let (rows, _) = embed::encode(&wanted, self.model, &mut cache, &Silent, self.about.cancel)?;
        let dim = self.model.dim();
        let mut vectors = vec![0.0; records.len() * dim];
        for (row, vector) in rows.into_iter().zip(vectors.chunks_mut(dim)) {
            cache.read(row, vector)?;
            normalise(vector);
        }
        Ok(Side { records, vectors, dim })
    }

    fn scores(&self, pairs: &[(AnchorId, ItemId)], out: &mut [f32]) -> Result<()> {
        let (Dataset { anchors, items, .. }, prompts) = (self.about.dataset, self.model.prompts());
        let queries = self.side(anchors, pairs.iter().map(|p| p.0.0), &prompts.query)?;
        let documents = self.side(items, pairs.iter().map(|p| p.1.0), &prompts.passage)?;
        for (out, (anchor, item)) in out.iter_mut().zip(pairs) {
            dots(Isa::best(), queries.of(anchor.0), documents.of(item.0), std::slice::from_mut(out));
        }
        Ok(())
    }
}

impl Opinion for Guide<'_> {
    fn score(&self, pairs: &[(AnchorId, ItemId)], out: &mut [f32]) -> hardrock_core::Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        self.about.failure.keep(NAMES[0], self.scores(pairs, out))
    }
}

/// Scores of a model that reads both texts together.
pub(super) struct CrossEncoder<'a> {
    about: &'a About<'a>,
    model: &'a dyn Reranker,
    /// One number per pair of texts.
    cache: Mutex<Cache>,
}

/// Pairs of a piece at first; a piece is what a crash can lose.
const FIRST: usize = 256;

/// The longest piece: its texts are in memory.
const LONGEST: usize = 16_384;

/// Pieces grow until they take this long.
const AIM: Duration = Duration::from_secs(2);

/// Names two texts; their lengths keep "ab" + "c" from "a" + "bc".
fn pair_key(anchor: &str, document: &str) -> TextKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(anchor.len() as u64).to_le_bytes());
    hasher.update(anchor.as_bytes());
    hasher.update(document.as_bytes());
    let hash = hasher.finalize();
    std::array::from_fn(|i| hash.as_bytes()[i])
}

impl CrossEncoder<'_> {
    /// The two texts of each pair.
    fn texts(&self, pairs: &[(AnchorId, ItemId)]) -> Result<Vec<(String, String)>> {
        let Dataset { anchors, items, .. } = self.about.dataset;
        pairs.iter().map(|&(a, i)| Ok((anchors.text(a.0)?, items.text(i.0)?))).collect()
    }

    fn scores(&self, pairs: &[(AnchorId, ItemId)], out: &mut [f32]) -> Result<()> {
        let mut cache = self.cache.lock().map_err(poisoned)?;
        let mut keys = Vec::with_capacity(pairs.len());
        for piece in pairs.chunks(FIRST) {
            keys.extend(self.texts(piece)?.iter().map(|(anchor, document)| pair_key(anchor, document)));
        }
        let mut seen = hashbrown::HashSet::new();
        let missing: Vec<usize> =
            (0..keys.len()).filter(|&i| cache.find(&keys[i]).is_none() && seen.insert(keys[i])).collect();
        let (mut rest, mut size) = (missing.as_slice(), FIRST);
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(size.min(rest.len()));
            let begun = Instant::now();
            let asked: Vec<(AnchorId, ItemId)> = piece.iter().map(|&i| pairs[i]).collect();
            let texts = self.texts(&asked)?;
            let texts: Vec<(&str, &str)> = texts.iter().map(|(a, d)| (a.as_str(), d.as_str())).collect();
            let mut scores = vec![f32::NAN; texts.len()];
            self.model.score(&texts, &mut scores, self.about.cancel)?;
            if let Some(at) = scores.iter().position(|s| !s.is_finite()) {
                let Dataset { anchors, items, .. } = self.about.dataset;
                let (anchor, item) = (anchors.id(asked[at].0.0), items.id(asked[at].1.0));
                return Err(Error::usage(
                    format!("the cross-encoder scores `{anchor}` with `{item}` {}", scores[at]),
                    "the model's weights or the server's answer are broken: try another model",
                ));
            }
            let names: Vec<TextKey> = piece.iter().map(|&i| keys[i]).collect();
            cache.push(&names, &scores)?;
            if begun.elapsed() < AIM / 2 {
                size = (2 * size).min(LONGEST);
            }
            rest = tail;
        }
        for (key, out) in keys.iter().zip(out) {
            let gone = || Error::usage("a score is gone from the cache", "run the command again");
            cache.read(cache.find(key).ok_or_else(gone)?, std::slice::from_mut(out))?;
        }
        Ok(())
    }
}

impl Opinion for CrossEncoder<'_> {
    fn score(&self, pairs: &[(AnchorId, ItemId)], out: &mut [f32]) -> hardrock_core::Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        self.about.failure.keep(NAMES[1], self.scores(pairs, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_named_by_where_its_texts_part() {
        assert_ne!(pair_key("ab", "c"), pair_key("a", "bc"));
        assert_ne!(pair_key("a", "b"), pair_key("b", "a"));
        assert_eq!(pair_key("a", "b"), pair_key("a", "b"));
    }

    #[test]
    fn an_error_keeps_its_help_through_the_pure_stages() {
        let failure = Failure::default();
        let carried = failure.keep::<()>("rerank", Err(Error::Interrupted)).unwrap_err();
        assert!(matches!(failure.restore(carried.into()), Error::Interrupted));
        assert!(matches!(failure.restore(Error::usage("a", "b")), Error::Usage { .. }));
    }
}
