//! The vectors of a job's dense pools: given in files, or made by a model.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hardrock_core::AnchorId;

use super::Progress;
use super::plan::Plan;
use super::spec::{DenseSpec, Metric, PoolSpec, SourceSpec, VectorsSpec};
use crate::Result;
use crate::embed::{self, Outlook, Wanted};
use crate::models::{self, Embedder, ModelOptions, Roles};
use crate::read::{self, Dataset, Table};
use crate::sources::{self, NO_ROW, Vectors};
use crate::store::{Key, Store};
use crate::train::{StaticSpec, train_source};

/// One model per pool that has one.
pub(super) type Models = Vec<Option<Box<dyn Embedder>>>;

/// Opens the models, so that a wrong name ends the run before anything is read.
pub(super) fn open_models(plan: &Plan, progress: &dyn Progress, cancel: &AtomicBool) -> Result<Models> {
    let open = |pool: &PoolSpec| match pool.source.compares() {
        SourceSpec::Dense(dense) => {
            models::open_watched(&dense.model, &options(dense), progress, cancel).map(Some)
        }
        _ => Ok(None),
    };
    plan.spec.pool.iter().map(open).collect()
}

fn options(dense: &DenseSpec) -> ModelOptions {
    let prompts = Roles { query: dense.prompt_query.clone(), passage: dense.prompt_passage.clone() };
    ModelOptions {
        prompts,
        max_length: dense.max_length,
        truncate_dim: dense.truncate_dim,
        precision: dense.precision,
        remote: dense.remote.clone().unwrap_or_default(),
    }
}

/// The files of given embeddings with those beside them, without the `#NAME` of an array in them.
pub(super) fn files(v: &VectorsSpec) -> Vec<PathBuf> {
    let all = |p: &PathBuf| [vec![read::vectors::file_of(p)], read::vectors::side_files(p)].concat();
    [&v.corpus, &v.queries].into_iter().flat_map(all).collect()
}

/// How far a job goes in encoding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Encode {
    /// All that is needed.
    All,
    /// A sample for about this many seconds, where vectors are missing.
    Sample(f64),
}

/// The vectors of one pool.
pub(super) enum Pair {
    /// The pool has no vectors.
    None,
    /// Documents and queries.
    Ready(Box<[Vectors; 2]>),
    /// They are not made yet.
    Pending(Outlook),
}

impl Pair {
    /// What is still to be encoded.
    pub(super) fn pending(&self) -> Option<Outlook> {
        match self {
            Self::Pending(outlook) => Some(*outlook),
            _ => None,
        }
    }

    /// Documents and queries, if they are there.
    pub(super) fn ready(&self) -> Option<&[Vectors; 2]> {
        match self {
            Self::Ready(pair) => Some(pair),
            _ => None,
        }
    }
}

/// What vectors belong to.
pub(super) struct Side<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) judged: &'a [AnchorId],
    pub(super) store: &'a Store,
    pub(super) read_key: &'a Key,
}

