//! `hardrock report`: one page about a run.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use hardrock::report::summary::Summary;

use super::{answer, print};
use crate::args::Globals;
use crate::render::count;

/// Writes one self-contained HTML page about a run: scores, drops by reason, hardness, samples
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardrock report mined.jsonl\n  hardrock report mined.jsonl -o report.html --data data/wordnet"
)]
pub(crate) struct ReportArgs {
    /// The mined file; its candidates stand beside it as OUT.candidates.parquet
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// The page to write [default: OUT.report.html; with --json none]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Folder with corpus.jsonl and queries.jsonl to take texts from [default: the inputs that the manifest names]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Replace a page that is already there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Runs the command: the page goes to a file, with `--json` the figures to stdout.
pub(crate) fn run(args: &ReportArgs, globals: &Globals) -> hardrock::Result<u8> {
    let page = match (&args.output, globals.json) {
        (Some(path), _) => Some(path.clone()),
        (None, true) => None,
        (None, false) => Some(beside(&args.out)),
    };
    if let Some(path) = page.as_ref().filter(|p| !args.force && p.exists()) {
        return Err(hardrock::Error::Exists { path: path.clone() });
    }
    let summary = hardrock::report::summarise(&args.out, args.data.as_deref(), globals.seed)?;
    if let Some(path) = &page {
        let name = args.out.file_name().unwrap_or(args.out.as_os_str()).to_string_lossy();
        hardrock::report::write(path, &hardrock::report::html::page(&summary, &name), args.force)?;
        if !globals.quiet {
            // The page is written: a standard error that is closed takes nothing from that.
            let _ = writeln!(std::io::stderr(), "{}", last_line(&summary, path));
        }
    }
    if globals.json {
        print(&answer("report", &summary)?);
    }
    Ok(0)
}

fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".report.html");
    name.into()
}

/// What the page is about, in words.
fn last_line(s: &Summary, path: &Path) -> String {
    let t = &s.totals;
    format!(
        "{}: {} anchors, {} negatives selected, {} of {} candidates dropped",
        path.display(),
        count(t.anchors),
        count(t.selected),
        count(t.dropped),
        count(t.retrieved)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_stands_beside_the_mined_file() {
        assert_eq!(beside(Path::new("runs/mined.jsonl.gz")), Path::new("runs/mined.jsonl.gz.report.html"));
    }

    #[test]
    fn a_page_that_is_there_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("page.html");
        std::fs::write(&output, "mine").unwrap();
        let args =
            ReportArgs { out: folder.path().join("m"), output: Some(output), data: None, force: false };
        let error = run(&args, &Globals::default()).unwrap_err();
        assert!(matches!(error, hardrock::Error::Exists { .. }));
    }
}
