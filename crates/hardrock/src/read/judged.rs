//! Corpus, queries and qrels: BEIR folders, the hub's Parquet, MS MARCO's and TREC's tables.
//!
//! The qrels come first: they are small, and a wrong split or a wrong file is told before the corpus is read.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::column::{ColumnSpec, Value};
use super::dataset::{Assembly, Dataset, LoadOptions, line_number, settle_judgements};
use super::files::name_of;
use super::ids::Ids;
use super::judgements::Judged;
use super::notice;
use super::record::{self, Fields, Kind, Place, Scalar};
use super::spec::DataSpec;
use super::table::TableBuilder;
use super::vectors::{VectorFile, file_of};
use crate::{Error, Result};
use hardrock_engine::index::rows::Rows;

/// Names of a record's own id.
pub(crate) const ID: [&str; 8] =
    ["_id", "id", "docid", "doc_id", "document_id", "corpus-id", "corpus_id", "pid"];
/// Names of a query's own id.
pub(crate) const QUERY_ID: [&str; 5] = ["_id", "id", "query_id", "query-id", "qid"];
const TEXT: [&str; 4] = ["text", "contents", "document_text", "passage"];
const QUERY_TEXT: [&str; 4] = ["text", "query", "query_text", "question"];

/// Columns as an assembly keeps records of one side.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Anchors,
    Items,
}

/// How ids were written, in formats that tell numbers from strings.
#[derive(Default)]
pub(crate) struct IdForms {
    pub(crate) numbers: u64,
    pub(crate) strings: u64,
}

/// The judgements as they stand in the files, ids numbered apart from the tables.
#[derive(Default)]
struct Qrels {
    queries: Ids,
    docs: Ids,
    /// `anchor` and `item` are numbers of `queries` and `docs` here.
    lines: Vec<Judged>,
}

/// Loads the data set.
pub(crate) fn load(
    spec: &DataSpec,
    options: &LoadOptions<'_>,
    corpus: &[PathBuf],
    queries: &[PathBuf],
    qrels_files: &[PathBuf],
) -> Result<Dataset> {
    let mut assembly = Assembly::new(spec, options, false)?;
    let qrels = read_qrels(&mut assembly, qrels_files)?;
    let asked = (!qrels_files.is_empty()).then_some(&qrels.queries);
    let unjudged = read_table(&mut assembly, queries, Side::Anchors, asked)?;
    let anchor_of: Vec<Option<u32>> = qrels.queries.iter().map(|id| assembly.anchors.find(id)).collect();
    // Where every query was set aside, the end says so; the qrels are not to blame.
    if assembly.anchors.len() as u64 + unjudged > 0 {
        check_split(&qrels, &anchor_of, unjudged, qrels_files, queries)?;
    }
    assembly.notices.add(notice::UNJUDGED_QUERIES, unjudged);
    read_table(&mut assembly, corpus, Side::Items, None)?;
    let item_of: Vec<Option<u32>> = qrels.docs.iter().map(|id| assembly.items.find(id)).collect();
    if let (true, Some(first), Some(file)) = (
        assembly.items.len() > 0 && item_of.iter().all(Option::is_none),
        qrels.lines.first(),
        qrels_files.first(),
    ) {
        return Err(Error::input(
            file,
            None,
            format!(
                "none of its documents is in {}, such as `{}`",
                shown(corpus),
                qrels.docs.get(first.item)
            ),
            "these judgements belong to another corpus, or its ids are written in another way",
        ));
    }
    let mut list = Vec::with_capacity(qrels.lines.len());
    let (mut lost_queries, mut lost_docs) = (0, 0);
    for judged in &qrels.lines {
        let anchor = anchor_of.get(judged.anchor as usize).copied().flatten();
        let item = item_of.get(judged.item as usize).copied().flatten();
        let (Some(anchor), Some(item)) = (anchor, item) else {
            let (what, id, files) = match anchor {
                None => ("query", qrels.queries.get(judged.anchor), queries),
                Some(_) => ("document", qrels.docs.get(judged.item), corpus),
            };
            lost_queries += u64::from(anchor.is_none());
            lost_docs += u64::from(anchor.is_some());
            if let (true, Some(file)) = (spec.strict, qrels_files.get(judged.file as usize)) {
                return Err(Error::input(
                    file,
                    u64::from(judged.line),
                    format!("{what} `{id}` is not in {}", shown(files)),
                    "add it, remove the line, or leave out --strict",
                ));
            }
            continue;
        };
        list.push(Judged { anchor, item, ..*judged });
    }
    drop(qrels);
    assembly.notices.add(notice::MISSING_QUERIES, lost_queries);
    assembly.notices.add(notice::MISSING_DOCUMENTS, lost_docs);
    let negative = list.iter().filter(|j| j.grade < 0).count();
    assembly.notices.add(notice::NEGATIVE_GRADES, negative as u64);
    let Assembly { anchors, items, bad, notices, .. } = &mut assembly;
    let judgements = settle_judgements(anchors, items, bad, notices, list, qrels_files)?;
    assembly.finish(spec.level, judgements, &[], &[corpus, queries].concat())
}

