//! `hardrock explain`: one anchor of a run as a table that answers why.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use hardrock::candidates::Status;
use hardrock::explain::{Explained, Explanation};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{answer, print};
use crate::args::Globals;

/// Shows for one anchor every candidate with its scores and ranks, and why it was selected, kept or dropped
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardrock explain mined.jsonl --query q17\n  hardrock explain mined.jsonl --query q17 --all --data data/wordnet"
)]
pub(crate) struct ExplainArgs {
    /// The mined file; its candidates stand beside it as OUT.candidates.parquet
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// Id of the anchor
    #[arg(long, value_name = "ID")]
    pub(crate) query: String,
    /// Show every candidate, not the first ones only
    #[arg(long)]
    pub(crate) all: bool,
    /// Candidates to show
    #[arg(long, value_name = "N", default_value_t = 30, conflicts_with = "all")]
    pub(crate) limit: usize,
    /// Folder with corpus.jsonl and queries.jsonl to take texts from [default: the inputs that the manifest names]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
}

/// Runs the command; the result goes to stdout.
pub(crate) fn run(args: &ExplainArgs, globals: &Globals) -> hardrock::Result<u8> {
    let explanation = hardrock::explain::explain(&args.out, &args.query, args.data.as_deref())?;
    if globals.json {
        print(&answer("explain", &explanation)?);
        return Ok(0);
    }
    let terminal = std::io::stdout().is_terminal();
    let style = Style {
        width: columns(terminal),
        colour: terminal && colours_wanted(),
        limit: if args.all { usize::MAX } else { args.limit },
    };
    print(&render(&explanation, style));
    Ok(0)
}

/// Columns to fill: the terminal's, within what reads well; 100 for a file or a pipe.
fn columns(terminal: bool) -> usize {
    let given = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let seen = || terminal_size::terminal_size().map(|(w, _)| usize::from(w.0)).filter(|_| terminal);
    given.or_else(seen).unwrap_or(100).clamp(80, 120)
}

fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// How to lay out an explanation.
#[derive(Debug, Clone, Copy)]
struct Style {
    width: usize,
    colour: bool,
    limit: usize,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const RED: &str = "31";
const CYAN: &str = "36";

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The whole explanation as text.
fn render(e: &Explanation, style: Style) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    let head = format!("anchor {}", e.query_id);
    let text = e.text.as_deref().unwrap_or_default();
    line(&format!(
        "{}  {}",
        style.paint(BOLD, &head),
        shorten(text, style.width.saturating_sub(head.width() + 2))
    ));
    for part in wrap(&counts(e), style.width) {
        line(&part);
    }
    if let Some(note) = &e.note {
        for part in wrap(note, style.width) {
            line(&style.paint(DIM, &part));
        }
    }

    let shown = e.candidates.len().min(style.limit);
    let rows: Vec<&Explained> = e.positives.iter().chain(&e.candidates[..shown]).collect();
    let layout = Layout::of(e, &rows);
    if !e.positives.is_empty() {
        line("");
        line(&style.paint(BOLD, "positives"));
        e.positives.iter().flat_map(|p| layout.row(p, style)).for_each(|l| line(&l));
    }
    line("");
    if e.candidates.is_empty() {
        line("no source proposed a candidate");
        return out;
    }
    line(&style.paint(BOLD, &layout.head()));
    e.candidates[..shown].iter().flat_map(|c| layout.row(c, style)).for_each(|l| line(&l));
    let more = e.candidates.len() - shown;
    if more > 0 {
        line("");
        line(&format!("{more} more, see --all or --limit N"));
    }
    out
}

/// The counts as a sentence.
fn counts(e: &Explanation) -> String {
    let dropped: usize = e.dropped.values().sum();
    let reasons: Vec<String> = e.dropped.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    let positives = match e.positives.len() {
        1 => "1 positive".to_owned(),
        n => format!("{n} positives"),
    };
    format!(
        "{positives}, {} candidates: {} selected, {} kept, {dropped} dropped{reasons}; judged by {}; ranks start at 0",
        e.retrieved, e.selected, e.kept, e.score_by
    )
}

/// Column widths that fit the rows shown.
struct Layout {
    score: usize,
    sources: Vec<(String, usize)>,
    id: usize,
}

