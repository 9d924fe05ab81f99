//! A teacher's scores as soft targets.

use super::{Cells, must, warm};
use crate::Result;

/// Whether a teacher's scores are brought to one scale per row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Mean 0 and deviation 1 over the row's kept cells: a teacher and its student rarely share a scale.
    PerRow,
    /// As they are.
    Raw,
}

/// Writes softmax(teacher / temperature) over the row's kept cells into `targets` `[columns]`, 0 elsewhere. The targets are
/// plain numbers: no gradient reaches the teacher or its temperature. A cell without a teacher's score (NaN) gets 0.
///
/// # Errors
/// [`crate::Error::Parameter`] for a temperature that is not above 0.
pub fn soft_targets(
    row: &Cells<'_>,
    teacher: &[f32],
    scale: Scale,
    temperature: f32,
    targets: &mut [f32],
) -> Result<()> {
    warm("teacher", temperature)?;
    must(
        teacher.len() == targets.len(),
        "teacher",
        "scores",
        "one per cell of the row",
        teacher.len() as f32,
    )?;
    targets.fill(0.0);
    let cells: Vec<usize> = row.kept().filter(|&at| teacher[at].is_finite()).collect();
    let value = |at: usize| f64::from(teacher[at]);
    let count = cells.len() as f64;
    let mean = cells.iter().map(|&at| value(at)).sum::<f64>() / count;
    let variance = cells.iter().map(|&at| (value(at) - mean).powi(2)).sum::<f64>() / count;
    let unit = match scale {
        // Equal scores say nothing: they stay equal whatever they are divided by.
        Scale::PerRow if variance > 0.0 => variance.sqrt(),
        _ => 1.0,
    };
    let z = |at: usize| (value(at) - mean) / unit / f64::from(temperature);
    let top = cells.iter().map(|&at| z(at)).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = cells.iter().map(|&at| (z(at) - top).exp()).sum();
    for &at in &cells {
        targets[at] = ((z(at) - top).exp() / sum) as f32;
    }
    Ok(())
}
