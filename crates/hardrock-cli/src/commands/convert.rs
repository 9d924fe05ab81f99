//! `hardrock convert`: a training file into another format.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use hardrock::convert::{ConvertOptions, Converted, convert};
use hardrock::rows::{RowFormat, Short, WriteOptions};

use super::{answer, print};
use crate::args::Globals;
use crate::render::count;

/// Writes a training file in another format, row by row
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardrock convert mined.jsonl train.st-triplet.parquet\n  hardrock convert qidpidtriples.tsv train.jsonl --to flagembedding --corpus collection.tsv --queries queries.tsv\n\n`hardrock formats` lists the formats. The name of a file tells its format (train.st-triplet.jsonl); else its first record."
)]
pub(crate) struct ConvertArgs {
    /// The training file to read; gzip and zstd by content
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// The file to write; .jsonl, .csv, .tsv (each also .gz, .zst) or .parquet, as far as the format can
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Format of IN [default: told by its name, else by its first record]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) from: Option<String>,
    /// Format of OUT [default: told by its name]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) to: Option<String>,
    /// Column names of sentence-transformers files: anchor, positive and perhaps negative [default: the usual names]
    #[arg(long, value_name = "ANCHOR,POSITIVE[,NEGATIVE]", value_delimiter = ',')]
    pub(crate) columns: Option<Vec<String>>,
    /// Write the scores too, where the format has a place for them
    #[arg(long)]
    pub(crate) scores: bool,
    /// Negatives in a line of st-n-tuple [default: the most that a row has]
    #[arg(long, value_name = "N")]
    pub(crate) num_negatives: Option<usize>,
    /// Rows of st-n-tuple with fewer negatives: drop (and count), fewer (null), repeat (the row's own negatives)
    #[arg(long, value_name = "WHAT", default_value = "drop", value_parser = ["drop", "fewer", "repeat"])]
    pub(crate) short: String,
    /// Texts of the documents that IN names by id: JSON lines, Parquet or collection.tsv
    #[arg(long, value_name = "FILE")]
    pub(crate) corpus: Option<PathBuf>,
    /// Texts of the anchors that IN names by id
    #[arg(long, value_name = "FILE")]
    pub(crate) queries: Option<PathBuf>,
    /// Last column of a TREC run
    #[arg(long, value_name = "TAG", default_value = "hardrock")]
    pub(crate) tag: String,
    /// Replace OUT if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Runs the command; with `--json` the counts go to stdout, else a line to stderr.
pub(crate) fn run(args: &ConvertArgs, globals: &Globals) -> hardrock::Result<u8> {
    let options = ConvertOptions {
        from: args.from.as_deref().map(RowFormat::parse).transpose()?,
        to: args.to.as_deref().map(RowFormat::parse).transpose()?,
        columns: args.columns.clone(),
        negatives: args.num_negatives,
        corpus: args.corpus.clone(),
        queries: args.queries.clone(),
        write: WriteOptions {
            scores: args.scores,
            short: match args.short.as_str() {
                "fewer" => Short::Fewer,
                "repeat" => Short::Repeat,
                _ => Short::Drop,
            },
            tag: args.tag.clone(),
            force: args.force,
            ..WriteOptions::default()
        },
    };
    let done = convert(&args.input, &args.output, &options)?;
    if globals.json {
        print(&answer("convert", &done)?);
    } else if !globals.quiet {
        // The file is written: a standard error that is closed takes nothing from that.
        let _ = writeln!(std::io::stderr(), "{}", last_line(&done));
    }
    Ok(0)
}

/// What was done, in words.
fn last_line(done: &Converted) -> String {
    let files: Vec<String> = done.written.files.iter().map(|f| f.display().to_string()).collect();
    let mut line = format!(
        "{}: {} rows of {} as {} records of {}",
        files.join(", "),
        count(done.written.rows),
        done.from,
        count(done.written.records),
        done.to
    );
    for (what, n) in &done.written.notices {
        line += &format!("; {what}: {}", count(*n));
    }
    line
}
