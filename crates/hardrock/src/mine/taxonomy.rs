//! Reads a taxonomy: tab-separated `child`, `parent` lines naming documents by id; further columns are ignored.

use std::path::Path;

use hardrock_core::{ItemId, Taxonomy};

use crate::read::{Table, input};
use crate::{Error, Result};

/// The edges between documents of the corpus, and how many lines named a document that is not there.
pub(super) fn read(path: &Path, items: &Table) -> Result<(Taxonomy, u64)> {
    let mut parents: Vec<Vec<ItemId>> = vec![Vec::new(); items.len()];
    let (mut unknown, mut edges) = (0, 0u64);
    let mut lines = input::open(path)?.lines();
    while let Some(line) = lines.next_line() {
        let (number, line) = line?;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fields = line.split('\t');
        let (Some(child), Some(parent)) = (fields.next(), fields.next()) else {
            return Err(Error::input(
                path,
                number,
                "one column where `child<TAB>parent` is needed",
                "separate the two ids by a tab",
            ));
        };
        match (items.find(child.trim()), items.find(parent.trim())) {
            (Some(c), Some(p)) => {
                parents[c as usize].push(ItemId(p));
                edges += 1;
            }
            // A header line names columns, not documents.
            _ if number == 1 => {}
            _ => unknown += 1,
        }
    }
    if edges == 0 {
        return Err(Error::input(
            path,
            None,
            "no line names two documents of the corpus",
            "give `child<TAB>parent` lines with the corpus's ids",
        ));
    }
    Ok((Taxonomy::new(parents), unknown))
}
