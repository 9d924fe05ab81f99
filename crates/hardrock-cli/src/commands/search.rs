//! `hardrock search`: only the candidates.

use std::path::PathBuf;

use clap::Args;
use hardrock::Result;
use hardrock::mine::spec::Metric;
use hardrock::mine::{self, MineSpec, RunOptions, flags};
use hardrock::rows::RowFormat;

use super::model_args::ModelArgs;
use super::print;
use crate::args::Globals;
use crate::progress::Bar;
use crate::render;

/// Find candidates only: every query's best documents, as a TREC run or a table
///
/// Examples:
///   hardrock search data/my-beir-folder -o bm25.trec
///   hardrock search DATA --source vectors --corpus-vectors c.npy --query-vectors q.npy --top-k 1000 -o dense.trec
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SearchArgs {
    /// A folder in BEIR layout
    #[arg(value_name = "DATA")]
    data: Option<PathBuf>,
    /// The run to write (.parquet: a table)
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Documents
    #[arg(long, value_name = "FILE", conflicts_with = "data", requires = "queries")]
    corpus: Option<PathBuf>,
    /// Queries
    #[arg(long, value_name = "FILE", conflicts_with = "data", requires = "corpus")]
    queries: Option<PathBuf>,
    /// Search only for the queries of this split [default: all queries]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Comma list of bm25, dense, sparse, vectors, run:FILE [default: vectors, dense or sparse where given, else bm25]
    #[arg(long, value_name = "LIST")]
    source: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    /// How vectors compare: cosine or dot [default: cosine]
    #[arg(long, value_name = "NAME", value_parser = super::mine::parse_metric)]
    metric: Option<Metric>,
    /// Search vectors through clusters, to this recall of the exact result; it is measured and printed [default: exact; without a
    /// value 0.95]
    #[arg(long, value_name = "RECALL", num_args = 0..=1, default_missing_value = "0.95")]
    approximate: Option<f64>,
    /// Embeddings of the corpus (.npy, .safetensors, .parquet)
    #[arg(long, value_name = "FILE", requires = "query_vectors")]
    corpus_vectors: Option<PathBuf>,
    /// Embeddings of the queries
    #[arg(long, value_name = "FILE", requires = "corpus_vectors")]
    query_vectors: Option<PathBuf>,
    /// Score that orders the union of several sources: one of them, or rrf
    #[arg(long, value_name = "SOURCE")]
    score_by: Option<String>,
    /// Documents per query
    #[arg(long, value_name = "K", default_value_t = mine::spec::DEFAULT_DEPTH)]
    top_k: usize,
    /// trec-run, native, parquet [default: from the output's name, else trec-run]
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// Replace an existing output
    #[arg(long)]
    force: bool,
    /// Folder for unfinished and reusable work [default: .hardrock beside the output]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Do not use earlier work
    #[arg(long)]
    fresh: bool,
    /// Ceiling on memory, e.g. 2GiB
    #[arg(long, value_name = "SIZE", value_parser = super::mine::parse_bytes)]
    memory: Option<u64>,
}

/// Runs the command.
#[expect(clippy::print_stderr, reason = "the summary belongs on stderr")]
pub(crate) fn run(args: SearchArgs, globals: &Globals) -> Result<u8> {
    let mut spec = MineSpec { seed: globals.seed, ..MineSpec::default() };
    spec.data.folder = args.data;
    // Two files of vectors and nothing else: ids are all that is known.
    let nothing = spec.data.folder.is_none() && args.corpus.is_none();
    spec.data.corpus = args.corpus.or_else(|| args.corpus_vectors.clone().filter(|_| nothing));
    spec.data.queries = args.queries.or_else(|| args.query_vectors.clone().filter(|_| nothing));
    spec.data.split = args.split;
    let vectors = args.corpus_vectors.as_deref().zip(args.query_vectors.as_deref());
    let dense = args.model.dense();
    let sparse = args.model.sparse();
    let given = flags::Given { vectors, model: dense.as_ref(), sparse: sparse.as_ref() };
    // Which documents a model finds is asked for by naming the model; BM25's are not mixed in.
    let default = match (vectors.is_some(), dense.is_some(), sparse.is_some()) {
        (false, true, false) => "dense".to_owned(),
        (false, false, true) => "sparse".to_owned(),
        (false, true, true) => "dense,sparse".to_owned(),
        _ => given.default_sources(),
    };
    spec.pool = flags::pools(&args.source.unwrap_or(default), given)?;
    if let Some(metric) = args.metric {
        spec.pool.iter_mut().for_each(|p| p.source.compare_by(metric));
    }
    if let Some(recall) = args.approximate {
        super::search_approximately(&mut spec, recall)?;
    }
    spec.pool.iter_mut().for_each(|p| p.depth = args.top_k);
    spec.judge.score_by = args.score_by;
    spec.write.path = args.output;
    spec.write.format = args.format.as_deref().map(RowFormat::parse).transpose()?;
    let options = RunOptions { work: args.work, memory: args.memory, force: args.force, fresh: args.fresh };
    let bar = Bar::new(globals.quiet || globals.json);
    let cancel = super::cancel_flag()?;
    super::with_threads(globals, || {
        let outcome = mine::search(spec, args.top_k, &options, &bar, &cancel);
        bar.finish();
        let outcome = outcome?;
        if globals.json {
            print(&super::answer("search", &outcome.manifest)?);
        } else if !globals.quiet {
            eprintln!(
                "found {} documents for {} queries in {}; wrote {}",
                render::count(outcome.manifest.counts.selected),
                render::count(outcome.manifest.counts.anchors),
                render::seconds(outcome.seconds),
                outcome.files.first().map(|f| f.display().to_string()).unwrap_or_default(),
            );
            for (source, recall) in &outcome.manifest.recall {
                eprintln!("  note: {source}: {recall}");
            }
        }
        Ok(0)
    })
}
