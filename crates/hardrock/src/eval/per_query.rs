//! The values of each query as a tab-separated table, for plots and for other tools' tests.

use std::io::Write;
use std::path::Path;

use super::Evaluation;
use crate::atomic::AtomicFile;
use crate::{Error, Result};

/// Writes one line a query: its id, the run's values in the order of the metrics, then for each baseline (name,
/// evaluation) its values in columns named `metric vs name`. A value that does not count is left empty. The file appears
/// whole or not at all.
///
/// # Errors
/// The file exists and `force` is not set, or the system refuses.
pub fn write_per_query(
    path: &Path,
    run: &Evaluation,
    baselines: &[(&str, &Evaluation)],
    force: bool,
) -> Result<()> {
    let mut out = AtomicFile::create(path, force)?;
    table(&mut out, run, baselines).map_err(Error::io("write", path))?;
    out.seal()?.publish()?;
    Ok(())
}

fn table(out: &mut impl Write, run: &Evaluation, baselines: &[(&str, &Evaluation)]) -> std::io::Result<()> {
    write!(out, "query")?;
    for score in &run.scores {
        write!(out, "\t{}", score.metric)?;
    }
    for (name, baseline) in baselines {
        for score in &baseline.scores {
            write!(out, "\t{} vs {name}", score.metric)?;
        }
    }
    writeln!(out)?;
    for (place, query) in run.queries.iter().enumerate() {
        write!(out, "{query}")?;
        for score in std::iter::once(run).chain(baselines.iter().map(|b| b.1)).flat_map(|e| &e.scores) {
            match score.per_query.get(place).copied().flatten() {
                Some(value) => write!(out, "\t{value}")?,
                None => write!(out, "\t")?,
            }
        }
        writeln!(out)?;
    }
    out.flush()
}
