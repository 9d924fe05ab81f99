//! A loaded data set: who the anchors are, what the documents are, who belongs to whom.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bad_rows::BadRows;
use super::column::ColumnSpec;
use super::ids::Ids;
use super::judgements::{Given, Judged, Judgements};
use super::notice::{self, Notices};
use super::record::nearest_field;
use super::spec::{DataSpec, Shape};
use super::table::{Table, TableBuilder};
use super::{OnBadRow, from_rows, judged, texts};
use crate::{Error, Result};

/// Everything that mining knows about its data. Ids are strings outside and dense numbers inside; texts lie on the disk.
pub struct Dataset {
    /// The anchors (queries), in reading order.
    pub anchors: Table,
    /// The documents of the corpus, in reading order.
    pub items: Table,
    /// Which documents are judged for which anchor.
    pub judgements: Judgements,
    /// The least grade that makes a judged document a positive.
    pub level: i32,
    /// Negatives that the data already holds.
    pub given: Option<Given>,
    /// What the readers saw and did not stop for; the names stand in [`super::notice`].
    pub notices: BTreeMap<String, u64>,
}

/// What a load needs besides the data.
#[derive(Clone, Copy)]
pub struct LoadOptions<'a> {
    /// The folder for the texts; made if it is not there. One data set per folder: a saved one there is replaced.
    pub work: &'a Path,
    /// Where records go that `on-bad-row = "skip"` leaves out; `None` = they are only counted.
    pub rejects: Option<&'a Path>,
    /// Columns that filters ask for.
    pub columns: &'a [ColumnSpec],
    /// Called every few thousand records with the number read so far; an error (an interruption) ends the load.
    pub watch: Option<&'a dyn Fn(u64) -> Result<()>>,
}

impl<'a> LoadOptions<'a> {
    /// Texts into `work`, nothing else.
    pub fn new(work: &'a Path) -> Self {
        Self { work, rejects: None, columns: &[], watch: None }
    }
}

impl Dataset {
    /// Loads the data that `spec` names; see [`DataSpec`] for the shapes.
    ///
    /// # Errors
    /// Whatever is wrong with the files, by file, line and field; see [`super::OnBadRow`] for records that may be skipped.
    pub fn load(spec: &DataSpec, options: &LoadOptions<'_>) -> Result<Self> {
        match spec.shape()? {
            Shape::Judged { corpus, queries, qrels } => {
                judged::load(spec, options, &corpus, &queries, &qrels)
            }
            Shape::Texts { rows, corpus, negatives } => texts::load(spec, options, &rows, &corpus, negatives),
            Shape::Rows { rows, format, corpus, queries } => {
                from_rows::load(spec, options, &rows, format, &corpus, &queries)
            }
        }
    }

    /// The positives of an anchor at the data set's level, in order of their numbers.
    pub fn positives(&self, anchor: u32) -> impl Iterator<Item = u32> + '_ {
        self.judgements.positives(anchor, self.level)
    }
}

/// Loads one table alone: the records of a corpus (with titles) or of a file of queries. Answers what the readers noticed
/// as well.
///
/// # Errors
/// As [`Dataset::load`].
pub fn load_table(
    files: &[PathBuf],
    documents: bool,
    on_bad_row: OnBadRow,
    options: &LoadOptions<'_>,
) -> Result<(Table, BTreeMap<String, u64>)> {
    let spec = DataSpec { on_bad_row, ..DataSpec::default() };
    let mut assembly = Assembly::new(&spec, options, false)?;
    let side = if documents { judged::Side::Items } else { judged::Side::Anchors };
    judged::read_table(&mut assembly, files, side, None)?;
    let Assembly { anchors, items, mut bad, mut notices, .. } = assembly;
    notices.add(notice::SKIPPED, bad.finish()?);
    let table = if documents { items } else { anchors };
    if table.len() == 0 {
        return Err(Error::usage("there is no text in the data", "check that this is the right file"));
    }
    Ok((table.finish(&[], &[])?, notices.finish()))
}

