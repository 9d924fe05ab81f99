//! What the run says of its false negatives: the estimates, how far they can be trusted, and what was promised.

use super::{key, row, section};
use crate::manifest::PFnManifest;
use crate::report::summary::Summary;
use crate::report::svg;
use crate::report::text::{count, escape, number, percent};

/// A share in percent with one decimal place.
fn share(x: f64) -> String {
    format!("{:.1} %", x * 100.0)
}

/// The estimates by range, their reliability on verdicts, and the promise; nothing where the run did not estimate.
pub(in crate::report) fn false_negatives(s: &Summary) -> String {
    let Some(p_fn) = s.manifest.as_ref().and_then(|m| m.p_fn.as_ref()) else { return String::new() };
    let says = match &p_fn.promise {
        Some(promise) => format!("<b>{}</b>", escape(&promise.words)),
        None => format!(
            "By their p_fn, <b>{}</b> of the selected negatives are false: an estimate, not a promise.",
            share(p_fn.expected)
        ),
    };
    let kept = format!(
        "<p>{} of the hardest candidates that no other filter dropped were selected. Where the estimate comes from: {}.</p>\n",
        share(p_fn.hardness_kept),
        escape(&p_fn.models.note)
    );
    section("Estimated false negatives", &says, &(kept + &estimates(p_fn) + &reliability(p_fn)))
}

/// Candidates and selected negatives by p_fn.
fn estimates(p_fn: &PFnManifest) -> String {
    let all: u64 = p_fn.bins.iter().map(|b| b.candidates).sum();
    let rows: String = p_fn
        .bins
        .iter()
        .map(|b| {
            let name = format!("p_fn {} to {}", number(b.from), number(b.to));
            let rest = b.candidates.saturating_sub(b.selected);
            let bar = svg::bar(
                &[
                    ("selected", b.selected, format!("{} selected", count(b.selected))),
                    ("kept", rest, format!("{} not selected", count(rest))),
                ],
                all,
            );
            let figure =
                format!("{} <span class=\"soft\">{}</span>", count(b.candidates), percent(b.candidates, all));
            row(&name, &figure, &bar, &format!("{} selected", count(b.selected)))
        })
        .collect();
    let colours = key(&[("selected", "selected"), ("kept", "not selected")]);
    format!("{colours}<div class=\"rows\">{rows}</div>\n")
}

/// What came true of the estimates, on pairs that the model had not seen.
fn reliability(p_fn: &PFnManifest) -> String {
    let Some(reliability) = p_fn.reliability.as_ref().or(p_fn.models.reliability.as_ref()) else {
        return String::new();
    };
    let rows: String = reliability
        .bins
        .iter()
        .map(|b| {
            let name = format!("p_fn {} to {}", number(b.from), number(b.to));
            let per_mille = |x: f64| (x.clamp(0.0, 1.0) * 1000.0).round() as u64;
            let bars =
                svg::bar(&[("kept", per_mille(b.predicted), format!("said {}", share(b.predicted)))], 1000)
                    + &svg::bar(
                        &[("dropped", per_mille(b.observed), format!("came true {}", share(b.observed)))],
                        1000,
                    );
            let figure = format!("{} <span class=\"soft\">pairs</span>", count(b.n));
            row(
                &name,
                &figure,
                &bars,
                &format!("said {}, came true {}", share(b.predicted), share(b.observed)),
            )
        })
        .collect();
    format!(
        "<h3>Reliability on verdicts</h3>\n<p>Each pair was estimated by a model that had not seen it. Expected calibration error: {}.</p>\n{}<div class=\"rows\">{rows}</div>\n",
        number(reliability.error),
        key(&[("kept", "said"), ("dropped", "came true")])
    )
}

#[cfg(test)]
mod tests {
    use hardrock_core::stats::reliability;

    use super::*;
    use crate::manifest::{PFnBin, PromiseManifest};
    use crate::p_fn::Models;

    fn manifest() -> PFnManifest {
        PFnManifest {
            models: Models::shipped("asked for"),
            max: None,
            expected: 0.0123,
            hardness_kept: 0.93,
            bins: vec![
                PFnBin { from: 0.0, to: 0.01, candidates: 90, selected: 8 },
                PFnBin { from: 0.5, to: 1.0, candidates: 10, selected: 0 },
            ],
            reliability: Some(reliability([(0.002, false), (0.9, true), (0.9, false)])),
            depends: Default::default(),
            promise: None,
        }
    }

    fn page(p_fn: Option<PFnManifest>) -> String {
        let mut summary = crate::report::summary::tests::figures();
        summary.manifest.as_mut().unwrap().p_fn = p_fn;
        false_negatives(&summary)
    }

    #[test]
    fn an_estimate_is_called_one_and_its_reliability_is_drawn() {
        let page = page(Some(manifest()));
        for part in [
            "<b>1.2 %</b> of the selected negatives are false: an estimate, not a promise",
            "93.0 % of the hardest",
            "90 <span class=\"soft\">90\u{a0}%",
            "8 selected",
            "said 90.0 %, came true 50.0 %",
            "Expected calibration error",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn a_promise_is_said_first_and_without_estimates_there_is_nothing() {
        let promise = PromiseManifest { words: "at most 5 % <proved>".into(), ..PromiseManifest::default() };
        let page_of = page(Some(PFnManifest { promise: Some(promise), reliability: None, ..manifest() }));
        assert!(page_of.contains("<b>at most 5 % &lt;proved&gt;</b>") && !page_of.contains("Reliability"));
        assert_eq!(page(None), "");
    }
}
