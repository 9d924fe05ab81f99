//! `hardrock bench`: the user's own data as the test of settings.

use std::path::PathBuf;

use clap::Args;
use hardrock::Result;
use hardrock::mine::{self, MineSpec, RunOptions, flags};

use super::model_args::ModelArgs;
use super::print;
use crate::args::Globals;
use crate::progress::Bar;

/// Which setting serves the fewest positives as negatives? Hides known positives and counts
///
/// From each anchor with several positives one is hidden. Every preset, the default and thresholds of p_fn then mine; the
/// table says how many hidden positives each would have written as negatives, and how hard its negatives are.
///
/// Examples:
///   hardrock bench data/my-beir-folder
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct BenchArgs {
    /// A folder in BEIR layout, or a TOML file of `hardrock mine --print-spec`
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Split of a BEIR folder [default: train]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    /// Folder for unfinished and reusable work [default: one that is removed at the end]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &BenchArgs, globals: &Globals) -> Result<u8> {
    let toml = args.data.extension().is_some_and(|e| e == "toml");
    let mut spec = if toml { MineSpec::from_toml(&args.data)? } else { MineSpec::default() };
    if !toml {
        spec.data.folder = Some(args.data.clone());
    }
    spec.data.split = args.split.clone().or(spec.data.split);
    spec.seed = if globals.seed != 0 { globals.seed } else { spec.seed };
    let dense = args.model.dense();
    if spec.pool.is_empty() || dense.is_some() {
        let given = flags::Given { vectors: None, model: dense.as_ref() };
        spec.pool = flags::pools(given.default_sources(), given)?;
    }
    let scratch = tempfile::tempdir()
        .map_err(hardrock::Error::io("create", std::path::Path::new("a temporary folder")))?;
    let work = args.work.clone().unwrap_or_else(|| scratch.path().to_owned());
    spec.write.path = work.join("bench");
    let options = RunOptions { work: Some(work), ..RunOptions::default() };
    let bar = Bar::new(globals.quiet || globals.json);
    let cancel = super::cancel_flag()?;
    let bench = super::with_threads(globals, || mine::bench(&spec, &options, &bar, &cancel))?;
    bar.finish();
    print(&if globals.json { super::answer("bench", &bench)? } else { bench.to_string() });
    Ok(0)
}