/// The qrels of another split name hardly any query that is there.
fn check_split(
    qrels: &Qrels,
    anchor_of: &[Option<u32>],
    unjudged: u64,
    files: &[PathBuf],
    queries: &[PathBuf],
) -> Result<()> {
    let (named, found) = (anchor_of.len() as u64, anchor_of.iter().flatten().count() as u64);
    // Few of either side: a trial with the first hundred queries still matches nearly all of those.
    let few = found * 10 < named && found * 2 < found + unjudged;
    let (true, Some(file)) = (named > 0 && (found == 0 || few), files.first()) else { return Ok(()) };
    let lost = anchor_of.iter().position(Option::is_none).unwrap_or_default();
    let lost = qrels.queries.get(lost as u32);
    Err(Error::input(
        file,
        None,
        format!("of its {named} queries only {found} are in {}; `{lost}`, for one, is not", shown(queries)),
        "these are the judgements of another split or of other queries: choose the split that fits, or the queries that do",
    ))
}

fn shown(files: &[PathBuf]) -> String {
    match files {
        [one] => name_of(one),
        [first, .., last] => format!("{} … {}", name_of(first), name_of(last)),
        [] => String::new(),
    }
}

fn read_qrels(assembly: &mut Assembly<'_>, files: &[PathBuf]) -> Result<Qrels> {
    let mut fields = Fields::default();
    let query = fields.slot(true, ["query-id", "query_id", "qid", "query"]);
    let doc = fields.slot(true, ["corpus-id", "corpus_id", "docid", "doc_id", "document_id", "docno", "pid"]);
    let score = fields.slot(true, ["score", "relevance", "grade", "label", "rel"]);
    fields.headerless(3..=3, &[Some(0), Some(1), Some(2)]);
    fields.headerless(4..=4, &[Some(0), Some(2), Some(3)]);
    fields.trec();
    let mut qrels = Qrels::default();
    let Assembly { notices, bad, options, records, .. } = assembly;
    for (number, path) in files.iter().enumerate() {
        let mut forms = IdForms::default();
        let typed = typed(path)?;
        record::for_each(path, &fields, bad, notices, &mut |place, row| {
            tick(options, records)?;
            let query_id = id(place, "query-id", &row[query], typed, &mut forms)?;
            let doc_id = id(place, "corpus-id", &row[doc], typed, &mut forms)?;
            let judged = Judged {
                grade: grade(place, &row[score])?,
                anchor: qrels.queries.intern(&query_id).0,
                item: qrels.docs.intern(&doc_id).0,
                line: line_number(place.line),
                file: number as u32,
            };
            qrels.lines.push(judged);
            Ok(())
        })?;
        notices.ids(forms.numbers, forms.strings);
    }
    if let (true, Some(file)) = (qrels.lines.is_empty(), files.first()) {
        return Err(Error::input(file, None, "holds no judgement", "check that this is the right file"));
    }
    Ok(qrels)
}

