//! `hardrock validate`: what is wrong with training data, before anybody trains on it.

use std::path::{Path, PathBuf};

use clap::Args;
use hardrock::rows::{ReadOptions, RowFormat};
use hardrock::validate::{Severity, Validation, validate};

use super::{answer, print};
use crate::args::Globals;
use crate::render::count;

/// Looks for positives among negatives, self-hits, duplicates and gaps in training data
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardrock validate train.jsonl\n  hardrock validate data/wordnet\n\nExit code: 0 = no errors, 1 = errors were found (warnings and notes do not count), 2 = the data cannot be read."
)]
pub(crate) struct ValidateArgs {
    /// A training file of any format, or a folder in BEIR layout
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// Format of the training file [default: told by its name, else by its first record]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) from: Option<String>,
    /// Column names of sentence-transformers files: anchor, positive and perhaps negative [default: the usual names]
    #[arg(long, value_name = "ANCHOR,POSITIVE[,NEGATIVE]", value_delimiter = ',', num_args = 1)]
    pub(crate) columns: Option<Vec<String>>,
    /// Corpus of a Tevatron v2 file [default: the file beside it]
    #[arg(long, value_name = "FILE")]
    pub(crate) corpus: Option<PathBuf>,
}

/// Runs the command; the findings go to stdout.
pub(crate) fn run(args: &ValidateArgs, globals: &Globals) -> hardrock::Result<u8> {
    let format = args.from.as_deref().map(RowFormat::parse).transpose()?;
    let mut columns = args.columns.clone().unwrap_or_default().into_iter();
    let options = ReadOptions {
        anchor: columns.next(),
        positive: columns.next(),
        negative: columns.next(),
        corpus: args.corpus.clone(),
        ..ReadOptions::default()
    };
    let found = validate(&args.data, format, &options)?;
    if globals.json {
        print(&answer("validate", &found)?);
    } else {
        print(&render(&found, &args.data));
    }
    Ok(u8::from(found.errors() > 0))
}

fn render(found: &Validation, path: &Path) -> String {
    let what = found.format.map_or("BEIR folder".into(), |f| f.to_string());
    let counts: Vec<String> = found.counts.iter().map(|(name, n)| format!("{} {name}", count(*n))).collect();
    let mut text = format!("{} ({what}): {}\n", path.display(), counts.join(", "));
    for finding in &found.findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        text += &format!("\n{severity}: {}: {}\n", finding.check.name(), count(finding.count));
        for example in &finding.examples {
            text += &format!("  {}  {}\n", example.place, example.what);
        }
        if finding.count > finding.examples.len() as u64 {
            text += "  …\n";
        }
        text += &format!("  = {}\n", finding.check.mend());
    }
    if let Some(c) = found.collisions.filter(|c| c.expected_rows > 0.0) {
        text += &format!(
            "\nIn a batch of {} random rows, {:.1} rows are expected to hold a negative that is another row's positive.\n",
            count(c.batch),
            c.expected_rows
        );
    }
    let of = |severity| {
        let findings = found.findings.iter().filter(|f| f.severity == severity);
        findings.map(|f| f.count).sum::<u64>()
    };
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    text += &match (errors, warnings) {
        (0, 0) => "\nno errors, no warnings\n".to_owned(),
        _ => format!("\nerrors: {}, warnings: {}\n", count(errors), count(warnings)),
    };
    text
}
