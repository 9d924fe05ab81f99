//! The sections of the page that draw figures: funnel, reasons, scores, hardness, ranks, suspects.

mod details;
mod false_negatives;

pub(super) use details::{run, samples, shortfall, sources};
pub(super) use false_negatives::false_negatives;

use super::histogram::Histogram;
use super::summary::{Kin, Summary};
use super::svg;
use super::text::{count, escape, number, percent, things};
use crate::candidates::Status;

/// Bars of a histogram.
const BARS: usize = 56;

/// A section with its heading and what it shows, said first.
fn section(title: &str, says: &str, body: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n<p>{says}</p>\n{body}</section>\n")
}

/// One named bar with its figure and a note below.
fn row(name: &str, figure: &str, bar: &str, note: &str) -> String {
    let note = if note.is_empty() { String::new() } else { format!("<small>{note}</small>") };
    format!(
        "<div class=\"row\"><div class=\"name\"><b>{name}</b><span class=\"figure\">{figure}</span></div>{bar}{note}</div>\n"
    )
}

/// What the colours stand for.
fn key(entries: &[(&str, &str)]) -> String {
    let entries: String =
        entries.iter().map(|(class, what)| format!("<span><i class=\"{class}\"></i>{what}</span>")).collect();
    format!("<div class=\"key\">{entries}</div>\n")
}

/// From all candidates to the written ones.
pub(super) fn funnel(s: &Summary) -> String {
    let t = &s.totals;
    let kept = t.selected + t.passed;
    let stages = [
        ("retrieved", t.retrieved, "kept", "distinct candidates over all anchors, from every source"),
        ("kept", kept, "kept", "no filter had a reason to drop them"),
        ("selected", t.selected, "selected", "written as negatives"),
    ];
    let rows: String = stages
        .iter()
        .map(|&(name, n, class, note)| {
            let bar = svg::bar(&[(class, n, format!("{name}: {}", count(n)))], t.retrieved);
            let figure = format!("{} <span class=\"soft\">{}</span>", count(n), percent(n, t.retrieved));
            row(name, &figure, &bar, note)
        })
        .collect();
    let says = format!(
        "{} with {} led to {}.",
        things(t.anchors, "anchor", "anchors"),
        things(t.positives, "labelled positive", "labelled positives"),
        things(t.retrieved, "candidate", "candidates"),
    );
    section("From candidates to negatives", &says, &format!("<div class=\"rows\">{rows}</div>\n"))
}

/// Drops by reason.
pub(super) fn reasons(s: &Summary) -> String {
    let t = &s.totals;
    if s.reasons.is_empty() {
        return section("Drops by reason", "No filter dropped anything.", "");
    }
    let rows: String = s
        .reasons
        .iter()
        .map(|r| {
            let told = format!("{}: {} of {} drops", r.reason, count(r.count), count(t.dropped));
            let bar = svg::bar(&[("dropped", r.count, told)], t.dropped);
            let figure =
                format!("{} <span class=\"soft\">{}</span>", count(r.count), percent(r.count, t.dropped));
            let note = format!("{} · at {}", escape(r.meaning), things(r.anchors, "anchor", "anchors"));
            row(&escape(r.reason), &figure, &bar, &note)
        })
        .collect();
    let says = "The filters run in a fixed order and the first reason stays, so the drops add up. \
                Below each filter: what it says of a candidate.";
    section("Drops by reason", says, &format!("<div class=\"rows\">{rows}</div>\n"))
}

/// A range that holds nearly all values of some histograms: a lone outlier must not squeeze the rest into one bar.
fn shown_range<'a>(histograms: impl Iterator<Item = &'a Histogram> + Clone) -> Option<(f64, f64)> {
    let low = histograms.clone().filter_map(|h| h.quantile(0.002)).min_by(f64::total_cmp)?;
    let high = histograms.filter_map(|h| h.quantile(0.998)).max_by(f64::total_cmp)?;
    let room = ((high - low) * 0.02).max(low.abs().max(high.abs()) * 1e-3).max(1e-6);
    Some((low - room, high + room))
}