fn grade(place: Place<'_>, value: &Scalar<'_>) -> Result<i32> {
    let number = match value {
        Scalar::Int(n) => i32::try_from(*n).ok(),
        Scalar::Float(x) => whole(*x),
        Scalar::Text(t) => t.trim().parse().ok().or_else(|| t.trim().parse().ok().and_then(whole)),
        _ => None,
    };
    number.ok_or_else(|| {
        place
            .error(
                format!("{} is no grade", value.kind()),
                "grades are whole numbers; a run with scores is not a qrels file, use it as a source: run:FILE",
            )
            .field("score")
    })
}

fn whole(x: f64) -> Option<i32> {
    (x.fract() == 0.0 && x.abs() <= f64::from(i32::MAX)).then_some(x as i32)
}

/// Reads one side. With `asked` only records whose id is in it are kept; returns how many others there were.
pub(crate) fn read_table(
    assembly: &mut Assembly<'_>,
    files: &[PathBuf],
    side: Side,
    asked: Option<&Ids>,
) -> Result<u64> {
    let columns = assembly.options.columns;
    let (fields, slots) = fields_of(side, columns);
    let Assembly { anchors, items, labels, notices, bad, options, records } = assembly;
    let table = if side == Side::Items { items } else { anchors };
    let mut left_out = 0;
    for path in files {
        if is_vectors(path) {
            left_out += read_ids(table, path, asked)?;
            continue;
        }
        let mut forms = IdForms::default();
        let typed = typed(path)?;
        let mut values = Vec::new();
        record::for_each(path, &fields, bad, notices, &mut |place, row| {
            tick(options, records)?;
            table.see();
            let id = id(place, fields.name(0), &row[0], typed, &mut forms)?;
            if asked.is_some_and(|asked| asked.find(&id).is_none()) {
                left_out += 1;
                return Ok(());
            }
            let text = text(place, "text", &row[1])?;
            let title = match row.get(2) {
                Some(title) if side == Side::Items => self::text(place, "title", title)?,
                _ => "",
            };
            if title.trim().is_empty() && text.trim().is_empty() {
                return Err(empty(place, "text", &id));
            }
            if table.find(&id).is_some() {
                return Err(duplicate(place, files, &fields, &id));
            }
            values.clear();
            for ((spec, slot), labels) in columns.iter().zip(slots..).zip(labels.iter_mut()) {
                values.push(Value::read(place, spec, &row[slot], labels)?);
            }
            table.push(&id, title, text, values.iter().copied())?;
            Ok(())
        })?;
        notices.ids(forms.numbers, forms.strings);
    }
    Ok(left_out)
}

/// A file of vectors stands for records that have ids and no texts.
pub(crate) fn is_vectors(path: &Path) -> bool {
    file_of(path).extension().is_some_and(|e| e == "npy" || e == "safetensors")
}

/// Reads the ids of a file of vectors; without ids of its own, rows are called by their numbers from 0. Returns how many
/// nobody asked for.
fn read_ids(table: &mut TableBuilder, path: &Path, asked: Option<&Ids>) -> Result<u64> {
    let file = VectorFile::open(path, Path::new("."))?;
    let mut left_out = 0;
    for row in 0..file.len() as u32 {
        table.see();
        let id = file.ids().map_or_else(|| row.to_string(), |ids| ids.get(row).to_owned());
        if asked.is_some_and(|asked| asked.find(&id).is_none()) {
            left_out += 1;
        } else {
            table.push(&id, "", "", [])?;
        }
    }
    Ok(left_out)
}

