//! What filters look up per document and per anchor: known positives, text hashes, families, groups, times.

use std::sync::atomic::AtomicBool;

use hardrock_core::{ABSENT, Catalogue, ItemId, Known};

use super::Progress;
use super::budget::Budget;
use super::plan::Plan;
use crate::read::{self, Column, Dataset, NO_TEXT};
use crate::{Error, Result};

/// Positives of each anchor and of all anchors with the same normalised text.
pub(super) fn known_positives(dataset: &Dataset, level: i32) -> Known {
    let mut by_text: hashbrown::HashMap<u64, Vec<ItemId>> = hashbrown::HashMap::new();
    let anchors = 0..dataset.anchors.len() as u32;
    let own = |a| dataset.judgements.positives(a, level).map(ItemId);
    let with_text = |a: &u32| dataset.anchors.text_hash(*a) != NO_TEXT;
    for a in anchors.clone().filter(with_text) {
        let positives = own(a);
        by_text.entry(dataset.anchors.text_hash(a)).or_default().extend(positives);
    }
    Known::new(anchors.map(|a| match by_text.get(&dataset.anchors.text_hash(a)) {
        Some(shared) => shared.clone(),
        None => own(a).collect(),
    }))
}

/// What filters look up per document and per anchor.
pub(super) fn catalogues(
    plan: &Plan,
    dataset: &Dataset,
    budget: Budget,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<(Catalogue, Catalogue)> {
    let mut items = Catalogue { text: dataset.items.text_hashes().to_vec(), ..Catalogue::default() };
    let mut anchors = Catalogue { text: dataset.anchors.text_hashes().to_vec(), ..Catalogue::default() };
    if plan.has("family") && plan.family_graph().is_none() {
        progress.stage("find near-duplicates", dataset.items.len() as u64, "documents");
        items.family =
            Some(crate::sources::families(&dataset.items, plan.family_threshold(), budget.index, cancel)?);
    }
    if let Some(group) = plan.group() {
        items.group = Some(labels(&dataset.items, &group.column)?);
    }
    if let Some(time) = plan.time() {
        items.time = Some(times(&dataset.items, &time.column, "corpus")?);
        anchors.time = Some(times(&dataset.anchors, &time.column, "queries")?);
    }
    Ok((items, anchors))
}

fn labels(table: &read::Table, name: &str) -> Result<Vec<u32>> {
    match table.column(name) {
        Some(Column::Label { values, .. }) if values.iter().any(|&v| v != ABSENT) => Ok(values.clone()),
        _ => Err(Error::usage(
            format!("no document has a value in `{name}` for the group filter"),
            "name a field of the corpus's records, or metadata.FIELD",
        )),
    }
}

fn times(table: &read::Table, name: &str, side: &str) -> Result<Vec<Option<f64>>> {
    match table.column(name) {
        Some(Column::Number(values)) if values.iter().any(Option::is_some) => Ok(values.clone()),
        _ => Err(Error::usage(
            format!("none of the {side} has a time in `{name}` for the time filter"),
            "name a field that the records of both sides have, or metadata.FIELD: a number, a year or an ISO date",
        )),
    }
}
