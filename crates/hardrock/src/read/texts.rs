//! Pairs and triples: rows of texts, taken by the names of their columns or by position.

use std::path::{Path, PathBuf};

use super::column::Value;
use super::dataset::{Assembly, Dataset, LoadOptions};
use super::gather::{Gather, Mention};
use super::judged::{self, IdForms, Side, tick, typed};
use super::record::{self, Fields, Kind, Scalar};
use super::spec::DataSpec;
use super::{columnar, delimited, input, json};
use crate::{Error, Result};

/// Names that tell that the first row of delimited text is a header.
const HEADER: [&str; 24] = [
    "anchor",
    "query",
    "question",
    "positive",
    "pos",
    "negative",
    "neg",
    "answer",
    "passage",
    "document",
    "text",
    "text1",
    "text2",
    "text_1",
    "text_2",
    "sentence",
    "sentence1",
    "sentence2",
    "sentence_1",
    "sentence_2",
    "title",
    "response",
    "label",
    "score",
];
const ANCHOR_ID: [&str; 4] = ["anchor_id", "query_id", "query-id", "qid"];
const POSITIVE_ID: [&str; 7] =
    ["positive_id", "doc_id", "docid", "document_id", "corpus_id", "corpus-id", "pid"];
const NEGATIVE_ID: [&str; 1] = ["negative_id"];
/// Columns that are no texts, whatever their place.
const NO_TEXT: [&str; 4] = ["_id", "id", "label", "score"];

/// Loads pairs, or with `negatives` triples; `corpus` may be empty.
pub(crate) fn load(
    spec: &DataSpec,
    options: &LoadOptions<'_>,
    rows: &[PathBuf],
    corpus: &[PathBuf],
    negatives: bool,
) -> Result<Dataset> {
    let mut assembly = Assembly::new(spec, options, true)?;
    if !corpus.is_empty() {
        judged::read_table(&mut assembly, corpus, Side::Items, None)?;
    }
    let mut gather = Gather::new(assembly, spec);
    for path in rows {
        read(&mut gather, spec, path, negatives)?;
    }
    gather.finish(spec, &[corpus, rows].concat())
}

fn read(gather: &mut Gather<'_>, spec: &DataSpec, path: &Path, negatives: bool) -> Result<()> {
    let columns = gather.assembly.options.columns;
    let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
    let texts = text_columns(spec, path, negatives, &names)?;
    let mut fields = Fields::default();
    for name in &texts.names {
        fields.slot(true, [name]);
    }
    let width = texts.names.len();
    let first_id = fields.len();
    for ids in [&ANCHOR_ID[..], &POSITIVE_ID, &NEGATIVE_ID].into_iter().take(width) {
        let free = ids.iter().filter(|n| !texts.names.iter().any(|t| t == *n));
        fields.slot(false, free.copied());
    }
    let first_column = fields.len();
    for name in &names {
        fields.slot(false, [*name]);
    }
    if texts.by_position {
        let mut slots = vec![None; fields.len()];
        (0..width).for_each(|i| slots[i] = Some(i));
        fields.headerless(width..=usize::MAX, &slots);
    }
    let typed = typed(path)?;
    let mut forms = IdForms::default();
    let (mut bad, mut notices) = gather.assembly.take_judges()?;
    let done = record::for_each(path, &fields, &mut bad, &mut notices, &mut |place, row| {
        tick(gather.assembly.options, &mut gather.assembly.records)?;
        let mut mentions = [Mention::default(); 3];
        let mut ids = [const { None }; 3];
        for (i, id) in ids.iter_mut().enumerate().take(width) {
            *id = match &row[first_id + i] {
                Scalar::Absent | Scalar::Null => None,
                value => Some(judged::id(place, fields.name(first_id + i), value, typed, &mut forms)?),
            };
        }
        for (i, (mention, id)) in mentions.iter_mut().zip(&ids).enumerate().take(width) {
            let text = judged::text(place, &texts.names[i], &row[i])?;
            *mention = Mention { id: id.as_deref(), title: "", text: Some(text) };
        }
        gather.check_anchor(place, &texts.names[0], mentions[0])?;
        for (name, mention) in texts.names.iter().zip(mentions).skip(1) {
            gather.check_item(place, name, mention)?;
        }
        let mut values = Vec::with_capacity(columns.len());
        for ((spec, value), labels) in
            columns.iter().zip(&row[first_column..]).zip(&mut gather.assembly.labels)
        {
            values.push(Value::read(place, spec, value, labels)?);
        }
        let anchor = gather.anchor(mentions[0])?;
        gather.assembly.anchors.fill(anchor, values.iter().copied());
        if let Some(item) = gather.item(mentions[1])? {
            gather.assembly.items.fill(item, values.iter().copied());
            gather.positive(anchor, item, place.line);
        }
        if negatives && let Some(item) = gather.item(mentions[2])? {
            gather.negative(anchor, item, f32::NAN);
        }
        Ok(())
    });
    notices.ids(forms.numbers, forms.strings);
    gather.assembly.give_judges(bad, notices);
    done
}