const RANK: usize = 5;
const STATUS: usize = 8;
/// Indent of a line below a document's own.
const DETAIL: usize = RANK + 2;
/// p_fn from which an explanation speaks of it.
const TOLD: f32 = 0.01;
/// Columns that a text must have to stand on its document's line.
const READABLE: usize = 36;

impl Layout {
    fn of(e: &Explanation, rows: &[&Explained]) -> Self {
        let widest = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or(0);
        // One source that judges is no news beside the judging score.
        let alone = e.sources.len() == 1 && e.sources.first() == Some(&e.score_by);
        let named = if alone { &[][..] } else { &e.sources[..] };
        let sources = named.iter().enumerate().map(|(s, name)| {
            let name = shorten(name, 16);
            let width = widest(&mut rows.iter().map(|r| evidence(r, s).width())).max(name.width());
            (name, width)
        });
        Self {
            score: widest(&mut rows.iter().map(|r| number(r.score).width())).max("score".len()),
            sources: sources.collect(),
            id: widest(&mut rows.iter().map(|r| r.doc_id.width().min(28))).max("document".len()),
        }
    }

    /// Columns before the document.
    fn indent(&self) -> usize {
        RANK + 2 + self.score + 2 + self.sources.iter().map(|(_, w)| w + 2).sum::<usize>() + STATUS + 2
    }

    fn head(&self) -> String {
        let mut head = format!("{:>RANK$}  {:>w$}  ", "rank", "score", w = self.score);
        for (name, width) in &self.sources {
            head.push_str(&format!("{}  ", left(name, *width)));
        }
        head + &format!("{:STATUS$}  document", "status")
    }

    /// A document's line, and below it what has no room there: its text, and the reason of a drop.
    fn row(&self, row: &Explained, style: Style) -> Vec<String> {
        let rank = row.rank.map_or_else(String::new, |r| r.to_string());
        let mut line = format!("{rank:>RANK$}  {:>w$}  ", number(row.score), w = self.score);
        for (s, (_, width)) in self.sources.iter().enumerate() {
            line.push_str(&left(&evidence(row, s), *width));
            line.push_str("  ");
        }
        let status = match row.pick {
            Some(pick) => format!("pick {}", pick + 1),
            None => row.status.name().to_owned(),
        };
        let code = match row.status {
            Status::Positive => GREEN,
            Status::Selected => CYAN,
            Status::Kept => DIM,
            Status::Dropped => RED,
        };
        line.push_str(&style.paint(code, &left(&status, STATUS)));
        line.push_str("  ");
        // Ids are never padded away or cut for the sake of a text: one must be able to copy them.
        let room = style.width.saturating_sub(self.indent());
        let id = left(&shorten(&row.doc_id, room), self.id);
        line.push_str(&style.paint(BOLD, &id));
        let mut lines = Vec::new();
        let room = room.saturating_sub(id.width() + 2);
        let below = style.width.saturating_sub(DETAIL);
        match row.text.as_deref() {
            Some(text) if room >= READABLE => {
                line.push_str("  ");
                line.push_str(&style.paint(DIM, &shorten(text, room)));
            }
            Some(text) => lines.push(style.paint(DIM, &shorten(text, below))),
            None => {}
        }
        // A p_fn near nothing needs no words.
        if let Some(p) = row.p_fn.filter(|p| *p >= TOLD || row.reason == Some("max-p-fn")) {
            let told = wrap(&format!("p_fn {p:.3}: {}", row.p_fn_because.join("; ")), below);
            lines.extend(told.iter().map(|part| style.paint(DIM, part)));
        }
        if let (Some(reason), Some(because)) = (row.reason, &row.because) {
            let told = wrap(&format!("{reason}: {because}"), below);
            lines.extend(told.iter().map(|part| style.paint(RED, part)));
        }
        let lines = lines.into_iter().map(|l| format!("{:DETAIL$}{l}", ""));
        std::iter::once(line).chain(lines).collect()
    }
}

/// A source's word on a candidate: its score and its rank.
fn evidence(row: &Explained, source: usize) -> String {
    match row.evidence.get(source).map(|e| (e.score, e.rank)) {
        Some((score @ Some(_), Some(rank))) => format!("{} #{rank}", number(score)),
        Some((score @ Some(_), None)) => number(score),
        Some((None, Some(rank))) => format!("#{rank}"),
        _ => "-".to_owned(),
    }
}