/// Score distributions of the four fates on one axis.
pub(super) fn scores(s: &Summary) -> String {
    let all = s.scores.all();
    let title = "Scores";
    let Some((low, high)) = shown_range(all.iter().map(|(_, h)| *h).filter(|h| h.n() > 0)) else {
        return section(title, "No candidate has a judging score.", "");
    };
    // All four are drawn with bars of one width, or their axes would not be one.
    let exponent = all.iter().map(|(_, h)| h.exponent()).max().unwrap_or_default();
    let mut body = String::new();
    let mut axis = String::new();
    for (status, histogram) in all {
        let name = match status {
            Status::Positive => "positives",
            Status::Selected => "selected negatives",
            Status::Kept => "kept, not selected",
            Status::Dropped => "dropped",
        };
        let mut histogram = histogram.clone();
        histogram.coarsen_to(exponent);
        let bars = histogram.bars(low, high, BARS);
        let figure = match (histogram.mean(), histogram.quantile(0.5)) {
            (Some(mean), Some(median)) => {
                format!("{} · mean {} · median {}", count(histogram.n()), number(mean), number(median))
            }
            _ => "none".to_owned(),
        };
        let mark = histogram.quantile(0.5).map(|m| ("mark", m, format!("median {}", number(m))));
        body.push_str(&format!(
            "<div class=\"dist\"><div class=\"name\"><b>{name}</b><span class=\"soft\">{figure}</span></div>{}</div>\n",
            svg::columns(&bars, status.name(), mark.as_slice())
        ));
        axis = svg::axis(bars.low, bars.high());
    }
    body.push_str(&axis);
    let says = format!(
        "Judging score (<b>{}</b>), one axis for all; heights are relative to each row's own highest column, the broken line is the \
         median. Where selected negatives and positives lie apart, the negatives are easy; where they overlap, they are hard, or false.",
        escape(&s.score_by)
    );
    section(title, &says, &body)
}

/// The gap between positive and selected negative.
pub(super) fn hardness(s: &Summary) -> String {
    let (gap, title) = (&s.hardness.gap, "Hardness");
    let (Some((low, high)), Some(mean), Some(median)) =
        (shown_range(std::iter::once(gap).filter(|h| h.n() > 0)), gap.mean(), gap.quantile(0.5))
    else {
        return section(
            title,
            "No selected negative can be compared with a positive: either nothing was selected or the positives have no score.",
            "",
        );
    };
    let bars = gap.bars(low.min(0.0), high.max(0.0), BARS);
    let marks = [("mark", 0.0, "0: as high as the positive".to_owned())];
    let body = format!(
        "<div class=\"dist tall\">{}{}</div>\n",
        svg::columns(&bars, "selected", &marks),
        svg::axis(bars.low, bars.high())
    );
    let rank = |q| s.hardness.rank.quantile(q).map_or_else(|| "–".into(), |r: f64| number(r.floor()));
    let says = format!(
        "s(p) − s(n) of {}, p being the anchor's lowest-scoring positive: mean {}, median {}. Left of the broken line \
         the negative scores above the positive: {} ({}). Half of the selected have a rank of {} or better, 95 % of {} or better.",
        things(gap.n(), "selected negative", "selected negatives"),
        number(mean),
        number(median),
        count(s.hardness.above_positive),
        percent(s.hardness.above_positive, gap.n()),
        rank(0.5),
        rank(0.95),
    );
    section(title, &says, &body)
}

