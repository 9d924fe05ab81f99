//! The source `static` of mining: an encoder that is trained on the spot from the given pairs.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hardrock_engine::training::{Adam, StaticTable};

use super::examples::Examples;
use super::fit::{Fit, Losses};
use super::folder::{self, Model};
use super::spec::StaticSpec;
use super::start;
use crate::mine::Progress;
use crate::read::Dataset;
use crate::{Error, Result};

/// The folder of the encoder of these data, in the stage folder `stage`, which is named by all that it depends on; trained where
/// it is not there yet.
///
/// # Errors
/// [`Error::Usage`] where there are no two pairs to learn from.
pub(crate) fn train_source(
    spec: &StaticSpec,
    seed: u64,
    (dataset, level, anchors): (&Dataset, i32, &[u32]),
    stage: &Path,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<PathBuf> {
    let path = stage.join("model");
    if path.is_dir() {
        return Ok(path);
    }
    let job = spec.job(seed);
    let examples = Examples::new(dataset, level, anchors, (0.0, 0), seed);
    if examples.pairs.len() < 2 {
        return Err(Error::usage(
            format!("the source static learns from pairs, and there are {}", examples.pairs.len()),
            "give anchors with positives, or take another source",
        ));
    }
    let start = start::start(&job.model, None, dataset, seed, progress, cancel)?;
    let mut model = StaticTable::new(start.table, start.dim, Adam::default())?;
    let mut fit = Fit::new(&job, &examples, [&start.items, &start.anchors])?;
    let mut losses = Losses::default();
    progress.stage("train static", (examples.pairs.len() * spec.epochs) as u64, "pairs");
    for epoch in 0..spec.epochs {
        fit.run(&mut model, epoch, (0, &|| false), &mut losses, progress, cancel)?;
    }
    let model = Model { tokenizer: &start.reader.file, table: model.table(), dim: start.dim, files: &[] };
    folder::write(&path, &model, true)?;
    Ok(path)
}
