//! Figures checked by hand on a few anchors.

use hardrock_core::Reason;

use super::*;
use crate::candidates::{Decision, SourceEvidence};
use crate::manifest::Counts;

/// A row; `fate` is `p`ositive, `s`elected, `k`ept, or `d`ropped by a reason.
fn row(
    doc: &str,
    rank: Option<u32>,
    score: f32,
    fate: char,
    reason: Option<Reason>,
    by: &[usize],
) -> CandidateRow {
    let status = match fate {
        'p' => Status::Positive,
        's' => Status::Selected,
        'k' => Status::Kept,
        _ => Status::Dropped,
    };
    let evidence = |s| match by.contains(&s) {
        true => SourceEvidence { score: Some(score), rank },
        false => SourceEvidence::default(),
    };
    CandidateRow {
        doc_id: doc.into(),
        status,
        score: Some(score),
        rank,
        evidence: (0..2).map(evidence).collect(),
        drop: reason.map(|reason| Decision {
            reason,
            value: 0.62,
            threshold: 0.5,
            against: Some("p".into()),
        }),
        pick: (fate == 's').then_some(0),
        signals: Vec::new(),
    }
}

fn anchors() -> Vec<AnchorCandidates> {
    let known = Some(Reason::Known);
    let kin = Some(Reason::Kin);
    let first = vec![
        row("p", None, 10.0, 'p', None, &[]),
        row("p2", None, 14.0, 'p', None, &[]),
        row("p2", Some(0), 14.0, 'd', known, &[0, 1]),
        row("a", Some(1), 12.0, 's', None, &[0, 1]),
        row("b", Some(2), 11.0, 'd', kin, &[1]),
        row("c", Some(3), 9.0, 's', None, &[0]),
        row("d", Some(7), 2.0, 'k', None, &[0]),
    ];
    let second = vec![row("q", None, 5.0, 'p', None, &[]), row("p", Some(0), 4.0, 'd', kin, &[0])];
    let anchor = |id: &str, rows| AnchorCandidates { query_id: id.into(), rows };
    vec![anchor("q1", first), anchor("q2", second)]
}

fn manifest() -> Manifest {
    Manifest {
        version: "0.1.0".into(),
        config: serde_json::json!({ "filters": ["known", "kin"] }),
        score_by: "bm25".into(),
        sources: vec!["bm25".into(), "vectors".into()],
        inputs: BTreeMap::from([("corpus.jsonl".into(), "ab".repeat(32))]),
        outputs: BTreeMap::new(),
        counts: Counts {
            anchors: 2,
            positives: 3,
            documents: 9,
            retrieved: 6,
            kept: 3,
            dropped: BTreeMap::from([("known".into(), 1), ("kin".into(), 2)]),
            requested: 4,
            selected: 2,
            short: 2,
            short_anchors: 1,
            dropped_anchors: 0,
            filled: 0,
        },
        p_fn: None,
        recall: BTreeMap::new(),
        notices: BTreeMap::from([("missing documents".into(), 3)]),
        seconds: vec![("read".into(), 0.5), ("mine".into(), 1.25)],
        peak_memory: 300 << 20,
    }
}

fn gather(anchors: Vec<AnchorCandidates>, manifest: Option<Manifest>) -> Summary {
    let collector = Collector::new(&["bm25".into(), "vectors".into()], "bm25", manifest);
    collect(anchors.into_iter().map(Ok), collector, Draw::new(0, 12)).unwrap().0
}

/// The small run's figures.
pub(in crate::report) fn figures() -> Summary {
    gather(anchors(), Some(manifest()))
}

/// A run whose ids, names and texts try to break the page.
pub(in crate::report) fn hostile() -> Summary {
    let evil = "<script>alert(\"1\")</script>&'\u{1b}";
    let mut all = anchors();
    for anchor in &mut all {
        anchor.query_id = evil.into();
        anchor.rows.iter_mut().for_each(|r| r.doc_id = evil.into());
        anchor.rows.iter_mut().flat_map(|r| &mut r.drop).for_each(|d| d.against = Some(evil.into()));
    }
    let mut m = manifest();
    m.version = evil.into();
    m.config = serde_json::json!({ evil: evil });
    (m.inputs, m.notices) =
        (BTreeMap::from([(evil.into(), evil.into())]), BTreeMap::from([(evil.into(), 1)]));
    m.seconds = vec![(evil.into(), 1.0)];
    let mut s = gather(all.clone(), Some(m));
    s.score_by = evil.into();
    s.sources = vec![evil.into(), evil.into()];
    s.by_source.iter_mut().for_each(|b| b.source = evil.into());
    s.warnings.push(evil.into());
    let shown =
        |r: &CandidateRow| Explained { text: Some(evil.into()), ..Explained::of(r, &Default::default()) };
    let rows: Vec<Explained> = all[0].rows.iter().map(shown).collect();
    s.samples = vec![Sample {
        query_id: evil.into(),
        text: Some(evil.into()),
        positives: rows.clone(),
        selected: rows.clone(),
        dropped: rows,
        counts: [9, 9, 9],
    }];
    s
}

