//! One file per command.

mod bench;
mod convert;
mod embed;
mod eval;
mod explain;
mod formats;
mod generate;
mod graph_args;
mod judge;
mod mine;
mod mine_summary;
mod model_args;
mod parse;
mod report;
mod schema;
mod search;
mod train;
mod validate;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Subcommand;
use hardrock::{Error, Result};

use crate::args::Globals;

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Mine(Box<mine::MineArgs>),
    Search(Box<search::SearchArgs>),
    Bench(bench::BenchArgs),
    Embed(Box<embed::EmbedArgs>),
    Eval(Box<eval::EvalArgs>),
    Explain(explain::ExplainArgs),
    Judge(Box<judge::JudgeArgs>),
    Report(report::ReportArgs),
    Convert(convert::ConvertArgs),
    Formats(formats::FormatsArgs),
    Validate(validate::ValidateArgs),
    Train(Box<train::TrainArgs>),
    Schema(schema::SchemaArgs),
    Generate(generate::GenerateArgs),
}

/// `--approximate`: every source that searches among vectors does so through clusters.
fn search_approximately(spec: &mut hardrock::mine::MineSpec, recall: f64) -> Result<()> {
    if !spec.pool.iter().any(|p| p.source.compares().is_dense()) {
        return Err(hardrock::Error::usage(
            "--approximate is given, but nothing would use it",
            "add --model, or --corpus-vectors and --query-vectors",
        ));
    }
    spec.pool.iter_mut().for_each(|p| p.source.search_to(recall));
    Ok(())
}

/// Runs one command; the answer is the exit code.
pub(crate) fn run(command: Command, globals: &Globals) -> Result<u8> {
    match command {
        Command::Mine(args) => mine::run(*args, globals),
        Command::Search(args) => search::run(*args, globals),
        Command::Bench(args) => bench::run(&args, globals),
        Command::Embed(args) => embed::run(*args, globals),
        Command::Eval(args) => eval::run(*args, globals),
        Command::Explain(args) => explain::run(&args, globals),
        Command::Judge(args) => judge::run(&args, globals),
        Command::Report(args) => report::run(&args, globals),
        Command::Convert(args) => convert::run(&args, globals),
        Command::Formats(args) => formats::run(&args, globals),
        Command::Validate(args) => validate::run(&args, globals),
        Command::Train(args) => train::run(*args, globals),
        Command::Schema(args) => schema::run(&args),
        Command::Generate(args) => generate::run(&args),
    }
}

/// Prints a result on stdout. A closed pipe ends quietly: the reader has what it wanted.
pub(crate) fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
}

/// The answer of a command as one line of JSON.
pub(crate) fn answer(command: &str, data: &impl serde::Serialize) -> Result<String> {
    json(&serde_json::json!({"ok": true, "command": command, "data": data}))
}

/// A value as one line of JSON.
fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::usage(format!("cannot be written as JSON: {e}"), ""))
}

/// A flag that Ctrl-C or a termination signal sets. A second signal ends the process at once.
pub(crate) fn cancel_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&flag);
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })
    .map_err(|e| Error::usage(format!("cannot listen for Ctrl-C: {e}"), ""))?;
    Ok(flag)
}

/// Runs in a pool of the asked number of threads.
pub(crate) fn with_threads<T: Send>(globals: &Globals, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let Some(threads) = globals.threads else { return work() };
    if threads == 0 {
        return Err(Error::usage("--threads is 0", "give at least 1, or leave it out"));
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| Error::usage(format!("cannot start {threads} threads: {e}"), "ask for fewer"))?
        .install(work)
}

/// `did you mean …` for a name that is not there.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let best = names.clone().map(|n| (strsim::damerau_levenshtein(name, n), n)).min();
    match best {
        Some((distance, near)) if distance <= 1 + near.len() / 3 => format!("did you mean `{near}`?"),
        _ => format!("one of {}", names.collect::<Vec<_>>().join(", ")),
    }
}
