//! `hardrock mine`: the main job.

use std::path::PathBuf;

use clap::Args;
use hardrock::mine::spec::{KinBy, Metric};
use hardrock::mine::{self, MineSpec, Outcome, Plan, RunOptions, flags};
use hardrock::presets::{self, Preset};
use hardrock::read::{DataSpec, OnBadRow};
use hardrock::rows::RowFormat;
use hardrock::{Error, Result};

use super::model_args::ModelArgs;
use super::{nearest, print};
use crate::args::Globals;
use crate::progress::Bar;
use crate::render;

/// Mine hard negatives: candidates -> filters -> selection -> training file
///
/// Examples:
///   hardrock mine data/my-beir-folder -o train.jsonl
///   hardrock mine --pairs pairs.csv --num-negatives 7 --preset naive -o train.jsonl
///   hardrock mine DATA --model my-model-folder -o train.jsonl
///   hardrock mine DATA --source bm25,vectors --corpus-vectors c.npy --query-vectors q.npy -o t.parquet
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct MineArgs {
    /// A folder in BEIR layout, a training file in any known format, or a TOML file (see --print-spec)
    #[arg(value_name = "DATA")]
    data: Option<PathBuf>,
    /// The training file to write
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Documents: JSON lines, TSV, CSV or Parquet
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    corpus: Option<PathBuf>,
    /// Queries: JSON lines, TSV, CSV or Parquet
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    queries: Option<PathBuf>,
    /// Relevance judgements: BEIR TSV, TREC or MS MARCO
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    qrels: Option<PathBuf>,
    /// Pairs or training rows: first column = anchor, second = positive
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pairs: Option<PathBuf>,
    /// Column of the anchor in --pairs [default: the first]
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    anchor_column: Option<String>,
    /// Column of the positive in --pairs [default: the second]
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    positive_column: Option<String>,
    /// Split of a BEIR folder: the file qrels/SPLIT.tsv [default: train]
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    split: Option<String>,
    /// Lowest grade that counts as positive [default: 1]
    #[arg(long, value_name = "GRADE", help_heading = "Data")]
    level: Option<i32>,
    /// Judgements that name a missing document or query are an error, not a count
    #[arg(long, help_heading = "Data")]
    strict: bool,
    /// What to do with a broken row: stop, or skip it into OUT.rejects.jsonl [default: stop]
    #[arg(long, value_name = "stop|skip", help_heading = "Data", value_parser = parse_bad_row)]
    on_bad_row: Option<OnBadRow>,

    /// Comma list of bm25, dense, sparse, vectors, run:FILE, given, random [default: vectors where given, else bm25; dense
    /// with --model, sparse with --sparse-model beside it]
    #[arg(long, value_name = "LIST", help_heading = "Candidates")]
    source: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    /// Search vectors through clusters, to this recall of the exact result; it is measured and printed [default: exact; without a
    /// value 0.95]
    #[arg(long, value_name = "RECALL", num_args = 0..=1, default_missing_value = "0.95", help_heading = "Candidates")]
    approximate: Option<f64>,
    /// Embeddings of the corpus (.npy, .safetensors, .parquet), rows in file order or with ids
    #[arg(long, value_name = "FILE", requires = "query_vectors", help_heading = "Candidates")]
    corpus_vectors: Option<PathBuf>,
    /// Embeddings of the queries
    #[arg(long, value_name = "FILE", requires = "corpus_vectors", help_heading = "Candidates")]
    query_vectors: Option<PathBuf>,
    /// How vectors compare: cosine or dot [default: cosine]
    #[arg(long, value_name = "NAME", help_heading = "Candidates", value_parser = parse_metric)]
    metric: Option<Metric>,
    /// Candidates per anchor and source [default: 100]
    #[arg(long, value_name = "K", help_heading = "Candidates")]
    top_k: Option<usize>,
    /// BM25's k1 [default: 1.2]
    #[arg(long, value_name = "X", help_heading = "Candidates")]
    bm25_k1: Option<f64>,
    /// BM25's b, in [0, 1] [default: 0.75]
    #[arg(long, value_name = "X", help_heading = "Candidates")]
    bm25_b: Option<f64>,
    /// Language of stop words and stemming, or none; for BM25 and kin
    #[arg(long, value_name = "NAME", help_heading = "Candidates")]
    language: Option<String>,

    /// Comma list of filters, in any order; `none` for no filter [default: known,text,near,kin]
    #[arg(long, value_name = "LIST", help_heading = "Filters")]
    filter: Option<String>,
    /// Source whose score orders candidates and measures margins, or rrf [default: vectors or dense, else the first]
    #[arg(long, value_name = "SOURCE", help_heading = "Filters")]
    score_by: Option<String>,
    /// What kin measures: tf-idf or vectors [default: tf-idf]
    #[arg(long, value_name = "NAME", help_heading = "Filters", value_parser = parse_kin_by)]
    kin_by: Option<KinBy>,
    /// First rank that may be a negative, from 0 [default: 0]
    #[arg(long, value_name = "RANK", help_heading = "Filters")]
    range_min: Option<usize>,
    /// First rank that may not [default: none]
    #[arg(long, value_name = "RANK", help_heading = "Filters")]
    range_max: Option<usize>,
    /// Highest judging score of a negative
    #[arg(long, value_name = "S", help_heading = "Filters", allow_hyphen_values = true)]
    max_score: Option<f32>,
    /// Lowest judging score of a negative
    #[arg(long, value_name = "S", help_heading = "Filters", allow_hyphen_values = true)]
    min_score: Option<f32>,
    /// Keep n only if s(n) <= s(p) - M
    #[arg(long, value_name = "M", help_heading = "Filters")]
    absolute_margin: Option<f32>,
    /// Keep n only if s(n) <= s(p) - M * |s(p)|
    #[arg(long, value_name = "M", help_heading = "Filters")]
    relative_margin: Option<f32>,
    /// Positive that margins are measured against: min, max or mean [default: min]
    #[arg(long, value_name = "WHICH", help_heading = "Filters")]
    margin_against: Option<String>,

    /// Negatives per anchor [default: 5]
    #[arg(long, value_name = "N", help_heading = "Selection")]
    num_negatives: Option<usize>,
    /// top, random, weighted:T, bands:N, mix:bm25=2,random=1, simans:a=A,b=B [default: top]
    #[arg(long, value_name = "RULE", help_heading = "Selection")]
    select: Option<String>,
    /// Too few survivors: fewer, random, drop [default: fewer]
    #[arg(long, value_name = "WHAT", help_heading = "Selection")]
    shortfall: Option<String>,
    /// A published set-up by name; flags given beside it win. `--preset list` lists them
    #[arg(long, value_name = "NAME", help_heading = "Selection")]
    preset: Option<String>,

    /// Format of the output [default: from its name, else flagembedding]; see `hardrock formats`
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    format: Option<String>,
    /// Write scores also into the sentence-transformers shapes (other formats have them by default)
    #[arg(long, help_heading = "Output", conflicts_with = "no_scores")]
    scores: bool,
    /// Leave scores out of the training file
    #[arg(long, help_heading = "Output")]
    no_scores: bool,
    /// Do not write OUT.candidates.parquet
    #[arg(long, help_heading = "Output")]
    no_candidates: bool,
    /// Replace existing outputs
    #[arg(long, help_heading = "Output")]
    force: bool,

    /// Print the plan and a cost estimate from a one-second sample, then stop
    #[arg(long, help_heading = "Running")]
    explain: bool,
    /// Print the TOML that says the same as these flags, then stop
    #[arg(long, help_heading = "Running")]
    print_spec: bool,
    /// Folder for unfinished and reusable work [default: .hardrock beside the output]
    #[arg(long, value_name = "DIR", help_heading = "Running")]
    work: Option<PathBuf>,
    /// Do not use earlier work
    #[arg(long, help_heading = "Running")]
    fresh: bool,
    /// Ceiling on memory, e.g. 2GiB [default: half of what is free for indexes]
    #[arg(long, value_name = "SIZE", help_heading = "Running", value_parser = parse_bytes)]
    memory: Option<u64>,
}