fn number(score: Option<f32>) -> String {
    score.map_or_else(|| "-".to_owned(), |s| format!("{s:.4}"))
}

/// Pads to a display width.
fn left(text: &str, width: usize) -> String {
    format!("{text}{:pad$}", "", pad = width.saturating_sub(text.width()))
}

/// At most `width` columns, cut with an ellipsis.
fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut short, mut used) = (String::new(), 1);
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        short.push(c);
    }
    short + "…"
}

/// Lines of at most `width` columns, broken at blanks.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hardrock::candidates::SourceEvidence;

    use super::*;

    fn row(doc: &str, status: Status, score: f32, rank: Option<u32>) -> Explained {
        let evidence = match rank {
            Some(r) => vec![
                SourceEvidence { score: Some(score), rank: Some(r) },
                SourceEvidence { score: Some(0.71), rank: None },
            ],
            None => vec![SourceEvidence::default(); 2],
        };
        Explained {
            doc_id: doc.into(),
            status,
            score: Some(score),
            rank,
            evidence,
            pick: (status == Status::Selected).then_some(0),
            reason: None,
            because: None,
            value: None,
            threshold: None,
            against: None,
            p_fn: None,
            p_fn_because: Vec::new(),
            text: None,
        }
    }

    fn explanation() -> Explanation {
        let mut kin = row("libfoo-dev", Status::Dropped, 19.25, Some(0));
        kin.reason = Some("kin");
        kin.because = Some("similarity 0.812 to positive libfoo1 is above 0.500".into());
        kin.text = Some(
            "libfoo-dev development files for the foo library with headers and a very long description"
                .into(),
        );
        let mut picked = row("bar", Status::Selected, 12.5, Some(1));
        picked.text = Some(
            "駄文 wide text that takes two columns per letter at first and goes on and on until the end"
                .into(),
        );
        let last = row("a-document-whose-id-is-far-too-long-for-its-column", Status::Kept, 9.0, Some(2));
        Explanation {
            query_id: "q17".into(),
            text: Some("foo library".into()),
            score_by: "bm25".into(),
            sources: vec!["bm25".into(), "vectors".into()],
            retrieved: 3,
            selected: 1,
            kept: 1,
            dropped: BTreeMap::from([("kin", 1)]),
            positives: vec![row("libfoo1", Status::Positive, 21.0, None)],
            candidates: vec![kin, picked, last],
            note: None,
        }
    }

    #[test]
    fn two_sources_in_eighty_columns() {
        let text = render(&explanation(), Style { width: 80, colour: false, limit: 30 });
        assert!(text.lines().all(|l| l.width() <= 80), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn one_source_without_texts_and_a_limit() {
        let mut e = explanation();
        e.sources.truncate(1);
        e.note =
            Some("no texts: the data was not found; --data FOLDER names the folder with corpus.jsonl".into());
        e.candidates.iter_mut().chain(&mut e.positives).for_each(|c| c.text = None);
        e.text = None;
        insta::assert_snapshot!(render(&e, Style { width: 100, colour: false, limit: 2 }));
    }

    #[test]
    fn an_anchor_that_nothing_was_found_for() {
        let mut e = explanation();
        (e.retrieved, e.selected, e.kept) = (0, 0, 0);
        e.candidates.clear();
        e.dropped.clear();
        insta::assert_snapshot!(render(&e, Style { width: 100, colour: false, limit: 2 }));
    }

    #[test]
    fn colours_change_nothing_but_colour() {
        let plain = render(&explanation(), Style { width: 100, colour: false, limit: 30 });
        let painted = render(&explanation(), Style { width: 100, colour: true, limit: 30 });
        let mut stripped = String::new();
        let mut inside = false;
        for c in painted.chars() {
            match c {
                '\x1b' => inside = true,
                'm' if inside => inside = false,
                c if !inside => stripped.push(c),
                _ => {}
            }
        }
        let trimmed = |s: &str| s.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        assert_eq!(trimmed(&stripped), trimmed(&plain));
        assert!(painted.contains("\x1b[31m"));
    }
}
