//! Judgements and runs as evaluation tools write them, told apart by content.
//!
//! | what | columns | split at |
//! |---|---|---|
//! | qrels, TREC and MS MARCO | `qid iter docno rel` | blanks; `#` begins a comment line |
//! | qrels, BEIR | header `query-id corpus-id score`, then three | tabs |
//! | run, TREC | `qid Q0 docno rank sim tag`, more are left alone; the rank is not read | blanks |
//! | run, Tevatron | `qid docid score` | tabs, or blanks |
//! | run, MS MARCO | `qid pid rank` | tabs, or blanks |
//!
//! A run of three columns holds ranks when every query's numbers count up from 1, else scores. Ranks become scores by
//! their negative.

use std::fmt::Display;
use std::path::Path;

use serde::Serialize;

use super::input::open;
use crate::listing::{Duplicate, Listing, ListingBuilder};
use crate::{Error, Result};

pub use crate::listing::{Qrels, Run};

/// The shape of a judgement file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum QrelsFormat {
    /// Four columns, as of TREC and MS MARCO.
    Trec,
    /// Header and three columns, as of BEIR.
    Beir,
}

/// The shape of a run file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunFormat {
    /// Six columns.
    Trec,
    /// Three columns, the last a score (Tevatron).
    Scores,
    /// Three columns, the last a rank (MS MARCO).
    Ranks,
}

/// Reads judgements; see the table above. Line by line, ids kept once.
///
/// # Errors
/// File, line, field and mend for: no judgement at all, a missing or repeated header, a wrong number of columns, an
/// empty id, a grade that is no whole number, a document judged twice for a query.
pub fn read_qrels(path: &Path) -> Result<Qrels> {
    read_qrels_and_format(path).map(|(qrels, _)| qrels)
}

/// As [`read_qrels`], with the shape that the file was found to have.
///
/// # Errors
/// As [`read_qrels`].
pub fn read_qrels_and_format(path: &Path) -> Result<(Qrels, QrelsFormat)> {
    let mut lines = open(path)?.lines();
    let mut builder = ListingBuilder::default();
    let mut format = None;
    while let Some(next) = lines.next_line() {
        let (line, text) = next?;
        if text.trim_ascii().is_empty() || (format != Some(QrelsFormat::Beir) && text.starts_with('#')) {
            continue;
        }
        let at = Place { path, line };
        let (query, doc, grade, field) = match format {
            None => {
                let found = qrels_format(&at, text)?;
                format = Some(found);
                if found == QrelsFormat::Beir {
                    continue;
                }
                trec_judgement(&at, text)?
            }
            Some(QrelsFormat::Trec) => trec_judgement(&at, text)?,
            Some(QrelsFormat::Beir) => {
                let [query, doc, grade] = columns(&at, text.split('\t'), "query-id, corpus-id, score")?;
                if is_header(text) {
                    return Err(
                        at.error("the header stands inside the data", "remove the line; were files joined?")
                    );
                }
                (query, doc, grade, "score")
            }
        };
        filled(&at, "query", query)?;
        filled(&at, "document", doc)?;
        builder.push(query, doc, whole(&at, field, grade)?).map_err(|d| at.duplicate(&d))?;
    }
    let format = format.ok_or_else(|| nothing(path, "judgement"))?;
    finish(path, builder, "judgement").map(|qrels| (qrels, format))
}

/// Reads a run; see the table above. Line by line, ids kept once.
///
/// # Errors
/// File, line, field and mend for: no row at all, a wrong number of columns, an empty id, a score that is no finite
/// number, a document listed twice for a query.
pub fn read_run(path: &Path) -> Result<Run> {
    read_run_and_format(path).map(|(run, _)| run)
}