pub(crate) fn parse_bad_row(text: &str) -> std::result::Result<OnBadRow, String> {
    match text {
        "stop" => Ok(OnBadRow::Stop),
        "skip" => Ok(OnBadRow::Skip),
        _ => Err("one of stop, skip".into()),
    }
}

pub(crate) fn parse_metric(text: &str) -> std::result::Result<Metric, String> {
    match text {
        "cosine" => Ok(Metric::Cosine),
        "dot" => Ok(Metric::Dot),
        _ => Err("one of cosine, dot".into()),
    }
}

fn parse_kin_by(text: &str) -> std::result::Result<KinBy, String> {
    match text {
        "tf-idf" => Ok(KinBy::TfIdf),
        "vectors" => Ok(KinBy::Vectors),
        _ => Err("one of tf-idf, vectors".into()),
    }
}

/// `2GiB`, `500MB`, `1073741824`.
pub(crate) fn parse_bytes(text: &str) -> std::result::Result<u64, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1u64,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(format!("unknown unit `{unit}`; use MiB, GiB, MB or GB")),
    };
    let value: f64 = number.trim().parse().map_err(|_| format!("`{number}` is no number"))?;
    if value > 0.0 { Ok((value * scale as f64) as u64) } else { Err("must be above 0".into()) }
}

