//! `hardrock embed`: texts into vectors.

use std::path::PathBuf;

use clap::Args;
use hardrock::Result;
use hardrock::embed::{self, Element, EmbedOptions, Embedded, Side};
use hardrock::models::{self, ModelOptions, Precision, Roles};
use hardrock::read::OnBadRow;

use super::model_args::{RemoteArgs, parse_precision};
use super::print;
use crate::args::Globals;
use crate::progress::Bar;
use crate::render;

/// Encode texts with a model: one vector per record, each text encoded once
///
/// Vectors are kept in the work folder by model, prompt and text: a stopped run goes on where it was, and only new texts
/// are encoded next time, by this command or by `mine` and `search`.
///
/// Examples:
///   hardrock embed --model my-model data/corpus.jsonl -o corpus.npy
///   hardrock embed --model my-model --precision int8 data/corpus.jsonl -o corpus.npy
///   hardrock embed --model my-model data/queries.jsonl --side query -o queries.parquet
///   hardrock embed --model my-model data/my-beir-folder --dtype f16 -o corpus.safetensors
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct EmbedArgs {
    /// JSON lines, TSV, CSV or Parquet with `_id` and `text` (and `title`), or a folder in BEIR layout
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    /// The vectors to write: .npy or .safetensors (ids beside them in NAME.ids.txt), or .parquet
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Encoder: a model folder (sentence-transformers, transformers or Model2Vec layout), a model of the Hugging Face hub (ORG/NAME or
    /// ORG/NAME@REVISION), or the address of a server: `BASE/v1#NAME` (OpenAI's shape) or BASE (Text Embeddings Inference)
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// What the texts are: query or passage; picks the model's prompt, and the part of a BEIR folder
    #[arg(long, value_name = "SIDE", default_value = "passage", value_parser = parse_side)]
    side: Side,
    /// Stands before each text [default: what the model's files say for this side]
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Tokens read of a text [default: what the model's files say]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Keep only the first N columns of a vector, for Matryoshka models [default: all]
    #[arg(long, value_name = "N")]
    truncate_dim: Option<usize>,
    /// Numbers that a transformer computes with: f32, or int8 (faster, vectors slightly off) [default: f32]
    #[arg(long, value_name = "f32|int8", value_parser = parse_precision)]
    precision: Option<Precision>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// How numbers are written: f32, f16, bf16 (.safetensors only), or int8 with a scale for each vector [default: f32]
    #[arg(long, value_name = "TYPE", default_value = "f32", hide_default_value = true, value_parser = parse_element)]
    dtype: Element,
    /// What to do with a broken row: stop, or skip it into OUT.rejects.jsonl [default: stop]
    #[arg(long, value_name = "stop|skip", value_parser = super::parse::parse_bad_row)]
    on_bad_row: Option<OnBadRow>,
    /// Replace an existing output
    #[arg(long)]
    force: bool,
    /// Folder for unfinished and reusable work [default: .hardrock beside the output]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

fn parse_side(text: &str) -> std::result::Result<Side, String> {
    match text {
        "query" => Ok(Side::Query),
        "passage" => Ok(Side::Passage),
        _ => Err("one of query, passage".into()),
    }
}

fn parse_element(text: &str) -> std::result::Result<Element, String> {
    match text {
        "f32" => Ok(Element::F32),
        "f16" => Ok(Element::F16),
        "bf16" => Ok(Element::Bf16),
        "int8" => Ok(Element::Int8),
        _ => Err("one of f32, f16, bf16, int8".into()),
    }
}

/// Runs the command.
#[expect(clippy::print_stderr, reason = "the summary belongs on stderr")]
pub(crate) fn run(args: EmbedArgs, globals: &Globals) -> Result<u8> {
    let prompts = match args.side {
        Side::Query => Roles { query: args.prompt, passage: None },
        Side::Passage => Roles { query: None, passage: args.prompt },
    };
    let model_options = ModelOptions {
        prompts,
        max_length: args.max_length,
        truncate_dim: args.truncate_dim,
        precision: args.precision,
        remote: args.remote.options(),
    };
    let options = EmbedOptions {
        side: args.side,
        element: args.dtype,
        on_bad_row: args.on_bad_row.unwrap_or_default(),
        work: args.work,
        force: args.force,
    };
    let bar = Bar::new(globals.quiet || globals.json);
    let cancel = super::cancel_flag()?;
    super::with_threads(globals, || {
        let model = models::open_watched(&args.model, &model_options, &bar, &cancel);
        let encode = |model: Box<dyn models::Embedder>| {
            embed::embed_file(&args.input, &args.output, &*model, &options, &bar, &cancel)
        };
        let done = model.and_then(encode);
        bar.finish();
        let done = done?;
        if globals.json {
            print(&super::answer("embed", &done)?);
        } else if !globals.quiet {
            eprintln!("{}", summary(&done));
        }
        Ok(0)
    })
}

/// The last line, in words.
fn summary(done: &Embedded) -> String {
    let many = render::plural;
    let mut text = format!("{} of {} dimensions", many(done.vectors, "vector"), done.dim);
    if done.precision == Precision::Int8.name() {
        text += ", computed in int8";
    }
    text += &match done.vectors - done.encoded.min(done.vectors) {
        0 => format!(": {} encoded", many(done.encoded, "text")),
        _ => format!(": {} encoded, the others known", many(done.encoded, "text")),
    };
    if done.encoded > 0 {
        let rate = done.encoded as f64 / done.seconds.max(1e-9);
        text += &format!(" in {} ({rate:.0} texts/s)", render::seconds(done.seconds));
    }
    if done.zeros > 0 {
        text += &format!(
            "\n  note: {} all zero: the model knows no token of the text",
            many(done.zeros, "vector")
        );
    }
    for (what, count) in &done.notices {
        text += &format!("\n  note: {} {what}", render::count(*count));
    }
    let files: Vec<String> = done.files.iter().map(|f| f.display().to_string()).collect();
    text += &format!("\n  wrote {}", files.join(", "));
    text
}
