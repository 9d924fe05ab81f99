//! The report: one HTML file that says what a run did, how hard its negatives are and what may be wrong with them.
//!
//! [`summarise`] makes the figures, [`html::page`] draws them. The page needs nothing but itself: no script, no font, no
//! request.

pub mod draw;
pub mod histogram;
pub mod html;
mod sample;
mod sections;
pub mod summary;
mod svg;
mod text;

use std::collections::BTreeSet;
use std::path::Path;

use draw::Draw;
use summary::{Collector, Summary, collect};

use crate::outputs::Outputs;
use crate::texts::Texts;
use crate::{Error, Result};

/// Anchors shown as samples.
pub const SAMPLES: usize = 12;

/// The figures of a run, read beside its mined file. `data` is a folder in BEIR layout to take the samples' texts from; without
/// it they are looked for where the manifest and the mined file say. `seed` draws the samples. Reads the candidates once, in
/// memory that does not grow with them.
pub fn summarise(mined: &Path, data: Option<&Path>, seed: u64) -> Result<Summary> {
    let outputs = Outputs::of(mined);
    let candidates = outputs.open_candidates()?;
    let manifest = outputs.read_manifest()?;
    let collector = Collector::new(candidates.sources(), candidates.score_by(), manifest);
    let (mut summary, drawn) = collect(candidates.anchors()?, collector, Draw::new(seed, SAMPLES))?;

    let chosen: Vec<_> = drawn.iter().map(sample::Chosen::of).collect();
    let documents: BTreeSet<String> = chosen.iter().flat_map(|c| c.documents()).map(str::to_owned).collect();
    let texts = Texts::gather(&outputs, summary.manifest.as_ref(), data, &drawn, documents)?;
    summary.samples = chosen.iter().map(|c| c.sample(&texts)).collect();
    summary.warnings.extend(texts.note().map(|note| format!("samples: {note}")));
    Ok(summary)
}

/// Writes the page to a file: under a temporary name first, so that no half page is ever seen. A file that is there is an error
/// unless `force` is set.
pub fn write(path: &Path, page: &str, force: bool) -> Result<()> {
    if !force && path.exists() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    crate::atomic::write_atomically(path, &[page.as_bytes()])
}

#[cfg(test)]
mod tests;
