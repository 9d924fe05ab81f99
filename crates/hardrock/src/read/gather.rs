//! Rows of texts become tables: anchors and documents are told apart by their ids or else by their exact texts.

use super::dataset::{Assembly, Dataset, settle_judgements};
use super::judged::empty;
use super::judgements::Judged;
use super::notice;
use super::record::Place;
use super::spec::DataSpec;
use super::table::TableBuilder;
use crate::Result;

/// A document or an anchor as a row gives it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mention<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) title: &'a str,
    /// `None` where the row has only an id.
    pub(crate) text: Option<&'a str>,
}

impl Mention<'_> {
    fn is_empty(&self) -> bool {
        self.title.trim().is_empty() && self.text.is_some_and(|t| t.trim().is_empty())
    }
}

/// Tables that grow row by row.
pub(crate) struct Gather<'a> {
    pub(crate) assembly: Assembly<'a>,
    judged: Vec<Judged>,
    given: Vec<(u32, u32, f32)>,
    has_corpus: bool,
    has_queries: bool,
    strict: bool,
    missing: u64,
    added: u64,
}

impl<'a> Gather<'a> {
    /// The assembly may hold a corpus and queries already.
    pub(crate) fn new(assembly: Assembly<'a>, spec: &DataSpec) -> Self {
        let (has_corpus, has_queries) = (assembly.items.len() > 0, assembly.anchors.len() > 0);
        Self {
            assembly,
            judged: Vec::new(),
            given: Vec::new(),
            has_corpus,
            has_queries,
            strict: spec.strict,
            missing: 0,
            added: 0,
        }
    }

    /// Whether a row can be taken; nothing of it is kept before all of it was checked.
    pub(crate) fn check_anchor(&self, place: Place<'_>, field: &str, mention: Mention<'_>) -> Result<()> {
        let table = &self.assembly.anchors;
        check(table, place, field, mention)?;
        let known = mention.id.and_then(|id| table.find(id)).is_some();
        match (mention.text, mention.id) {
            (None, Some(id)) if !known => {
                let (problem, help) = if self.has_queries {
                    (
                        format!("query `{id}` is not in the queries"),
                        "add it to the queries, or remove the row",
                    )
                } else {
                    (
                        format!("query `{id}` is given by its id alone"),
                        "name the file with the texts: --queries FILE",
                    )
                };
                Err(place.error(problem, help).field(field))
            }
            (None, None) => Err(place.error("missing", "every row needs a query").field(field)),
            _ => Ok(()),
        }
    }

    /// The same for a document.
    pub(crate) fn check_item(&self, place: Place<'_>, field: &str, mention: Mention<'_>) -> Result<()> {
        check(&self.assembly.items, place, field, mention)?;
        match (mention.text, mention.id) {
            (None, Some(id)) if !self.has_corpus => Err(place
                .error(
                    format!("document `{id}` is given by its id alone"),
                    "name the file with the texts: --corpus FILE",
                )
                .field(field)),
            (None, None) if mention.title.is_empty() => {
                Err(place.error("a document has neither id nor text", "give it one").field(field))
            }
            _ if self.strict && self.has_corpus && self.find_item(mention).is_none() => {
                let shown = mention.id.or(mention.text).map(super::record::shorten).unwrap_or_default();
                Err(place
                    .error(
                        format!("document `{shown}` is not in the corpus"),
                        "add it to the corpus, remove the row, or leave out --strict",
                    )
                    .field(field))
            }
            _ => Ok(()),
        }
    }

    fn find_item(&self, mention: Mention<'_>) -> Option<u32> {
        let items = &self.assembly.items;
        match mention.id {
            Some(id) => items.find(id),
            None => items.find_text(mention.title, mention.text.unwrap_or_default()),
        }
    }

    /// The anchor's number, given now if it is new. The mention was checked.
    pub(crate) fn anchor(&mut self, mention: Mention<'_>) -> Result<u32> {
        let table = &mut self.assembly.anchors;
        let text = mention.text.unwrap_or_default();
        match mention.id {
            Some(id) => table.find(id).map_or_else(|| table.push(id, "", text, []), Ok),
            None => match table.find_text("", text) {
                Some(number) => Ok(number),
                None => table.push_unnamed("q", "", text, []),
            },
        }
    }

    /// The document's number, given now if it is new; `None` for an id that the given corpus does not have.
    pub(crate) fn item(&mut self, mention: Mention<'_>) -> Result<Option<u32>> {
        if let Some(number) = self.find_item(mention) {
            return Ok(Some(number));
        }
        let Some(text) = mention.text.or((!mention.title.is_empty()).then_some("")) else {
            self.missing += 1;
            return Ok(None);
        };
        self.added += u64::from(self.has_corpus);
        let table = &mut self.assembly.items;
        match mention.id {
            Some(id) => table.push(id, mention.title, text, []),
            None => table.push_unnamed("d", mention.title, text, []),
        }
        .map(Some)
    }

    pub(crate) fn positive(&mut self, anchor: u32, item: u32, line: u64) {
        let line = super::dataset::line_number(line);
        self.judged.push(Judged { anchor, item, grade: 1, line, file: 0 });
    }

    /// `score` is NaN where there is none.
    pub(crate) fn negative(&mut self, anchor: u32, item: u32, score: f32) {
        self.given.push((anchor, item, score));
    }

    pub(crate) fn finish(self, spec: &DataSpec, files: &[std::path::PathBuf]) -> Result<Dataset> {
        let Self { mut assembly, mut judged, given, missing, added, .. } = self;
        assembly.notices.add(notice::MISSING_DOCUMENTS, missing);
        assembly.notices.add(notice::ADDED, added);
        // A positive that stands in many rows (one per negative) is one judgement, nothing to report.
        judged.sort_unstable_by_key(|j| (j.anchor, j.item, j.line));
        judged.dedup_by_key(|j| (j.anchor, j.item));
        let Assembly { anchors, items, bad, notices, .. } = &mut assembly;
        let judgements = settle_judgements(anchors, items, bad, notices, judged, files)?;
        assembly.finish(spec.level, judgements, &given, files)
    }
}

/// Checks that need only the record and its table.
fn check(table: &TableBuilder, place: Place<'_>, field: &str, mention: Mention<'_>) -> Result<()> {
    if mention.is_empty() {
        return Err(empty(place, field, mention.id.unwrap_or_default()));
    }
    let (Some(id), Some(text)) = (mention.id, mention.text) else { return Ok(()) };
    if id.is_empty() {
        return Err(place.error("empty id", "give every record an id of its own").field(field));
    }
    let Some(number) = table.find(id) else { return Ok(()) };
    if table.is_made_up(number) {
        return Err(place
            .error(
                format!("the id `{id}` was already made up for a text without id"),
                "give ids to all records or to none",
            )
            .field(field));
    }
    if !table.has_text(number, mention.title, text) {
        return Err(place
            .error(
                format!("`{id}` stands for another text here than before"),
                "one id, one text: rename one of them, or leave the row out with --on-bad-row skip",
            )
            .field(field));
    }
    Ok(())
}