#[test]
fn counts_add_up_and_agree_with_the_manifest() {
    let s = figures();
    let expected =
        Totals { anchors: 2, positives: 3, retrieved: 6, selected: 2, passed: 1, dropped: 3, asked: Some(2) };
    assert_eq!(s.totals, expected);
    let reasons: Vec<_> = s.reasons.iter().map(|r| (r.reason, r.count, r.anchors)).collect();
    assert_eq!(reasons, [("kin", 2, 2), ("known", 1, 1)]);
    assert!(s.warnings.is_empty(), "{:?}", s.warnings);
}

#[test]
fn files_of_two_runs_are_told() {
    let mut m = manifest();
    m.counts.retrieved = 7;
    let s = gather(anchors(), Some(m));
    assert_eq!(
        s.warnings,
        ["the manifest counts 7 candidates, the candidates file holds 6: they are not of one run"]
    );
    assert!(gather(anchors(), None).warnings[0].starts_with("no manifest"));
}

#[test]
fn hardness_compares_with_the_weakest_positive() {
    let s = figures();
    let h = &s.hardness;
    assert_eq!((h.gap.n(), h.above_positive, h.gap.range()), (2, 1, Some((-2.0, 1.0))));
    assert_eq!(h.rank.mean(), Some(2.0));
    let counts = s.scores.all().map(|(_, h)| h.n());
    assert_eq!(counts, [3, 2, 1, 3]);
}

#[test]
fn bands_split_the_dropped_into_suspects_and_others() {
    let s = figures();
    let bands: Vec<_> =
        s.bands.iter().map(|b| (b.from, b.to, b.selected, b.passed, b.dropped, b.suspected)).collect();
    assert_eq!(bands, [(0, Some(0), 0, 0, 2, 2), (1, Some(4), 2, 0, 1, 1), (5, Some(9), 0, 1, 0, 0)]);
}

#[test]
fn sources_overlap_and_agree() {
    let s = figures();
    assert_eq!(s.overlap, [[5, 2], [2, 3]]);
    let brought: Vec<_> = s.by_source.iter().map(|b| (b.proposed, b.alone, b.selected, b.dropped)).collect();
    assert_eq!(brought, [(5, 3, 2, 2), (3, 1, 1, 2)]);
    let agree: Vec<_> =
        s.agreement.iter().map(|a| (a.sources, a.candidates, a.selected, a.dropped)).collect();
    assert_eq!(agree, [(1, 4, 1, 2), (2, 2, 1, 1)]);
}

#[test]
fn short_anchors_are_named() {
    let s = figures();
    assert_eq!(s.anchors_by_negatives, BTreeMap::from([(0, 1), (2, 1)]));
    let short: Vec<_> = s.shortest.iter().map(|a| (a.query_id.as_str(), a.selected, a.dropped)).collect();
    assert_eq!(short, [("q2", 0, 1)]);
}

#[test]
fn suspects_are_what_a_plain_top_k_would_have_taken() {
    let f = figures().suspects;
    // a and b of the first anchor (its labelled positive is left out), p of the second.
    assert_eq!((f.top, f.hardest, f.copies, f.alike), (2, 3, 0, 2));
    let kin = f.kin.unwrap();
    assert_eq!((kin.similarity.n(), kin.threshold, kin.close), (2, 0.5, 0));
}

#[test]
fn the_draw_depends_on_seed_and_ids_not_on_order() {
    let many = |reverse: bool| {
        let mut all: Vec<_> =
            (0..50).map(|i| AnchorCandidates { query_id: format!("q{i}"), rows: Vec::new() }).collect();
        if reverse {
            all.reverse();
        }
        all
    };
    let draw = |seed, reverse| {
        let mut draw = Draw::new(seed, 5);
        many(reverse).iter().for_each(|a| draw.see(a));
        let mut ids: Vec<_> = draw.finish().into_iter().map(|a| a.query_id).collect();
        if reverse {
            ids.reverse();
        }
        ids
    };
    assert_eq!(draw(1, false).len(), 5);
    assert_eq!(draw(1, false), draw(1, true));
    assert_ne!(draw(1, false), draw(2, false));
}