/// Runs the command.
pub(crate) fn run(args: MineArgs, globals: &Globals) -> Result<u8> {
    if args.preset.as_deref() == Some("list") {
        for preset in presets::PRESETS {
            print(&presets::describe(preset));
        }
        return Ok(0);
    }
    let preset = args.preset.as_deref().map(find_preset).transpose()?;
    let spec = args.spec(globals, preset)?;
    if args.print_spec {
        print(&Plan::new(spec)?.spec.to_toml()?);
        return Ok(0);
    }
    let options =
        RunOptions { work: args.work.clone(), memory: args.memory, force: args.force, fresh: args.fresh };
    let bar = Bar::new(globals.quiet || globals.json);
    if let Some(preset) = preset {
        hardrock::mine::Progress::notice(&bar, &presets::describe(preset));
    }
    let cancel = super::cancel_flag()?;
    super::with_threads(globals, || {
        if args.explain {
            let estimate = mine::estimate(spec, &options, &bar, &cancel)?;
            bar.finish();
            print(&if globals.json { super::answer("mine", &estimate)? } else { estimate.to_string() });
            return Ok(0);
        }
        if spec.write.path.as_os_str().is_empty() {
            return Err(Error::usage("no output is named", "add -o FILE, e.g. -o train.jsonl"));
        }
        let outcome = mine::run(spec, &options, &bar, &cancel);
        bar.finish();
        let outcome = outcome?;
        if globals.json {
            print(&super::answer("mine", &outcome.manifest)?);
        } else if !globals.quiet {
            tell(&outcome);
        }
        Ok(0)
    })
}

/// The last line, in words.
#[expect(clippy::print_stderr, reason = "the summary belongs on stderr")]
fn tell(outcome: &Outcome) {
    eprintln!("{}", summary(outcome));
}

fn summary(outcome: &Outcome) -> String {
    let c = &outcome.manifest.counts;
    let n = render::count;
    let mut dropped: Vec<(&String, &u64)> = c.dropped.iter().filter(|(_, n)| **n > 0).collect();
    dropped.sort_by_key(|(name, n)| (std::cmp::Reverse(**n), name.as_str()));
    let reasons: Vec<String> = dropped.iter().map(|(name, count)| format!("{} {name}", n(**count))).collect();
    let total: u64 = c.dropped.values().sum();
    let many = render::plural;
    let mut text = format!("mined {} for {}", many(c.selected, "negative"), many(c.anchors, "anchor"));
    if c.filled > 0 {
        text += &format!(" ({} of them random fill)", n(c.filled));
    }
    text += &format!("; {}, {} kept, {} dropped", many(c.retrieved, "candidate"), n(c.kept), n(total));
    if !reasons.is_empty() {
        text += &format!(" ({})", reasons.join(", "));
    }
    text += &match c.short {
        0 => "; none short".to_owned(),
        short => format!("; {} short on {}", n(short), many(c.short_anchors, "anchor")),
    };
    if c.dropped_anchors > 0 {
        text += &format!("; {} left out", many(c.dropped_anchors, "anchor"));
    }
    for (what, count) in &outcome.manifest.notices {
        text += &format!("\n  note: {} {what}", n(*count));
    }
    for (source, recall) in &outcome.manifest.recall {
        text += &format!("\n  note: {source}: {recall}");
    }
    let files: Vec<String> = outcome.files.iter().map(|f| f.display().to_string()).collect();
    text += &format!(
        "\n  {} with {} at peak{}; wrote {}",
        render::seconds(outcome.seconds),
        render::bytes(outcome.manifest.peak_memory),
        if outcome.reused > 0 {
            format!(", {} finished chunks used again", n(outcome.reused))
        } else {
            String::new()
        },
        files.join(", "),
    );
    text
}

