//! What was typed: which files hold the data, and in what shape.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bad_rows::OnBadRow;
use super::files;
use crate::rows::{self, RowFormat};
use crate::{Error, Result};

/// The `[data]` table. One shape is given: `folder`, or `corpus` and `queries` (with `qrels`), or `pairs`, or `triples`,
/// or `rows`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct DataSpec {
    /// A folder in BEIR layout, or as on the Hugging Face hub (`corpus/*.parquet` …).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// The folder's qrels: `qrels/<split>.tsv`; `train` when it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The documents: a file, or a folder of shards, or a file of vectors (`.npy`, `.safetensors`) for ids without texts. With `pairs` or `triples` optional.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corpus: Option<PathBuf>,
    /// The anchors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queries: Option<PathBuf>,
    /// Which documents belong to which anchor. Without it every query is an anchor without positives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qrels: Option<PathBuf>,
    /// Rows of two texts: anchor and positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<PathBuf>,
    /// Rows of three texts: anchor, positive, negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub triples: Option<PathBuf>,
    /// Training rows as trainers read them. Texts of what comes by id alone stand in `corpus` and `queries`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<PathBuf>,
    /// Format of `rows`; told by name and content when it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<RowFormat>,
    /// Column of the anchor in `pairs`, `triples` and `rows`; else `anchor`, else the first text column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor_column: Option<String>,
    /// Column of the positive; else `positive`, else the second text column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive_column: Option<String>,
    /// Column of the negative in `triples`; else `negative`, else the third text column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_column: Option<String>,
    /// The least grade that makes a judged document a positive.
    pub level: i32,
    /// Judgements of queries or documents that are not there are errors instead of notices.
    pub strict: bool,
    /// What to do with a record that cannot be read.
    pub on_bad_row: OnBadRow,
}

impl Default for DataSpec {
    fn default() -> Self {
        Self {
            folder: None,
            split: None,
            corpus: None,
            queries: None,
            qrels: None,
            pairs: None,
            triples: None,
            rows: None,
            format: None,
            anchor_column: None,
            positive_column: None,
            negative_column: None,
            level: 1,
            strict: false,
            on_bad_row: OnBadRow::Stop,
        }
    }
}

/// The files of a job, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Judged { corpus: Vec<PathBuf>, queries: Vec<PathBuf>, qrels: Vec<PathBuf> },
    Texts { rows: Vec<PathBuf>, corpus: Vec<PathBuf>, negatives: bool },
    Rows { rows: Vec<PathBuf>, format: RowFormat, corpus: Vec<PathBuf>, queries: Vec<PathBuf> },
}

const SHAPES: &str = "give a folder in BEIR layout, or `corpus` and `queries` (with `qrels`), or `pairs`, or `triples`, or `rows`";

