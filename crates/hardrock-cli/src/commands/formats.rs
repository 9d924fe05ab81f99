//! `hardrock formats`: every training-file format with a line made by its own writer, so that the list cannot go stale.

use clap::Args;
use hardrock::rows::{Encoding, FORMATS, FormatFacts, Holds, RowFormat, example};
use serde::Serialize;

use super::{answer, print};
use crate::args::Globals;

/// Prints every training-file format with what it is for and an example
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hardrock formats\n  hardrock formats st-n-tuple")]
pub(crate) struct FormatsArgs {
    /// Only this format
    #[arg(value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// Runs the command; the list goes to stdout.
pub(crate) fn run(args: &FormatsArgs, globals: &Globals) -> hardrock::Result<u8> {
    let only = args.format.as_deref().map(RowFormat::parse).transpose()?;
    let shown: Vec<Shown> = FORMATS
        .iter()
        .filter(|f| only.is_none_or(|o| o == f.format))
        .map(show)
        .collect::<hardrock::Result<_>>()?;
    if globals.json {
        print(&answer("formats", &shown)?);
    } else {
        print(&render(&shown));
    }
    Ok(0)
}

/// One format as it is shown. Every format is read and written.
#[derive(Debug, Serialize)]
struct Shown {
    name: &'static str,
    aliases: &'static [&'static str],
    purpose: &'static str,
    encodings: &'static [Encoding],
    holds: Holds,
    example: Vec<(String, String)>,
}

fn show(facts: &FormatFacts) -> hardrock::Result<Shown> {
    let FormatFacts { format, name, aliases, purpose, encodings, holds } = *facts;
    Ok(Shown { name, aliases, purpose, encodings, holds, example: example(format)? })
}

fn render(shown: &[Shown]) -> String {
    let mut text = String::from(
        "Each format is read and written. Text files may be packed: .gz and .zst by the name when writing, by content when reading.\n",
    );
    for format in shown {
        let endings: Vec<&str> = format.encodings.iter().map(|e| e.ending()).collect();
        let holds = match format.holds {
            Holds::Both => "ids and texts",
            Holds::Texts => "texts",
            Holds::Ids => "ids",
        };
        text += &format!("\n{}\n  {}\n", format.name, format.purpose);
        text += &format!("  holds {holds}; {}\n", endings.join(", "));
        for (name, contents) in &format.example {
            if format.example.len() > 1 {
                text += &format!("  {name}\n");
            }
            for line in contents.lines() {
                text += &format!("    {line}\n");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_shown_by_its_own_writer() {
        let shown: Vec<Shown> = FORMATS.iter().map(|f| show(f).unwrap()).collect();
        insta::assert_snapshot!(render(&shown));
    }
}