/// As [`read_run`], with the shape that the file was found to have.
///
/// # Errors
/// As [`read_run`].
pub fn read_run_and_format(path: &Path) -> Result<(Run, RunFormat)> {
    let mut lines = open(path)?.lines();
    let mut builder = ListingBuilder::default();
    let mut columns_seen = None;
    while let Some(next) = lines.next_line() {
        let (line, text) = next?;
        if text.trim_ascii().is_empty() {
            continue;
        }
        let at = Place { path, line };
        let (query, doc, score, field) = match columns_seen.map_or_else(|| run_columns(&at, text), Ok)? {
            seen @ RunColumns::Six => {
                columns_seen = Some(seen);
                let [query, _, doc, _, score, _] =
                    columns(&at, text.split_ascii_whitespace().take(6), "qid, Q0, docno, rank, sim, tag")?;
                (query, doc, score, "sim")
            }
            seen @ RunColumns::Tabs => {
                columns_seen = Some(seen);
                let [query, doc, score] = columns(&at, text.split('\t'), "qid, docid, score")?;
                (query, doc, score, "score")
            }
            seen @ RunColumns::Blanks => {
                columns_seen = Some(seen);
                let [query, doc, score] = columns(&at, text.split_ascii_whitespace(), "qid, docid, score")?;
                (query, doc, score, "score")
            }
        };
        filled(&at, "query", query)?;
        filled(&at, "document", doc)?;
        builder.push(query, doc, finite(&at, field, score)?).map_err(|d| at.duplicate(&d))?;
    }
    let seen = columns_seen.ok_or_else(|| nothing(path, "row"))?;
    let run = finish(path, builder, "row")?;
    Ok(match seen {
        RunColumns::Six => (run, RunFormat::Trec),
        _ if holds_ranks(&run) => (run.map(|rank| -rank), RunFormat::Ranks),
        _ => (run, RunFormat::Scores),
    })
}

#[derive(Clone, Copy)]
enum RunColumns {
    Six,
    Tabs,
    Blanks,
}

/// Where a row stands.
struct Place<'a> {
    path: &'a Path,
    line: u64,
}

impl Place<'_> {
    fn error(&self, problem: impl Into<String>, help: impl Into<String>) -> Error {
        Error::input(self.path, self.line, problem, help)
    }

    fn duplicate(&self, twice: &Duplicate) -> Error {
        duplicate(self.path, self.line, twice)
    }
}

fn duplicate(path: &Path, line: impl Into<Option<u64>>, twice: &Duplicate) -> Error {
    let problem = format!("document `{}` stands twice for query `{}`", twice.doc, twice.query);
    Error::input(path, line, problem, "keep one of the two lines: which one counts cannot be guessed")
}

fn nothing(path: &Path, what: &str) -> Error {
    Error::input(path, None, format!("holds no {what}"), "check how it was made or fetched")
}

fn finish<V: Copy>(path: &Path, builder: ListingBuilder<V>, what: &str) -> Result<Listing<V>> {
    let listing = builder.finish().map_err(|twice| duplicate(path, None, &twice))?;
    if listing.rows() == 0 { Err(nothing(path, what)) } else { Ok(listing) }
}

