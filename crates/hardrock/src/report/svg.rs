//! The report's charts: inline SVG shapes that stretch to their box; every word stands in HTML, so that it never shrinks.
//!
//! Colours are classes of the page's style sheet, so that light and dark differ there alone. Each shape has a `<title>`, which
//! browsers show as a tooltip and screen readers read out.

use std::fmt::Write;

use super::histogram::Bars;
use super::text::{count, escape, number, percent};

/// One part of a bar: class, value, tooltip.
pub(super) type Part<'a> = (&'a str, u64, String);

/// A horizontal bar of stacked parts; its whole length stands for `total`.
pub(super) fn bar(parts: &[Part<'_>], total: u64) -> String {
    let mut svg =
        String::from(r#"<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img">"#);
    let mut x = 0.0;
    for (class, value, title) in parts {
        if *value == 0 || total == 0 {
            continue;
        }
        // A part that is there is seen: at least three thousandths.
        let width = (*value as f64 / total as f64 * 1000.0).clamp(3.0, 1000.0);
        x = f64::min(x, 1000.0 - width);
        let _ = write!(
            svg,
            r#"<rect class="{class}" x="{x:.1}" y="0" width="{width:.1}" height="10"><title>{}</title></rect>"#,
            escape(title)
        );
        x += width;
    }
    svg + "</svg>"
}

/// A histogram's columns over the whole width; heights are relative to its own highest column. `marks` are vertical lines:
/// class, position, tooltip.
pub(super) fn columns(bars: &Bars, class: &str, marks: &[(&str, f64, String)]) -> String {
    let n = bars.counts.len().max(1);
    let highest = bars.counts.iter().copied().max().unwrap_or(0).max(1);
    let total: u64 = bars.counts.iter().sum();
    let mut svg =
        format!(r#"<svg class="columns" viewBox="0 0 {n}0 100" preserveAspectRatio="none" role="img">"#);
    for (i, &value) in bars.counts.iter().enumerate().filter(|(_, v)| **v > 0) {
        let height = (value as f64 / highest as f64 * 100.0).max(1.5);
        let from = bars.low + bars.width * i as f64;
        let _ = write!(
            svg,
            r#"<rect class="{class}" x="{i}0.5" y="{:.1}" width="9" height="{height:.1}"><title>{} to {}: {} ({})</title></rect>"#,
            100.0 - height,
            number(from),
            number(from + bars.width),
            count(value),
            percent(value, total),
        );
    }
    for (class, at, title) in marks {
        let x = (at - bars.low) / bars.width * 10.0;
        if (0.0..=n as f64 * 10.0).contains(&x) {
            let _ = write!(
                svg,
                r#"<line class="{class}" x1="{x:.2}" x2="{x:.2}" y1="0" y2="100"><title>{}</title></line>"#,
                escape(title)
            );
        }
    }
    svg + "</svg>"
}

/// The numbers under an axis that runs from `low` to `high`, at round steps.
pub(super) fn axis(low: f64, high: f64) -> String {
    let mut html = String::from(r#"<div class="axis">"#);
    for tick in ticks(low, high) {
        let at = (tick - low) / (high - low) * 100.0;
        let _ = write!(html, r#"<span style="left:{at:.2}%">{}</span>"#, number(tick));
    }
    html + "</div>"
}

/// Three to six round numbers within a range.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return Vec::new();
    }
    let rough = span / 5.0;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|s| s * magnitude).into_iter().find(|s| *s >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|k| k as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(-0.1, 1.0), [0.0, 0.5, 1.0]);
        assert_eq!(ticks(3.0, 41.0), [10.0, 20.0, 30.0, 40.0]);
        assert!(ticks(1.0, 1.0).is_empty());
        assert!(ticks(f64::NEG_INFINITY, 1.0).is_empty());
    }

    #[test]
    fn a_bar_never_leaves_its_box_and_a_small_part_is_seen() {
        let svg = bar(&[("a", 999_999, "most".into()), ("b", 1, "<one>".into())], 1_000_000);
        assert!(svg.contains("&lt;one&gt;"));
        insta::assert_snapshot!(svg);
    }
}
