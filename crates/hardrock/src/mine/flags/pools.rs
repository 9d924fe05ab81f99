//! `--source`: candidates from texts, vectors, models, graphs and files.

use std::path::Path;

use super::{needed, parts, unknown};
use crate::mine::spec::{
    Bm25Spec, DEFAULT_DEPTH, DenseSpec, GraphSpec, Metric, PoolSpec, RunSpec, SourceSpec, VectorsSpec,
};
use crate::train::StaticSpec;
use crate::{Error, Result};

/// One source without files: `bm25`, `static`, `given`, `random`, `run:FILE`.
pub fn pool(entry: &str, depth: usize) -> Result<PoolSpec> {
    let (name, argument) = parts(entry);
    let source = match name {
        "bm25" => SourceSpec::Bm25(Bm25Spec::default()),
        "static" => SourceSpec::Static(StaticSpec::default()),
        "given" => SourceSpec::Given {},
        "random" => SourceSpec::Random {},
        "run" => {
            let path = needed("run", argument, "run:bm25.trec")?.into();
            return Ok(PoolSpec {
                name: run_name(argument.unwrap_or_default()),
                depth,
                source: SourceSpec::Run(RunSpec { path }),
            });
        }
        _ => {
            return Err(unknown(
                "source",
                name,
                &["bm25", "dense", "static", "vectors", "graph", "run", "given", "random"],
            ));
        }
    };
    Ok(PoolSpec { name: name.to_owned(), depth, source })
}

/// A column name from a run's file name: `runs/BM25_top.trec.gz` is `bm25-top`.
fn run_name(path: &str) -> String {
    let stem = Path::new(path).file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let stem = stem.split('.').find(|s| !s.is_empty()).unwrap_or("run");
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    if name.is_empty() { "run".to_owned() } else { name }
}

/// The pool of given embeddings.
pub fn vectors_pool(corpus: &Path, queries: &Path) -> PoolSpec {
    PoolSpec {
        name: "vectors".to_owned(),
        depth: DEFAULT_DEPTH,
        source: SourceSpec::Vectors(VectorsSpec {
            corpus: corpus.to_owned(),
            queries: queries.to_owned(),
            metric: Metric::default(),
            approximate: None,
        }),
    }
}

/// What sources can be made of besides the texts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// Vectors of the corpus and of the queries.
    pub vectors: Option<(&'a Path, &'a Path)>,
    /// An encoder.
    pub model: Option<&'a DenseSpec>,
}

impl Given<'_> {
    /// The sources when none are named: the given vectors, a model beside BM25 (two views of the same texts), or BM25.
    pub fn default_sources(&self) -> &'static str {
        match (self.vectors.is_some(), self.model.is_some()) {
            (true, true) => "vectors,dense",
            (true, false) => "vectors",
            (false, true) => "bm25,dense",
            (false, false) => "bm25",
        }
    }
}

/// A graph over the given vectors, else over the model's, else over BM25, or over the one that is named.
fn graph_pool(entry: &str, given: Given<'_>) -> Result<PoolSpec> {
    let (_, named) = parts(entry);
    let over = match (named, given.vectors, given.model) {
        (Some(name @ ("bm25" | "dense" | "vectors")), ..) => name,
        (Some(name), ..) => return Err(unknown("graph over", name, &["bm25", "dense", "vectors"])),
        (None, Some(_), _) => "vectors",
        (None, None, Some(_)) => "dense",
        (None, None, None) => "bm25",
    };
    let over = source(over, given)?.source;
    let graph = GraphSpec { over: Box::new(over), neighbours: None, retrieved: 0 };
    Ok(PoolSpec { name: entry.replace(':', "-"), depth: DEFAULT_DEPTH, source: SourceSpec::Graph(graph) })
}

/// One source, from what is given.
fn source(entry: &str, given: Given<'_>) -> Result<PoolSpec> {
    match entry {
        "vectors" => match given.vectors {
            Some((corpus, queries)) => Ok(vectors_pool(corpus, queries)),
            None => Err(Error::usage(
                "--source vectors has no vectors",
                "add --corpus-vectors FILE --query-vectors FILE",
            )),
        },
        "dense" => match given.model {
            Some(dense) => Ok(PoolSpec {
                name: "dense".to_owned(),
                depth: DEFAULT_DEPTH,
                source: SourceSpec::Dense(dense.clone()),
            }),
            None => Err(Error::usage("--source dense has no model", "add --model FOLDER")),
        },
        _ if parts(entry).0 == "graph" => graph_pool(entry, given),
        _ => self::pool(entry, DEFAULT_DEPTH),
    }
}

/// `--source LIST`.
pub fn pools(list: &str, given: Given<'_>) -> Result<Vec<PoolSpec>> {
    let mut pools: Vec<PoolSpec> = Vec::new();
    for entry in list.split(',').map(str::trim).filter(|e| !e.is_empty()) {
        let mut pool = source(entry, given)?;
        // Two run files of one name in different folders are still two sources.
        let base = pool.name.clone();
        let mut copy = 1;
        while entry.starts_with("run:") && pools.iter().any(|p| p.name == pool.name) {
            copy += 1;
            pool.name = format!("{base}-{copy}");
        }
        pools.push(pool);
    }
    if pools.is_empty() {
        return Err(Error::usage("--source names no source", "e.g. --source bm25"));
    }
    Ok(pools)
}