/// Slots 0 = id, 1 = text, 2 = title (documents only), and the number of the first extra column's slot.
fn fields_of(side: Side, columns: &[ColumnSpec]) -> (Fields, usize) {
    let mut fields = Fields::default();
    if side == Side::Items {
        fields.slot(true, ID);
        fields.slot(true, TEXT);
        fields.slot(false, ["title"]);
    } else {
        fields.slot(true, QUERY_ID);
        fields.slot(true, QUERY_TEXT);
    }
    let first = fields.len();
    for column in columns {
        fields.slot(false, [&column.name]);
    }
    let mut by_position = vec![None; fields.len()];
    by_position[..2].copy_from_slice(&[Some(0), Some(1)]);
    fields.headerless(2..=2, &by_position);
    (fields, first)
}

/// Whether the file's format tells numbers from strings.
pub(crate) fn typed(path: &Path) -> Result<bool> {
    Ok(matches!(Kind::of(path)?, Kind::Jsonl | Kind::Parquet))
}

/// Counts a record and gives the caller a word now and then.
pub(crate) fn tick(options: &LoadOptions<'_>, records: &mut u64) -> Result<()> {
    *records += 1;
    match options.watch {
        Some(watch) if records.is_multiple_of(4096) => watch(*records),
        _ => Ok(()),
    }
}

/// An id: a string, or a whole number, which is the same id as its digits.
pub(crate) fn id<'s>(
    place: Place<'_>,
    name: &str,
    value: &'s Scalar<'_>,
    typed: bool,
    forms: &mut IdForms,
) -> Result<Cow<'s, str>> {
    match value {
        Scalar::Text(id) if id.is_empty() => {
            Err(place.error("empty", "give every record an id of its own").field(name))
        }
        Scalar::Text(id) => {
            forms.strings += u64::from(typed);
            Ok(Cow::Borrowed(id))
        }
        Scalar::Int(n) => {
            forms.numbers += u64::from(typed);
            Ok(Cow::Owned(n.to_string()))
        }
        other => Err(place
            .error(format!("{} is no id", other.kind()), "an id is a string or a whole number")
            .field(name)),
    }
}

/// A text; null and a field that is not there are empty.
pub(crate) fn text<'s>(place: Place<'_>, name: &str, value: &'s Scalar<'_>) -> Result<&'s str> {
    match value {
        Scalar::Text(text) => Ok(text),
        Scalar::Absent | Scalar::Null => Ok(""),
        other => Err(place
            .error(format!("{} where a string is wanted", other.kind()), "write the text as one string")
            .field(name)),
    }
}

/// The error for a record without a text.
pub(crate) fn empty(place: Place<'_>, field: &str, id: &str) -> Error {
    let whose = if id.is_empty() { String::new() } else { format!(" (id `{id}`)") };
    place
        .error(
            format!("empty{whose}"),
            "give it a text, remove the record, or leave such out with --on-bad-row skip",
        )
        .field(field)
}

fn duplicate(place: Place<'_>, files: &[PathBuf], fields: &Fields, id: &str) -> Error {
    let first = first_place(files, fields, id);
    let whence = match first {
        Some((path, line)) if path == place.path => format!("in line {line}"),
        Some((path, line)) => format!("in {}:{line}", path.display()),
        None => "before".to_owned(),
    };
    place
        .error(
            format!("`{id}` was already given {whence}"),
            "ids must be distinct: rename or remove one, or keep the first of each with --on-bad-row skip",
        )
        .field(fields.name(0))
}

/// Where an id stands first: read again, so that no line number is kept for millions of records that are fine.
fn first_place<'f>(files: &'f [PathBuf], fields: &Fields, id: &str) -> Option<(&'f Path, u64)> {
    let mut found = None;
    for path in files {
        let mut bad = super::bad_rows::BadRows::new(super::OnBadRow::Skip, None).ok()?;
        let mut forms = IdForms::default();
        // The interruption only ends the search; whatever else fails was told when the file was read first.
        let _ =
            record::for_each(path, fields, &mut bad, &mut notice::Notices::default(), &mut |place, row| {
                match self::id(place, "", &row[0], false, &mut forms)? {
                    this if this == id => {
                        found = Some((path.as_path(), place.line));
                        Err(Error::Interrupted)
                    }
                    _ => Ok(()),
                }
            });
        if found.is_some() {
            break;
        }
    }
    found
}