fn is_header(text: &str) -> bool {
    let name = text.split(['\t', ' ', ',']).next().unwrap_or_default();
    ["query-id", "query_id", "qid", "queryid", "topic"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn qrels_format(at: &Place<'_>, text: &str) -> Result<QrelsFormat> {
    let tabs = text.split('\t').count();
    if is_header(text) {
        if tabs == 3 {
            return Ok(QrelsFormat::Beir);
        }
        return Err(at.error(
            format!(
                "a header of {tabs} tab-separated columns; BEIR qrels have `query-id`, `corpus-id`, `score`"
            ),
            "separate the three columns by tabs; for TREC qrels (qid iter docno rel) remove the header",
        ));
    }
    match text.split_ascii_whitespace().count() {
        4 => Ok(QrelsFormat::Trec),
        3 => Err(at.error(
            "three columns, but no header before them",
            "begin the file with the line query-id<TAB>corpus-id<TAB>score: readers of BEIR files skip the first line",
        )),
        n => Err(at.error(
            format!("{n} columns; qrels have four (qid iter docno rel) or a header and three"),
            "give TREC qrels or a BEIR qrels file",
        )),
    }
}

fn run_columns(at: &Place<'_>, text: &str) -> Result<RunColumns> {
    match (text.split('\t').count(), text.split_ascii_whitespace().count()) {
        (3, _) => Ok(RunColumns::Tabs),
        (_, 6..) => Ok(RunColumns::Six),
        (_, 3) => Ok(RunColumns::Blanks),
        (_, n) => Err(at.error(
            format!("{n} columns; runs have six (qid Q0 docno rank sim tag) or three (qid docid score, qid pid rank)"),
            "give a TREC, Tevatron or MS MARCO run",
        )),
    }
}

fn trec_judgement<'a>(at: &Place<'_>, text: &'a str) -> Result<(&'a str, &'a str, &'a str, &'static str)> {
    let [query, _, doc, grade] = columns(at, text.split_ascii_whitespace(), "qid, iter, docno, rel")?;
    Ok((query, doc, grade, "rel"))
}

/// Exactly `N` columns.
fn columns<'a, const N: usize>(
    at: &Place<'_>,
    mut parts: impl Iterator<Item = &'a str>,
    names: &str,
) -> Result<[&'a str; N]> {
    let mut found = [""; N];
    let mut count = 0;
    for part in &mut parts {
        if let Some(slot) = found.get_mut(count) {
            *slot = part;
        }
        count += 1;
    }
    if count == N {
        return Ok(found);
    }
    let s = if count == 1 { "" } else { "s" };
    Err(at.error(
        format!("{count} column{s}, the lines before have {N} ({names})"),
        "mend the line, or remove it if the file was cut short",
    ))
}

fn filled(at: &Place<'_>, field: &str, id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(at.error("the id is empty", "give every row both ids").field(field));
    }
    Ok(())
}

fn whole(at: &Place<'_>, field: &str, text: &str) -> Result<i32> {
    let text = text.trim_ascii();
    if let Ok(grade) = text.parse() {
        return Ok(grade);
    }
    // Tables from data frames say 1.0.
    match text.parse::<f64>() {
        Ok(x) if x.fract() == 0.0 && x.abs() <= f64::from(i32::MAX) => Ok(x as i32),
        _ => Err(wrong(at, field, text, "a whole number", "grades are whole numbers such as 0, 1, 2")),
    }
}

fn finite(at: &Place<'_>, field: &str, text: &str) -> Result<f64> {
    let help = "leave out documents without a score";
    match text.trim_ascii().parse::<f64>() {
        Ok(x) if x.is_finite() => Ok(x),
        _ => Err(wrong(at, field, text, "a finite number", help)),
    }
}

fn wrong(at: &Place<'_>, field: &str, text: &str, wanted: &str, help: impl Display) -> Error {
    let header = if is_header(text) || text.chars().all(char::is_alphabetic) && at.line == 1 {
        "; a header line does not belong in this format"
    } else {
        ""
    };
    at.error(format!("`{text}` is not {wanted}"), format!("{help}{header}")).field(field)
}

