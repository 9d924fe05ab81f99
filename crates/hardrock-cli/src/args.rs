//! The shape of the command line.

use clap::{Args, Parser};

use crate::commands::Command;

/// Mines, filters and explains hard negatives.
#[derive(Debug, Parser)]
#[command(
    name = "hardrock",
    version,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Globals {
    /// Print the result as one JSON object on stdout
    #[arg(long, global = true, help_heading = "Every command")]
    pub(crate) json: bool,
    /// No progress and no summary on stderr
    #[arg(long, short, global = true, help_heading = "Every command")]
    pub(crate) quiet: bool,
    /// Say more on stderr (twice: still more)
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = "Every command")]
    pub(crate) verbose: u8,
    /// Threads; the result does not depend on it [default: one per core]
    #[arg(long, global = true, value_name = "N", help_heading = "Every command")]
    pub(crate) threads: Option<usize>,
    /// Seed of every random draw
    #[arg(long, global = true, value_name = "N", default_value_t = 0, help_heading = "Every command")]
    pub(crate) seed: u64,
}
