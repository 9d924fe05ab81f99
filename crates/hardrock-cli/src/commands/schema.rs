//! `hardrock schema`: JSON schemas of the TOML files.

use clap::Args;
use hardrock::{Error, Result};

use super::print;

/// Print the JSON schema of a TOML file: mine or train
///
/// Example:
///   hardrock schema train > train.schema.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SchemaArgs {
    /// mine or train
    #[arg(value_name = "JOB")]
    job: String,
}

/// Runs the command.
pub(crate) fn run(args: &SchemaArgs) -> Result<u8> {
    let schema = hardrock::schema::of_job(&args.job)?;
    let text = serde_json::to_string_pretty(&schema);
    print(&text.map_err(|e| Error::usage(format!("cannot be written as JSON: {e}"), ""))?);
    Ok(0)
}
