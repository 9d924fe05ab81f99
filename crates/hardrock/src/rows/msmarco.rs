//! MS MARCO: triples of texts, triples of ids, and the published hard negatives by mining system.

use std::path::Path;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::record::Record;
use super::records::PlainLines;
use super::sink::TextSink;
use super::{Doc, RowFormat, RowWriter, TrainingRow, WriteOptions, Written};
use crate::{Error, Result};

/// Writer of `query<TAB>positive<TAB>negative`, as texts or as ids: one line per positive and negative, no header.
pub(super) struct TriplesWriter {
    sink: TextSink,
    ids: bool,
    written: Written,
}

impl TriplesWriter {
    pub(super) fn create(path: &Path, format: RowFormat, options: &WriteOptions) -> Result<Self> {
        let ids = format == RowFormat::MsmarcoIds;
        Ok(Self { sink: TextSink::create(path, options.force)?, ids, written: Written::default() })
    }

    /// The document as a field: its id, or its text on one line.
    fn field(&mut self, row: &TrainingRow, doc: &Doc) -> Result<String> {
        if self.ids { unbroken(row.id_of(doc)?) } else { Ok(self.flat(&row.text_of(doc)?)) }
    }

    /// The text with tabs and line breaks as blanks: the format has no way to quote them.
    fn flat(&mut self, text: &str) -> String {
        if !text.contains(['\t', '\n', '\r']) {
            return text.to_owned();
        }
        self.written.flattened += 1;
        text.replace("\r\n", " ").replace(['\t', '\n', '\r'], " ")
    }
}