/// Whether every query's values count up from 1, as ranks do; scores fall.
fn holds_ranks(run: &Run) -> bool {
    (0..run.len() as u32).all(|query| {
        let rows = run.numbered(query);
        rows.first().is_some_and(|first| first.1 == 1.0)
            && rows.windows(2).all(|pair| pair[0].1 < pair[1].1)
            && rows.iter().all(|row| row.1.fract() == 0.0)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// Query, document, value.
    type Row<V> = (String, String, V);

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn qrels(text: &str) -> Result<(Vec<Row<i32>>, QrelsFormat)> {
        let (listing, format) = read_qrels_and_format(file(text.as_bytes()).path())?;
        Ok((rows(&listing), format))
    }

    fn run(text: &str) -> Result<(Vec<Row<f64>>, RunFormat)> {
        let (listing, format) = read_run_and_format(file(text.as_bytes()).path())?;
        Ok((rows(&listing), format))
    }

    fn rows<V: Copy>(listing: &Listing<V>) -> Vec<Row<V>> {
        let of = |q: &str| listing.of(q).map(|(d, v)| (q.to_owned(), d.to_owned(), v)).collect::<Vec<_>>();
        listing.queries().iter().flat_map(of).collect()
    }

    /// An error without its file's name.
    fn told<T>(result: Result<T>) -> String {
        let Err(error) = result else { return "no error".into() };
        let text = error.to_string();
        let at = text.find(':').unwrap();
        format!("{} | {}", &text[at..], error.help().unwrap_or_default())
    }

    fn row<V>(query: &str, doc: &str, value: V) -> Row<V> {
        (query.into(), doc.into(), value)
    }

    #[test]
    fn trec_qrels_with_any_blanks_and_comments() {
        let text = "# pool of 2024\nq1 0 d1 2\nq1\t0\td2  -1\n\n#x\n  q2   Q0 d1 0  \n";
        let expected = vec![row("q1", "d1", 2), row("q1", "d2", -1), row("q2", "d1", 0)];
        assert_eq!(qrels(text).unwrap(), (expected, QrelsFormat::Trec));
    }

    #[test]
    fn beir_qrels_keep_blanks_and_hashes_in_ids() {
        let text = "\u{feff}query-id\tcorpus-id\tscore\r\nq 1\td 1\t1\r\n#2\td1\t2.0\r\n";
        let expected = vec![row("q 1", "d 1", 1), row("#2", "d1", 2)];
        assert_eq!(qrels(text).unwrap(), (expected, QrelsFormat::Beir));
    }

    #[test]
    fn ms_marco_qrels_are_four_columns_too() {
        assert_eq!(qrels("1185869\t0\t0\t1\n").unwrap(), (vec![row("1185869", "0", 1)], QrelsFormat::Trec));
    }

    #[test]
    fn mistakes_in_qrels_are_told_with_line_field_and_mend() {
        let beir = "query-id\tcorpus-id\tscore\n";
        assert_eq!(
            told(qrels("q1\td1\t1\n")),
            ":1: three columns, but no header before them | begin the file with the line \
             query-id<TAB>corpus-id<TAB>score: readers of BEIR files skip the first line"
        );
        assert_eq!(
            told(qrels(&format!("{beir}q1\td1\t1\n{beir}"))),
            ":3: the header stands inside the data | remove the line; were files joined?"
        );
        assert_eq!(
            told(qrels(&format!("{beir}q1\td1\t0.5\n"))),
            ":2: field `score`: `0.5` is not a whole number | grades are whole numbers such as 0, 1, 2"
        );
        assert_eq!(
            told(qrels(&format!("{beir}q1\t\t1\n"))),
            ":2: field `document`: the id is empty | give every row both ids"
        );
        assert_eq!(
            told(qrels("q1 0 d1 1\nq1 0 d1\n")),
            ":2: 3 columns, the lines before have 4 (qid, iter, docno, rel) | mend the line, or remove it if the \
             file was cut short"
        );
        assert_eq!(
            told(qrels("q1 0 d1 1\nq1 0 d1 2\n")),
            ":2: document `d1` stands twice for query `q1` | keep one of the two lines: which one counts cannot be guessed"
        );
        assert_eq!(
            told(qrels("q 0 d relevance\nq1 0 d1 1\n")),
            ":1: field `rel`: `relevance` is not a whole number | grades are whole numbers such as 0, 1, 2; a header \
             line does not belong in this format"
        );
        assert_eq!(told(qrels(beir)), ": holds no judgement | check how it was made or fetched");
        assert_eq!(told(qrels("# only words\n")), ": holds no judgement | check how it was made or fetched");
    }

    #[test]
    fn the_rank_of_a_trec_run_is_not_read() {
        let text = "q1 Q0 d1 7 0.5 bm25 more\nq1 Q0 d2 banana 12.5e-1 bm25\n";
        assert_eq!(run(text).unwrap(), (vec![row("q1", "d1", 0.5), row("q1", "d2", 1.25)], RunFormat::Trec));
    }

    #[test]
    fn three_columns_are_scores_unless_they_count_up_from_one() {
        let scores = "q1\td 1\t3\nq1\td2\t2\nq2\td1\t1\n";
        let expected = vec![row("q1", "d 1", 3.0), row("q1", "d2", 2.0), row("q2", "d1", 1.0)];
        assert_eq!(run(scores).unwrap(), (expected, RunFormat::Scores));
        let ranks = "q1\td1\t1\nq1\td2\t2\nq2\td1\t1\nq2\td9\t4\n";
        let expected =
            vec![row("q1", "d1", -1.0), row("q1", "d2", -2.0), row("q2", "d1", -1.0), row("q2", "d9", -4.0)];
        assert_eq!(run(ranks).unwrap(), (expected, RunFormat::Ranks));
        assert_eq!(run("q1 d1 1.5\n").unwrap(), (vec![row("q1", "d1", 1.5)], RunFormat::Scores));
    }

    #[test]
    fn mistakes_in_runs_are_told_with_line_field_and_mend() {
        for score in ["NaN", "inf", "-Infinity"] {
            assert_eq!(
                told(run(&format!("q1 Q0 d1 1 2.0 x\nq1 Q0 d2 2 {score} x\n"))),
                format!(
                    ":2: field `sim`: `{score}` is not a finite number | leave out documents without a score"
                )
            );
        }
        assert_eq!(
            told(run("q1 d1\n")),
            ":1: 2 columns; runs have six (qid Q0 docno rank sim tag) or three (qid docid score, qid pid rank) | \
             give a TREC, Tevatron or MS MARCO run"
        );
        assert_eq!(
            told(run("q1 Q0 a 1 2 x\nq2 Q0 a 1 2 x\nq1 Q0 a 2 1 x\n")),
            ": document `a` stands twice for query `q1` | keep one of the two lines: which one counts cannot be guessed"
        );
        assert_eq!(
            told(run("q1\td1\t1\nq1\td2\n")),
            ":2: 2 columns, the lines before have 3 (qid, docid, score) | mend the line, or remove it if the file \
             was cut short"
        );
    }

    #[test]
    fn packed_runs_are_known_by_their_bytes() {
        let text = b"q1 Q0 d1 1 0.5 x\n";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        for bytes in [gzip.finish().unwrap(), zstd::encode_all(&text[..], 1).unwrap()] {
            let (listing, format) = read_run_and_format(file(&bytes).path()).unwrap();
            assert_eq!((rows(&listing), format), (vec![row("q1", "d1", 0.5)], RunFormat::Trec));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_written_run_is_read_back(
            scores in prop::collection::btree_map(("[a-c]", "[a-zé#]{1,3}"), -1e9_f64..1e9, 1..30)
        ) {
            let given: Vec<_> = scores.iter().map(|((q, d), s)| (&**q, &**d, *s)).collect();
            let listing = Run::from_rows(given.iter().copied()).unwrap();
            let mut out = file(b"");
            let path = out.path().to_owned();
            crate::listing::write_run(out.as_file_mut(), &path, &listing, "tag").unwrap();
            let (back, format) = read_run_and_format(&path).unwrap();
            let mut back = rows(&back);
            back.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
            let given: Vec<_> = given.iter().map(|(q, d, s)| row(q, d, *s)).collect();
            prop_assert_eq!((back, format), (given, RunFormat::Trec));
        }
    }
}