/// The text columns of a file.
struct TextColumns {
    names: Vec<String>,
    /// Delimited text without a header: the first columns are meant.
    by_position: bool,
}

fn text_columns(spec: &DataSpec, path: &Path, negatives: bool, asked: &[&str]) -> Result<TextColumns> {
    let usual = if negatives { &["anchor", "positive", "negative"][..] } else { &["anchor", "positive"] };
    let chosen = [&spec.anchor_column, &spec.positive_column, &spec.negative_column];
    let chosen = &chosen[..usual.len()];
    let kind = Kind::of(path)?;
    let mut there = match kind {
        Kind::Parquet => columnar::names(path)?.into_iter().filter(|n| !n.contains('.')).collect(),
        Kind::Jsonl => first_keys(path)?,
        Kind::Csv | Kind::Tsv => delimited::first_row(path, kind == Kind::Csv)?,
    };
    if matches!(kind, Kind::Csv | Kind::Tsv) && chosen.iter().all(|c| c.is_none()) {
        let known = |n: &String| HEADER.contains(&n.as_str()) || asked.contains(&n.as_str());
        if !there.iter().any(known) {
            return Ok(TextColumns {
                names: usual.iter().map(|&n| n.to_owned()).collect(),
                by_position: true,
            });
        }
    }
    if chosen.iter().all(|c| c.is_none()) && usual.iter().all(|u| there.iter().any(|t| t == u)) {
        return Ok(TextColumns { names: usual.iter().map(|&n| n.to_owned()).collect(), by_position: false });
    }
    let all = there.clone();
    let ids = [&ANCHOR_ID[..], &POSITIVE_ID, &NEGATIVE_ID, &NO_TEXT].concat();
    there.retain(|n| {
        !ids.contains(&n.as_str())
            && !asked.contains(&n.as_str())
            && !chosen.iter().any(|c| c.as_deref() == Some(n.as_str()))
    });
    let mut rest = there.into_iter();
    let mut names = Vec::new();
    for name in chosen {
        let next = match name {
            Some(name) => Some(name.clone()),
            None => rest.next(),
        };
        names.push(next.ok_or_else(|| {
            let list = all.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ");
            Error::input(
                path,
                None,
                format!("needs {} text columns, its columns are {list}", usual.len()),
                "name them with --anchor-column and --positive-column, or use another shape of data",
            )
        })?);
    }
    Ok(TextColumns { names, by_position: false })
}

/// Field names of the first JSON record, in the file's order.
pub(crate) fn first_keys(path: &Path) -> Result<Vec<String>> {
    let mut lines = input::open(path)?.lines();
    while let Some(line) = lines.next_line() {
        let Ok((_, text)) = line else { continue };
        let keys = json::keys(text);
        // A broken first line is told, or skipped, when the file is read.
        if !keys.is_empty() {
            return Ok(keys);
        }
    }
    Ok(Vec::new())
}