impl RowWriter for TriplesWriter {
    fn write(&mut self, row: &TrainingRow) -> Result<()> {
        self.written.rows += 1;
        if row.positives.is_empty() {
            self.written.without_positives += 1;
            return Ok(());
        }
        if row.negatives.is_empty() {
            self.written.without_negatives += 1;
            return Ok(());
        }
        let anchor = if self.ids { unbroken(row.anchor_id()?)? } else { self.flat(row.anchor_text()?) };
        let negatives: Vec<String> =
            row.negatives.iter().map(|d| self.field(row, d)).collect::<Result<_>>()?;
        for positive in &row.positives {
            let positive = self.field(row, positive)?;
            for negative in &negatives {
                self.sink.line(format!("{anchor}\t{positive}\t{negative}").as_bytes())?;
                self.written.records += 1;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Written> {
        Ok(self.written.with_files(vec![self.sink.seal()?.publish()?]))
    }
}

/// The id, unless it would break the line into other fields.
fn unbroken(id: &str) -> Result<String> {
    if id.contains(['\t', '\n', '\r']) {
        return Err(Error::usage(
            format!("the id {id:?} holds a tab or a line break, which this format cannot quote"),
            "rename it, or write another format",
        ));
    }
    Ok(id.to_owned())
}

/// Reads a line of triples; [`joins`] says which lines belong together.
pub(super) fn triple_row(ids: bool, [anchor, positive, negative]: [String; 3]) -> TrainingRow {
    if ids {
        let doc = |id| Doc { id: Some(id), ..Doc::default() };
        return TrainingRow {
            query_id: Some(anchor),
            query: None,
            positives: vec![doc(positive)],
            negatives: vec![doc(negative)],
        };
    }
    let doc = |text| Doc { text: Some(text), ..Doc::default() };
    TrainingRow {
        query_id: None,
        query: Some(anchor),
        positives: vec![doc(positive)],
        negatives: vec![doc(negative)],
    }
}

/// Whether `next` continues `row`: same anchor and same positive.
pub(super) fn joins(row: &TrainingRow, next: &TrainingRow) -> bool {
    row.query_id == next.query_id && row.query == next.query && row.positives == next.positives
}

/// Opens a file of triples.
pub(super) fn triples(path: &Path) -> Result<PlainLines<3>> {
    PlainLines::open(path, super::records::Split::Tabs)
}

/// Name of the system of negatives whose source is not known.
const UNNAMED: &str = "hardrock";

/// Writer of `{"qid": …, "pos": [ids], "neg": {"system": [ids]}}`.
pub(super) struct HardNegativesWriter {
    sink: TextSink,
    /// Whether ids are written as numbers, as the published files do; the first row decides.
    numbers: Option<bool>,
    written: Written,
}

impl HardNegativesWriter {
    pub(super) fn create(path: &Path, options: &WriteOptions) -> Result<Self> {
        Ok(Self { sink: TextSink::create(path, options.force)?, numbers: None, written: Written::default() })
    }

    fn id(&mut self, id: &str) -> Result<Id> {
        let number = id.parse::<u64>().ok().filter(|n| n.to_string() == id);
        match (*self.numbers.get_or_insert(number.is_some()), number) {
            (true, Some(number)) => Ok(Id::Number(number)),
            (false, _) => Ok(Id::Text(id.to_owned())),
            (true, None) => Err(Error::usage(
                format!("the id `{id}` is no whole number, but the ids before it are"),
                "this format cannot mix them; write tevatron or native instead",
            )),
        }
    }
}

/// An id as it is written.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Text(String),
}

/// Negatives by system, by name: what is read and written again does not change.
struct BySystem(Vec<(String, Vec<Id>)>);

impl Serialize for BySystem {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (system, ids) in &self.0 {
            map.serialize_entry(system, ids)?;
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct HardNegatives {
    qid: Id,
    pos: Vec<Id>,
    neg: BySystem,
}

impl RowWriter for HardNegativesWriter {
    fn write(&mut self, row: &TrainingRow) -> Result<()> {
        self.written.rows += 1;
        let qid = self.id(row.anchor_id()?)?;
        let pos = row.positives.iter().map(|d| self.id(row.id_of(d)?)).collect::<Result<_>>()?;
        let mut systems: Vec<(String, Vec<Id>)> = Vec::new();
        for doc in &row.negatives {
            let id = row.id_of(doc)?;
            for system in doc.source.as_deref().unwrap_or(UNNAMED).split('+') {
                let id = self.id(id)?;
                match systems.iter_mut().find(|(name, _)| name == system) {
                    Some((_, ids)) => ids.push(id),
                    None => systems.push((system.to_owned(), vec![id])),
                }
            }
        }
        systems.sort_by(|a, b| a.0.cmp(&b.0));
        self.written.records += 1;
        self.sink.json(&HardNegatives { qid, pos, neg: BySystem(systems) })
    }

    fn finish(self: Box<Self>) -> Result<Written> {
        Ok(self.written.with_files(vec![self.sink.seal()?.publish()?]))
    }
}

/// Reads a line of hard negatives, systems by name. A document that several systems name is one negative, its source their
/// names joined by `+`.
pub(super) fn hard_negatives_row(record: &mut Record) -> Result<TrainingRow> {
    let query_id = match record.optional_id("qid")? {
        Some(id) => Some(id),
        None => return Err(record.missing("qid")),
    };
    let positives = record.ids("pos")?.into_iter().map(|id| Doc { id: Some(id), ..Doc::default() }).collect();
    let mut negatives: Vec<Doc> = Vec::new();
    let mut systems = record.object("neg")?.ok_or_else(|| record.missing("neg"))?;
    let names: Vec<String> = systems.names().map(str::to_owned).collect();
    for system in names {
        for id in systems.ids(&system)? {
            match negatives.iter_mut().find(|d| d.id.as_deref() == Some(&id)) {
                Some(doc) => {
                    let sources = doc.source.get_or_insert_default();
                    sources.push('+');
                    sources.push_str(&system);
                }
                None => negatives.push(Doc { id: Some(id), source: Some(system.clone()), ..Doc::default() }),
            }
        }
    }
    Ok(TrainingRow { query_id, query: None, positives, negatives })
}