impl DataSpec {
    /// A folder with its default split.
    pub fn of_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..Self::default() }
    }

    /// Whether the records have ids only: the corpus or the queries are a file of vectors.
    pub fn ids_only(&self) -> bool {
        [&self.corpus, &self.queries].into_iter().flatten().any(|p| super::judged::is_vectors(p))
    }

    /// Every file that a load reads, in reading order: the inputs to hash. Missing files are errors.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        Ok(match self.shape()? {
            Shape::Judged { corpus, queries, qrels } => {
                let ids =
                    [&corpus, &queries].into_iter().flatten().filter_map(|p| super::vectors::ids_file(p));
                let ids: Vec<PathBuf> = ids.filter(|_| self.ids_only()).collect();
                [qrels, queries, corpus, ids].concat()
            }
            Shape::Texts { rows, corpus, .. } => [corpus, rows].concat(),
            Shape::Rows { rows, corpus, queries, .. } => [corpus, queries, rows].concat(),
        })
    }

    /// Finds the files. Contradicting keys and missing files are errors.
    pub(crate) fn shape(&self) -> Result<Shape> {
        let contradicts =
            |a: &str, b: &str| Err(Error::usage(format!("`{a}` and `{b}` contradict each other"), SHAPES));
        let given = |key: &'static str, there: bool| there.then_some(key);
        let shapes = [
            given("folder", self.folder.is_some()),
            given("rows", self.rows.is_some()),
            given("queries", self.queries.is_some() && self.rows.is_none()),
            given("pairs", self.pairs.is_some()),
            given("triples", self.triples.is_some()),
        ];
        let mut shapes = shapes.into_iter().flatten();
        let Some(shape) = shapes.next() else {
            return Err(match (&self.corpus, &self.qrels) {
                (None, None) => Error::usage("no data is given", SHAPES),
                _ => Error::usage("`queries` is missing beside `corpus` and `qrels`", SHAPES),
            });
        };
        if let Some(other) = shapes.next() {
            return contradicts(shape, other);
        }
        if shape != "folder" && self.split.is_some() && self.qrels.is_none() {
            return contradicts("split", shape);
        }
        if shape != "queries" && self.qrels.is_some() {
            return contradicts("qrels", shape);
        }
        if shape != "rows" && self.format.is_some() {
            return contradicts("format", shape);
        }
        let texts = matches!(shape, "pairs" | "triples" | "rows");
        let columns = [
            ("anchor_column", &self.anchor_column, texts),
            ("positive_column", &self.positive_column, texts),
            ("negative_column", &self.negative_column, texts && shape != "pairs"),
        ];
        if let Some((key, ..)) = columns.iter().find(|(_, name, fits)| name.is_some() && !fits) {
            return contradicts(key, shape);
        }
        if texts && self.level != 1 {
            return Err(Error::usage(
                format!("`level` is {}, but {shape} have no grades", self.level),
                "leave `level` out: every positive of a row counts",
            ));
        }
        if let Some(folder) = &self.folder {
            if self.corpus.is_some() {
                return contradicts("folder", "corpus");
            }
            return self.folder_shape(folder);
        }
        let corpus = self.corpus.as_deref().map(table_files).transpose()?;
        if let Some(rows) = self.pairs.as_deref().or(self.triples.as_deref()) {
            let (rows, corpus) = (table_files(rows)?, corpus.unwrap_or_default());
            return Ok(Shape::Texts { rows, corpus, negatives: self.triples.is_some() });
        }
        if let Some(rows) = &self.rows {
            return self.rows_shape(rows, corpus);
        }
        let (Some(queries), Some(corpus)) = (&self.queries, corpus) else {
            return Err(Error::usage("`corpus` is missing beside `queries`", SHAPES));
        };
        let qrels = self.qrels.as_deref().map(table_files).transpose()?.unwrap_or_default();
        for file in &qrels {
            self.no_oracle(file)?;
        }
        Ok(Shape::Judged { corpus, queries: table_files(queries)?, qrels })
    }

    fn rows_shape(&self, rows: &Path, corpus: Option<Vec<PathBuf>>) -> Result<Shape> {
        let files = table_files(rows)?;
        let format = match (self.format, files.first()) {
            (Some(format), _) => format,
            (None, Some(first)) => rows::guess(first)?,
            (None, None) => RowFormat::Native,
        };
        let beside = || {
            let beside = files.iter().map(|f| rows::corpus_path(f)).filter(|p| p.is_file());
            if format == RowFormat::TevatronV2 { beside.collect() } else { Vec::new() }
        };
        let corpus = corpus.unwrap_or_else(beside);
        let queries = self.queries.as_deref().map(table_files).transpose()?.unwrap_or_default();
        Ok(Shape::Rows { rows: files, format, corpus, queries })
    }

    fn folder_shape(&self, folder: &Path) -> Result<Shape> {
        if !folder.exists() {
            return Err(files::missing(folder));
        }
        if !folder.is_dir() {
            return Err(Error::input(
                folder,
                None,
                "is a file, a folder in BEIR layout is wanted",
                "give single files as `corpus`, `queries`, `qrels` or `pairs`",
            ));
        }
        let split = self.split.as_deref().unwrap_or("train");
        let splits = splits(folder)?;
        let Some((_, qrels)) = splits.iter().find(|(name, _)| name == split) else {
            let names: Vec<&str> =
                splits.iter().map(|(n, _)| n.as_str()).filter(|n| !n.starts_with("oracle")).collect();
            let help = match names.as_slice() {
                [] => format!("put the judgements into {}", folder.join("qrels").join("train.tsv").display()),
                [first, ..] => {
                    format!("the splits here are {}; choose one with --split {first}", names.join(", "))
                }
            };
            return Err(Error::input(
                folder,
                None,
                format!("there are no qrels for the split `{split}`"),
                help,
            ));
        };
        let table = |stem: &str| match files::find(folder, stem)? {
            Some(files) => Ok(files),
            None => Err(Error::input(
                folder,
                None,
                format!("holds no {stem}.jsonl"),
                format!(
                    "a BEIR folder has {stem}.jsonl, {stem}.jsonl.gz, {stem}.parquet or {stem}/*.parquet"
                ),
            )),
        };
        Ok(Shape::Judged { corpus: table("corpus")?, queries: table("queries")?, qrels: qrels.clone() })
    }

    /// An oracle names all that is relevant, for scoring; a job that reads it by mistake would look perfect.
    fn no_oracle(&self, file: &Path) -> Result<()> {
        let stem = files::stem_of(file).unwrap_or_default();
        if !files::name_of(file).starts_with("oracle") || self.split.as_deref() == Some(stem) {
            return Ok(());
        }
        Err(Error::input(
            file,
            None,
            "is an oracle, which is for scoring only",
            format!("give the labelled judgements, or say that you mean it with --split {stem}"),
        ))
    }
}