/// A data set while it is read.
pub(crate) struct Assembly<'a> {
    pub(crate) anchors: TableBuilder,
    pub(crate) items: TableBuilder,
    pub(crate) labels: Vec<Ids>,
    pub(crate) notices: Notices,
    pub(crate) bad: BadRows,
    pub(crate) options: &'a LoadOptions<'a>,
    pub(crate) records: u64,
}

impl<'a> Assembly<'a> {
    /// `by_text`: both sides can be looked up by text.
    pub(crate) fn new(spec: &DataSpec, options: &'a LoadOptions<'a>, by_text: bool) -> Result<Self> {
        super::store::forget(options.work)?;
        let table = |name| TableBuilder::create(options.work, name, options.columns, by_text);
        Ok(Self {
            anchors: table(ANCHORS)?,
            items: table(ITEMS)?,
            labels: options.columns.iter().map(|_| Ids::new()).collect(),
            notices: Notices::default(),
            bad: BadRows::new(spec.on_bad_row, options.rejects)?,
            options,
            records: 0,
        })
    }

    /// Lends out what judges records, so that a loop over records can hold it beside the tables.
    pub(crate) fn take_judges(&mut self) -> Result<(BadRows, Notices)> {
        let stand_in = BadRows::new(super::OnBadRow::Stop, None)?;
        Ok((std::mem::replace(&mut self.bad, stand_in), std::mem::take(&mut self.notices)))
    }

    /// Takes them back.
    pub(crate) fn give_judges(&mut self, bad: BadRows, notices: Notices) {
        self.bad = bad;
        self.notices = notices;
    }

    /// Ends reading: rows are built, what is empty or asked for in vain is an error.
    pub(crate) fn finish(
        mut self,
        level: i32,
        judgements: Judgements,
        given: &[(u32, u32, f32)],
        files: &[impl AsRef<Path>],
    ) -> Result<Dataset> {
        let skipped = self.bad.finish()?;
        self.notices.add(notice::SKIPPED, skipped);
        for (what, table) in [("document", &self.items), ("anchor", &self.anchors)] {
            if table.len() == 0 {
                let problem = match self.bad.first() {
                    Some(first) => {
                        format!("no {what} is left: {skipped} rows could not be read, the first: {first}")
                    }
                    None => format!("there is no {what} in the data"),
                };
                return Err(Error::usage(problem, "check that these are the right files"));
            }
        }
        let without = (0..judgements.anchors() as u32)
            .filter(|&a| judgements.positives(a, level).next().is_none())
            .count();
        self.notices.add(notice::NO_POSITIVE, without as u64);
        let given = (!given.is_empty()).then(|| Given::new(self.anchors.len(), given));
        let names: Vec<Arc<Vec<String>>> =
            self.labels.iter().map(|l| Arc::new(l.iter().map(str::to_owned).collect())).collect();
        let specs = self.options.columns;
        let anchors = self.anchors.finish(specs, &names)?;
        let items = self.items.finish(specs, &names)?;
        if let Some(spec) =
            specs.iter().find(|s| anchors.column(&s.name).is_none() && items.column(&s.name).is_none())
        {
            return Err(nearest_field(&spec.name, files));
        }
        Ok(Dataset { anchors, items, judgements, level, given, notices: self.notices.finish() })
    }
}

/// Name of the anchors' text file in the work folder.
pub(crate) const ANCHORS: &str = "anchors.text";
/// Name of the documents' text file in the work folder.
pub(crate) const ITEMS: &str = "items.text";

/// A line number as a judgement keeps it.
pub(crate) fn line_number(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// Builds the judgements; a contradiction is an error, or with `skip` a reject.
pub(crate) fn settle_judgements(
    anchors: &TableBuilder,
    items: &TableBuilder,
    bad: &mut BadRows,
    notices: &mut Notices,
    list: Vec<Judged>,
    files: &[impl AsRef<Path>],
) -> Result<Judgements> {
    let (judgements, repeats) = super::judgements::gather(anchors.len(), list, |conflict| {
        let (anchor, item) = (anchors.id(conflict.second.anchor), items.id(conflict.second.item));
        let raw = format!("{anchor}\t{item}\t{}", conflict.second.grade);
        bad.settle(Err(conflict.error(files, anchor, item)), || raw).map(|_| ())
    })?;
    notices.add(notice::REPEATED, repeats);
    Ok(judgements)
}