/// What became of the candidates, by rank.
pub(super) fn ranks(s: &Summary) -> String {
    let rows: String = s
        .bands
        .iter()
        .map(|b| {
            let total = b.selected + b.passed + b.dropped;
            let name = match b.to {
                Some(to) if to == b.from => format!("rank {}", b.from),
                Some(to) => format!("ranks {} to {to}", b.from),
                None => format!("ranks {} and on", b.from),
            };
            let part = |class, n, what: &str| {
                (class, n, format!("{name}: {} {what} ({})", count(n), percent(n, total)))
            };
            let bar = svg::bar(
                &[
                    part("selected", b.selected, "selected"),
                    part("kept", b.passed, "kept"),
                    part("dropped", b.dropped - b.suspected, "dropped by rule"),
                    part("suspect", b.suspected, "dropped as a positive or too like one"),
                ],
                total,
            );
            let note = format!(
                "selected {} · dropped {} ({} as a positive or too like one)",
                percent(b.selected, total),
                percent(b.dropped, total),
                percent(b.suspected, total)
            );
            row(&name, &format!("{} <span class=\"soft\">candidates</span>", count(total)), &bar, &note)
        })
        .collect();
    if rows.is_empty() {
        return section("By rank", "There are no candidates.", "");
    }
    let key = key(&[
        ("selected", "selected"),
        ("kept", "kept"),
        ("dropped", "dropped by a rule"),
        ("suspect", "dropped as a positive or too like one"),
    ]);
    section(
        "By rank",
        "Ranks in the judged order over all sources, 0 = the hardest. The share of suspects by rank is where false negatives gather.",
        &format!("{key}<div class=\"rows\">{rows}</div>\n"),
    )
}

/// What can be said about false negatives, and what cannot.
pub(super) fn suspects(s: &Summary) -> String {
    let f = &s.suspects;
    let mut body = String::from("<div class=\"rows\">");
    if f.hardest > 0 {
        let bar = svg::bar(
            &[
                ("dropped", f.copies, format!("{} copies of the anchor or a positive", count(f.copies))),
                ("suspect", f.alike, format!("{} too like a positive", count(f.alike))),
            ],
            f.hardest,
        );
        let note = format!(
            "Labelled positives left out, a plain top-{} would have taken {}. Of these, {} have the very text of the anchor or of a \
             positive, and {} are so like a positive, or so judged by the outside program, that a filter dropped them.",
            f.top,
            things(f.hardest, "candidate", "candidates"),
            percent(f.copies, f.hardest),
            percent(f.alike, f.hardest),
        );
        let figure = percent(f.copies + f.alike, f.hardest);
        body.push_str(&row("suspects among the hardest, all dropped", &figure, &bar, &note));
    }
    if f.compared > 0 {
        let above = format!("{} of {} score above the positive", count(f.above_positive), count(f.compared));
        let bar = svg::bar(&[("selected", f.above_positive, above)], f.compared);
        let note = "Selected negatives that score above their anchor's lowest-scoring positive: how hard they are, and \
                    where a false one would do most harm. A score alone does not tell the false from the true.";
        body.push_str(&row(
            "selected above the positive",
            &percent(f.above_positive, f.compared),
            &bar,
            note,
        ));
    }
    body.push_str("</div>\n");
    match &f.kin {
        Some(kin) => body.push_str(&likeness(kin)),
        None => body.push_str(
            "<p class=\"soft\">The filter <code>kin</code> dropped nothing, or did not run: there are no similarities to the positives to look at.</p>\n",
        ),
    }
    let says = "<b>How many of the selected negatives are false is not known:</b> that takes judgements or a calibrated estimate, and \
                this run has neither. What the run does show:";
    section("False negatives", says, &body)
}

/// How like the positives the candidates were that `kin` dropped.
fn likeness(kin: &Kin) -> String {
    let h = &kin.similarity;
    let Some((low, high)) = shown_range(std::iter::once(h).filter(|h| h.n() > 0)) else {
        return String::new();
    };
    let threshold = f64::from(kin.threshold);
    let bars = h.bars(low.min(threshold), high, BARS);
    let marks = [("mark", threshold, format!("threshold {}", number(threshold)))];
    format!(
        "<h3>Similarity to a positive, among those that <code>kin</code> dropped</h3>\n<p>{} of {} ({}) lie within 0.1 above the threshold of {}. \
         The more crowd there, the more of the same kind are likely to lie just below it, among the kept, whose similarities are not in the file; \
         mine again with a lower <code>kin:{}</code> and compare.</p>\n<div class=\"dist tall\">{}{}</div>\n",
        count(kin.close),
        things(h.n(), "drop", "drops"),
        percent(kin.close, h.n()),
        number(threshold),
        number((threshold - 0.1).max(0.05)),
        svg::columns(&bars, "suspect", &marks),
        svg::axis(bars.low, bars.high())
    )
}