/// A file, or the shards in a folder.
fn table_files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![files::locate(path)?]);
    }
    let files = files::data_files(path)?;
    if files.is_empty() {
        return Err(Error::input(
            path,
            None,
            "is a folder without data files",
            "data files end in .jsonl, .tsv, .csv (each also .gz, .zst) or .parquet",
        ));
    }
    Ok(files)
}

/// The splits of a folder by name: `qrels/test.tsv`, shards `qrels/test-00000-of-00002.parquet`, or a folder `qrels/test/`;
/// `default/` stands for `qrels/` in repositories of the Hugging Face hub.
fn splits(folder: &Path) -> Result<Vec<(String, Vec<PathBuf>)>> {
    let mut splits: std::collections::BTreeMap<String, Vec<PathBuf>> = Default::default();
    let Some(qrels) = ["qrels", "default"].map(|n| folder.join(n)).into_iter().find(|p| p.is_dir()) else {
        return Ok(Vec::new());
    };
    for file in files::data_files(&qrels)? {
        if let Some(stem) = files::stem_of(&file) {
            splits.entry(without_shard(stem).to_owned()).or_default().push(file);
        }
    }
    for entry in std::fs::read_dir(&qrels).map_err(Error::io("read", &qrels))? {
        let inside = entry.map_err(Error::io("read", &qrels))?.path();
        if inside.is_dir() {
            let files = files::data_files(&inside)?;
            if !files.is_empty() {
                splits.entry(files::name_of(&inside)).or_default().extend(files);
            }
        }
    }
    for (split, files) in &splits {
        let sharded =
            |f: &PathBuf| files::stem_of(f).is_none_or(|s| s != split) || f.parent() != Some(&qrels);
        if let [first, second, ..] = files.as_slice()
            && !(sharded(first) && sharded(second))
        {
            return Err(Error::input(
                &qrels,
                None,
                format!("both {} and {} are here", files::name_of(first), files::name_of(second)),
                "remove one of them, or name the one that you mean as `qrels`",
            ));
        }
    }
    Ok(splits.into_iter().collect())
}

/// `test-00000-of-00002` is a shard of `test`.
fn without_shard(stem: &str) -> &str {
    let Some((head, count)) = stem.rsplit_once("-of-") else { return stem };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    match head.rsplit_once('-') {
        Some((name, number)) if digits(number) && digits(count) => name,
        _ => stem,
    }
}