fn find_preset(name: &str) -> Result<&'static Preset> {
    Preset::find(name).ok_or_else(|| {
        let names = presets::PRESETS.iter().flat_map(|p| p.aliases.iter().copied().chain([p.name]));
        Error::usage(format!("there is no preset `{name}`"), nearest(name, names))
    })
}

impl MineArgs {
    /// TOML or defaults, then the preset, then the flags.
    fn spec(&self, globals: &Globals, preset: Option<&Preset>) -> Result<MineSpec> {
        let toml = self.data.as_deref().filter(|p| p.extension().is_some_and(|e| e == "toml"));
        let mut spec = match toml {
            Some(path) => MineSpec::from_toml(path)?,
            None => MineSpec::default(),
        };
        if toml.is_none() || globals.seed != 0 {
            spec.seed = globals.seed;
        }
        self.set_data(&mut spec.data, toml.is_some())?;
        self.set_pools(&mut spec, preset)?;
        if let Some(preset) = preset {
            flags::apply(&mut spec, &preset.sets)?;
        }
        self.set_filters(&mut spec)?;
        self.set_selection(&mut spec)?;
        Ok(spec)
    }

    fn set_data(&self, data: &mut DataSpec, from_toml: bool) -> Result<()> {
        if !from_toml && let Some(path) = &self.data {
            // A folder is a data set; a file holds training rows of a known format, or else pairs.
            let place = match path {
                _ if path.is_dir() => &mut data.folder,
                _ if hardrock::rows::guess(path).is_ok() => &mut data.rows,
                _ => &mut data.pairs,
            };
            *place = Some(path.clone());
        }
        let set = |to: &mut Option<PathBuf>, from: &Option<PathBuf>| {
            if from.is_some() {
                to.clone_from(from);
            }
        };
        // Two files of vectors and nothing else: ids are all that is known.
        let nothing =
            self.data.is_none() && self.pairs.is_none() && self.corpus.is_none() && self.queries.is_none();
        if nothing {
            set(&mut data.corpus, &self.corpus_vectors);
            set(&mut data.queries, &self.query_vectors);
        }
        set(&mut data.corpus, &self.corpus);
        set(&mut data.queries, &self.queries);
        set(&mut data.qrels, &self.qrels);
        set(&mut data.pairs, &self.pairs);
        if self.anchor_column.is_some() {
            data.anchor_column.clone_from(&self.anchor_column);
        }
        if self.positive_column.is_some() {
            data.positive_column.clone_from(&self.positive_column);
        }
        if self.split.is_some() {
            data.split.clone_from(&self.split);
        }
        if let Some(level) = self.level {
            data.level = level;
        }
        data.strict |= self.strict;
        if let Some(on_bad_row) = self.on_bad_row {
            data.on_bad_row = on_bad_row;
        }
        Ok(())
    }

