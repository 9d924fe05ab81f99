//! `hardrock generate`: shell completions and man pages, from the same description that parses the command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;
use hardrock::{Error, Result};

use super::print;
use crate::args::Cli;

/// Print shell completions, or write the man pages into a folder
///
/// Examples:
///   hardrock generate bash > /etc/bash_completion.d/hardrock
///   hardrock generate man --folder man1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct GenerateArgs {
    /// What to make
    what: What,
    /// Folder for the man pages [default: the main page on stdout]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Elvish,
    Man,
}

/// Runs the command.
pub(crate) fn run(args: &GenerateArgs) -> Result<u8> {
    let mut command = Cli::command();
    let shell = match args.what {
        What::Bash => Shell::Bash,
        What::Zsh => Shell::Zsh,
        What::Fish => Shell::Fish,
        What::Powershell => Shell::PowerShell,
        What::Elvish => Shell::Elvish,
        What::Man => return man(command, args.folder.as_deref()),
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "hardrock", &mut text);
    print(&String::from_utf8_lossy(&text));
    Ok(0)
}

fn man(command: clap::Command, folder: Option<&std::path::Path>) -> Result<u8> {
    match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            clap_mangen::generate_to(command, folder).map_err(Error::io("write", folder))?;
        }
        None => {
            let mut text = Vec::new();
            let rendered = clap_mangen::Man::new(command).render(&mut text);
            rendered.map_err(|e| Error::usage(format!("the man page cannot be made: {e}"), ""))?;
            print(&String::from_utf8_lossy(&text));
        }
    }
    Ok(0)
}
