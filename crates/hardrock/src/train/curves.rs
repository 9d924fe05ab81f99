//! Loss and nDCG@10 by epoch as one SVG picture that needs no style sheet.

use std::fmt::Write;

use super::run::Epoch;

/// Size of the picture and of its margins.
const SIZE: (f64, f64) = (640.0, 320.0);
const MARGIN: (f64, f64) = (56.0, 40.0);

/// The picture.
pub(crate) fn draw(history: &[Epoch]) -> String {
    let (width, height) = SIZE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<title>Loss and nDCG@10 by epoch</title>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let last = history.last().map_or(1, |epoch| epoch.epoch.max(1));
    let losses: Vec<(usize, f64)> = history
        .iter()
        .filter(|epoch| epoch.epoch > 0)
        .map(|epoch| (epoch.epoch, epoch.losses.mean()))
        .collect();
    let values: Vec<(usize, f64)> =
        history.iter().filter_map(|epoch| Some((epoch.epoch, epoch.measured.ndcg?))).collect();
    let _ = writeln!(
        svg,
        "<path d=\"M{} {} V{} H{} V{}\" fill=\"none\" stroke=\"#999\"/>",
        MARGIN.0,
        MARGIN.1,
        height - MARGIN.1,
        width - MARGIN.0,
        MARGIN.1
    );
    let mut ticks: Vec<usize> = (0..=last).step_by(last.div_ceil(10).max(1)).collect();
    ticks.dedup();
    for tick in ticks {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{tick}</text>",
            across(tick, last),
            height - MARGIN.1 + 16.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">epoch</text>",
        width / 2.0,
        height - 6.0
    );
    line(&mut svg, &losses, last, "#c0392b", "loss", false);
    line(&mut svg, &values, last, "#2062a8", "nDCG@10", true);
    svg + "</svg>\n"
}

/// Place of an epoch.
fn across(epoch: usize, last: usize) -> f64 {
    MARGIN.0 + (SIZE.0 - 2.0 * MARGIN.0) * epoch as f64 / last as f64
}

/// One curve with its own scale at its own side.
fn line(svg: &mut String, points: &[(usize, f64)], last: usize, colour: &str, name: &str, right: bool) {
    let finite = || points.iter().filter(|(_, y)| y.is_finite());
    let low = finite().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
    let high = finite().map(|(_, y)| *y).fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return;
    }
    let span = if high > low { high - low } else { 1.0 };
    let tall = SIZE.1 - 2.0 * MARGIN.1 - 16.0;
    let up = |y: f64| SIZE.1 - MARGIN.1 - 8.0 - tall * (y - low) / span;
    let (x, anchor) = if right { (SIZE.0 - MARGIN.0 + 6.0, "start") } else { (MARGIN.0 - 6.0, "end") };
    for y in if high > low { vec![low, high] } else { vec![low] } {
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{y:.3}</text>",
            up(y) + 4.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\" font-weight=\"bold\">{name}</text>",
        MARGIN.1 - 14.0
    );
    let path: Vec<String> =
        finite().map(|(epoch, y)| format!("{:.1},{:.1}", across(*epoch, last), up(*y))).collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    for (epoch, y) in finite() {
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"><title>{name} after epoch {epoch}: {y:.4}</title></circle>",
            across(*epoch, last),
            up(*y)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Losses, Measured};

    #[test]
    fn every_epoch_has_its_points_and_a_lone_start_does_not_divide_by_zero() {
        let epoch = |epoch, loss, ndcg| Epoch {
            epoch,
            losses: Losses { loss, rows: 1, ..Losses::default() },
            measured: Measured { ndcg: Some(ndcg), ..Measured::default() },
            ..Epoch::default()
        };
        let svg = draw(&[epoch(0, 0.0, 0.2), epoch(1, 3.0, 0.5), epoch(2, 1.0, 0.4)]);
        assert_eq!(svg.matches("<circle").count(), 5);
        assert!(svg.contains("nDCG@10 after epoch 1: 0.5000") && !svg.contains("NaN"));
        let alone = draw(&[epoch(0, 0.0, 0.2)]);
        assert!(alone.matches("<circle").count() == 1 && !alone.contains("NaN"));
    }
}