    fn set_pools(&self, spec: &mut MineSpec, preset: Option<&Preset>) -> Result<()> {
        let vectors = self.corpus_vectors.as_deref().zip(self.query_vectors.as_deref());
        let dense = self.model.dense();
        let sparse = self.model.sparse();
        let given = flags::Given { vectors, model: dense.as_ref(), sparse: sparse.as_ref() };
        if let Some(list) = &self.source {
            spec.pool = flags::pools(list, given)?;
        } else if spec.pool.is_empty() || vectors.is_some() || dense.is_some() || sparse.is_some() {
            spec.pool = flags::pools(&given.default_sources(), given)?;
        }
        if let Some(recall) = self.approximate {
            super::search_approximately(spec, recall)?;
        }
        self.refuse_unused(spec)?;
        if let Some(language) = &self.language {
            flags::set_language(&mut spec.judge.kin_tokens, language);
        }
        let depth = self.top_k.or(preset.and_then(|p| p.sets.top_k));
        for pool in &mut spec.pool {
            if let Some(depth) = depth {
                pool.depth = depth;
            }
            match &mut pool.source {
                mine::spec::SourceSpec::Bm25(bm25) => {
                    bm25.weights.k1 = self.bm25_k1.unwrap_or(bm25.weights.k1);
                    bm25.weights.b = self.bm25_b.unwrap_or(bm25.weights.b);
                    if let Some(language) = &self.language {
                        flags::set_language(&mut bm25.tokens, language);
                    }
                }
                source => {
                    if let Some(metric) = self.metric {
                        source.compare_by(metric);
                    }
                }
            }
        }
        Ok(())
    }

    /// An option about a source that this run does not have is a mistake, not a wish.
    fn refuse_unused(&self, spec: &MineSpec) -> Result<()> {
        use mine::spec::SourceSpec::{Bm25, Dense, Sparse, Vectors};
        let bm25 = spec.pool.iter().any(|p| matches!(p.source, Bm25(_)));
        let model = spec.pool.iter().any(|p| matches!(p.source, Dense(_)));
        let vectors = spec.pool.iter().any(|p| matches!(p.source, Vectors(_)));
        let sparse = spec.pool.iter().any(|p| matches!(p.source, Sparse(_)));
        let unused = [
            ("--bm25-k1", self.bm25_k1.is_some() && !bm25, "add bm25 to --source"),
            ("--bm25-b", self.bm25_b.is_some() && !bm25, "add bm25 to --source"),
            (
                "--metric",
                self.metric.is_some() && !vectors && !model,
                "add --model, or --corpus-vectors and --query-vectors",
            ),
            ("--model", self.model.dense().is_some() && !model, "add dense to --source"),
            ("--sparse-model", self.model.sparse().is_some() && !sparse, "add sparse to --source"),
            ("--corpus-vectors", self.corpus_vectors.is_some() && !vectors, "add vectors to --source"),
        ];
        match unused.iter().find(|(_, unused, _)| *unused) {
            Some((option, _, help)) => {
                Err(Error::usage(format!("{option} is given, but no source of this run uses it"), *help))
            }
            None => Ok(()),
        }
    }

    fn set_filters(&self, spec: &mut MineSpec) -> Result<()> {
        if let Some(list) = &self.filter {
            flags::set_filters(&mut spec.filters, list)?;
        }
        if self.score_by.is_some() {
            spec.judge.score_by.clone_from(&self.score_by);
        }
        spec.judge.kin_by = self.kin_by.unwrap_or(spec.judge.kin_by);
        flags::set_scores(
            &mut spec.filters,
            &flags::Scores {
                range_min: self.range_min,
                range_max: self.range_max,
                max_score: self.max_score,
                min_score: self.min_score,
                absolute_margin: self.absolute_margin,
                relative_margin: self.relative_margin,
                margin_against: self.margin_against.as_deref(),
            },
        )
    }

    fn set_selection(&self, spec: &mut MineSpec) -> Result<()> {
        spec.select.negatives = self.num_negatives.unwrap_or(spec.select.negatives);
        if let Some(rule) = &self.select {
            spec.select.rule = flags::selector(rule)?;
        }
        if let Some(what) = &self.shortfall {
            spec.select.shortfall = flags::shortfall(what)?;
        }
        if let Some(path) = &self.output {
            spec.write.path.clone_from(path);
        }
        if let Some(name) = &self.format {
            spec.write.format = Some(RowFormat::parse(name)?);
        }
        if self.scores || self.no_scores {
            spec.write.scores = Some(self.scores);
        }
        spec.write.keep_candidates &= !self.no_candidates;
        Ok(())
    }
}
