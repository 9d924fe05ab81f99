//! The vectors of a job's dense and sparse pools: given in files, or made by a model.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hardrock_core::AnchorId;

use super::Progress;
use super::plan::Plan;
use super::spec::{DenseSpec, PoolSpec, SourceSpec, VectorsSpec};
use crate::Result;
use crate::embed::{self, Outlook, SparseTable, Wanted};
use crate::models::{self, Embedder, ModelOptions, Prompts, Roles, SparseEmbedder};
use crate::read::{self, Dataset, Table};
use crate::sources::{self, NO_ROW, Vectors};
use crate::store::{Key, Store};

/// A pool's model.
pub(super) enum Model {
    Dense(Box<dyn Embedder>),
    Sparse(Box<dyn SparseEmbedder>),
}

impl Model {
    /// See [`Embedder::fingerprint`].
    pub(super) fn fingerprint(&self) -> &str {
        match self {
            Self::Dense(model) => model.fingerprint(),
            Self::Sparse(model) => model.fingerprint(),
        }
    }
}

/// One model per pool that has one.
pub(super) type Models = Vec<Option<Model>>;

/// Opens the models, so that a wrong name ends the run before anything is read.
pub(super) fn open_models(plan: &Plan, progress: &dyn Progress, cancel: &AtomicBool) -> Result<Models> {
    let open = |pool: &PoolSpec| -> Result<Option<Model>> {
        match &pool.source {
            SourceSpec::Dense(dense) => {
                let model = models::open_watched(&dense.model, &options(dense), progress, cancel)?;
                Ok(Some(Model::Dense(model)))
            }
            SourceSpec::Sparse(sparse) => {
                let prompts =
                    Roles { query: sparse.prompt_query.clone(), passage: sparse.prompt_passage.clone() };
                let options =
                    ModelOptions { prompts, max_length: sparse.max_length, ..ModelOptions::default() };
                let model = models::open_sparse(&sparse.model, &options, progress, cancel)?;
                Ok(Some(Model::Sparse(model)))
            }
            _ => Ok(None),
        }
    };
    plan.spec.pool.iter().map(open).collect()
}

fn options(dense: &DenseSpec) -> ModelOptions {
    let prompts = Roles { query: dense.prompt_query.clone(), passage: dense.prompt_passage.clone() };
    let remote = dense.remote.clone().unwrap_or_default();
    ModelOptions { prompts, max_length: dense.max_length, truncate_dim: dense.truncate_dim, remote }
}

/// The files of given embeddings, without the `#NAME` of an array in them.
pub(super) fn files(v: &VectorsSpec) -> Vec<PathBuf> {
    let with_ids = |p: &PathBuf| [Some(read::vectors::file_of(p)), read::vectors::ids_file(p)];
    [&v.corpus, &v.queries].into_iter().flat_map(with_ids).flatten().collect()
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
    /// Sparse ones of documents and queries.
    Sparse(Box<[SparseTable; 2]>),
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

    /// Sparse vectors of documents and queries, if they are there.
    pub(super) fn sparse(&self) -> Option<&[SparseTable; 2]> {
        match self {
            Self::Sparse(pair) => Some(pair),
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
            out.push(match (&pool.source, model) {
                (SourceSpec::Vectors(spec), _) => self.given(spec)?,
                (SourceSpec::Dense(spec), Some(Model::Dense(model))) => {
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
                (SourceSpec::Sparse(spec), Some(Model::Sparse(model))) => {
                    let made = self.made_sparse(&**model, how, progress, cancel)?;
                    if let Some([documents, _]) = made.sparse() {
                        let empty = documents.empties();
                        if empty > 0 {
                            let what = format!("documents of which {} makes an empty vector", spec.model);
                            notices.insert(what, empty);
                        }
                    }
                    made
                }
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

    fn made(
        &self,
        spec: &DenseSpec,
        model: &dyn Embedder,
        how: Encode,
        progress: &dyn Progress,
        cancel: &AtomicBool,
    ) -> Result<Pair> {
        let mut cache = embed::open_cache(self.store, model)?;
        let records = self.records();
        let sides = self.sides(&records, model.prompts());
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
        let [documents, queries] = rows.as_slice() else { return Ok(Pair::None) };
        let order = self.order(&records[1], queries);
        let rows = Arc::new(cache.into_rows());
        let vectors = |order| Vectors::cached(rows.clone(), order).compared_by(spec.metric);
        Ok(Pair::Ready(Box::new([vectors(documents.clone()), vectors(order)])))
    }

    /// All documents, and the judged anchors.
    fn records(&self) -> [Vec<u32>; 2] {
        [(0..self.dataset.items.len() as u32).collect(), self.judged.iter().map(|a| a.0).collect()]
    }

    /// What is to be encoded.
    fn sides<'a>(&'a self, records: &'a [Vec<u32>; 2], prompts: &'a Prompts) -> [Wanted<'a>; 2] {
        fn side<'a>(table: &'a Table, records: &'a [u32], prompt: &'a str, name: &'a str) -> Wanted<'a> {
            Wanted { table, records, prompt, name }
        }
        let Dataset { items, anchors, .. } = self.dataset;
        [
            side(items, &records[0], &prompts.passage, "documents"),
            side(anchors, &records[1], &prompts.query, "queries"),
        ]
    }

    /// The row of every anchor, of which only the judged ones have any.
    fn order(&self, judged: &[u32], rows: &[u32]) -> Vec<u32> {
        let mut order = vec![NO_ROW; self.dataset.anchors.len()];
        for (&anchor, &row) in judged.iter().zip(rows) {
            order[anchor as usize] = row;
        }
        order
    }

    fn made_sparse(
        &self,
        model: &dyn SparseEmbedder,
        how: Encode,
        progress: &dyn Progress,
        cancel: &AtomicBool,
    ) -> Result<Pair> {
        let mut cache = embed::open_sparse_cache(self.store, model)?;
        let records = self.records();
        let sides = self.sides(&records, model.prompts());
        if let Encode::Sample(seconds) = how {
            let mut all = Outlook { missing: 0, rate: 0.0 };
            for wanted in &sides {
                let seen = embed::sample_sparse(wanted, model, &mut cache, seconds, cancel)?;
                all.missing += seen.missing;
                all.rate = if all.rate > 0.0 { all.rate } else { seen.rate };
            }
            if all.missing > 0 {
                return Ok(Pair::Pending(all));
            }
        }
        let mut rows = Vec::new();
        for wanted in &sides {
            rows.push(embed::encode_sparse(wanted, model, &mut cache, progress, cancel)?.0);
        }
        let [documents, queries] = rows.as_slice() else { return Ok(Pair::None) };
        let order = self.order(&records[1], queries);
        let cached = Arc::new(cache.into_rows());
        let table = |order| SparseTable::new(cached.clone(), order);
        Ok(Pair::Sparse(Box::new([table(documents.clone()), table(order)])))
    }
}