impl Side<'_> {
    /// The vectors of every pool, in column order; models encode what is missing.
    pub(super) fn open(
        &self,
        plan: &Plan,
        models: &Models,
        how: Encode,
        notices: &mut BTreeMap<String, u64>,
        progress: &dyn Progress,
        cancel: &AtomicBool,
    ) -> Result<Vec<Pair>> {
        let mut out = Vec::new();
        for (pool, model) in plan.spec.pool.iter().zip(models) {
            out.push(match (pool.source.compares(), model) {
                (SourceSpec::Vectors(spec), _) => self.given(spec)?,
                (SourceSpec::Dense(spec), Some(model)) => {
                    let made = self.made(spec, &**model, how, progress, cancel)?;
                    if let Some([documents, _]) = made.ready() {
                        let zeros = documents.zeros()?;
                        if zeros > 0 {
                            notices.insert(
                                format!("documents of which {} makes a zero vector", spec.model),
                                zeros,
                            );
                        }
                    }
                    made
                }
                (SourceSpec::Static(spec), _) => self.trained(spec, plan, progress, cancel)?,
                _ => Pair::None,
            });
        }
        Ok(out)
    }

    fn given(&self, spec: &VectorsSpec) -> Result<Pair> {
        let key = Key::new("vectors").with("read", self.read_key.hex()).with_json("pool", spec)?;
        let stage = self.store.stage("vectors", &key)?;
        let open = |path, table, side| sources::open_vectors(path, table, side, spec.metric, stage.folder());
        let documents = open(&spec.corpus, &self.dataset.items, "documents")?;
        let queries = open(&spec.queries, &self.dataset.anchors, "queries")?;
        Ok(Pair::Ready(Box::new([documents, queries])))
    }

    /// The vectors of an encoder that is trained on the data's own pairs.
    fn trained(
        &self,
        spec: &StaticSpec,
        plan: &Plan,
        progress: &dyn Progress,
        cancel: &AtomicBool,
    ) -> Result<Pair> {
        let level = plan.spec.data.level;
        let encoder = StaticSpec { approximate: None, metric: Metric::default(), ..spec.clone() };
        let key = Key::new("static")
            .with("read", self.read_key.hex())
            .with_json("encoder", &encoder)?
            .with("seed", plan.spec.seed.to_le_bytes());
        let stage = self.store.stage("static", &key)?;
        let anchors: Vec<u32> = self.judged.iter().map(|a| a.0).collect();
        let data = (self.dataset, level, &anchors[..]);
        let folder = train_source(&encoder, plan.spec.seed, data, stage.folder(), progress, cancel)?;
        let dense = DenseSpec::of_model(folder.display().to_string()).compared_by(spec.metric);
        let model = models::open(&dense.model, &ModelOptions::default())?;
        self.made(&dense, &*model, Encode::All, progress, cancel)
    }

    fn made(
        &self,
        spec: &DenseSpec,
        model: &dyn Embedder,
        how: Encode,
        progress: &dyn Progress,
        cancel: &AtomicBool,
    ) -> Result<Pair> {
        let mut cache = embed::open_cache(self.store, model)?;
        let Dataset { items, anchors, .. } = self.dataset;
        let documents: Vec<u32> = (0..items.len() as u32).collect();
        let judged: Vec<u32> = self.judged.iter().map(|a| a.0).collect();
        let prompts = model.prompts();
        fn side<'a>(table: &'a Table, records: &'a [u32], prompt: &'a str, name: &'a str) -> Wanted<'a> {
            Wanted { table, records, prompt, name }
        }
        let sides = [
            side(items, &documents, &prompts.passage, "documents"),
            side(anchors, &judged, &prompts.query, "queries"),
        ];
        if let Encode::Sample(seconds) = how {
            let mut all = Outlook { missing: 0, rate: 0.0 };
            for wanted in &sides {
                let seen = embed::sample(wanted, model, &mut cache, seconds, cancel)?;
                all.missing += seen.missing;
                // Documents are the many and the long: their rate stands for all.
                all.rate = if all.rate > 0.0 { all.rate } else { seen.rate };
            }
            if all.missing > 0 {
                return Ok(Pair::Pending(all));
            }
        }
        let mut rows = Vec::new();
        for wanted in &sides {
            rows.push(embed::encode(wanted, model, &mut cache, progress, cancel)?.0);
        }
        let mut order = vec![NO_ROW; anchors.len()];
        let [documents, queries] = rows.as_slice() else { return Ok(Pair::None) };
        for (&anchor, &row) in judged.iter().zip(queries) {
            order[anchor as usize] = row;
        }
        let rows = Arc::new(cache.into_rows());
        let vectors = |order| Vectors::cached(rows.clone(), order).compared_by(spec.metric);
        Ok(Pair::Ready(Box::new([vectors(documents.clone()), vectors(order)])))
    }
}
