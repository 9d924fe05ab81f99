//! The report of a made-up run from files to page.

use std::path::PathBuf;

use hardrock_core::{AnchorId, BlockBuilder, ItemId, NO_RANK, NewRow, Proposal, Reason, Verdict, Verdicts};

use super::*;
use crate::candidates::{CandidatesWriter, Names, Selection};
use crate::manifest::{Counts, Manifest};

const WORDS: [&str; 12] = [
    "library",
    "development",
    "files",
    "kernel",
    "graphics",
    "tool",
    "network",
    "parser",
    "daemon",
    "fonts",
    "runtime",
    "tests",
];

/// Numbers from a counter: the same on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
    }
}

struct Ids(Vec<String>, Vec<String>);

impl Names for Ids {
    fn anchor(&self, anchor: AnchorId) -> &str {
        &self.0[anchor.index()]
    }
    fn item(&self, item: ItemId) -> &str {
        &self.1[item.index()]
    }
}

/// Writes a run of `anchors` anchors with BM25-like scores of two sources; gives the mined file's path.
fn run(folder: &Path, anchors: u32) -> PathBuf {
    let mut dice = Dice(7);
    let documents = 5000_u32;
    let ids = Ids(
        (0..anchors).map(|i| format!("q{i}")).collect(),
        (0..documents).map(|i| format!("lib{}-{i}", WORDS[i as usize % 12])).collect(),
    );
    let outputs = Outputs::of(&folder.join("mined.jsonl"));
    let sources = ["bm25".to_owned(), "vectors".to_owned()];
    let file = std::fs::File::create(&outputs.candidates).unwrap();
    let mut writer = CandidatesWriter::create(file, &outputs.candidates, &sources, "bm25").unwrap();
    let mut counts = Counts {
        anchors: anchors.into(),
        positives: anchors.into(),
        documents: documents.into(),
        requested: u64::from(anchors) * 5,
        ..Counts::default()
    };
    for a in 0..anchors {
        let mut builder = BlockBuilder::new(sources.clone());
        let top = 18.0 + 14.0 * dice.next();
        let (mut items, mut scores, mut proposals) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..100_u32 {
            items.push(ItemId((a * 131 + i * 37) % documents));
            let score = top * (1.0 - 0.75 * (i as f32 / 100.0).sqrt()) + dice.next();
            scores.push(score);
            let (lexical, dense) = (dice.next() < 0.75, dice.next() < 0.6);
            let bm25 = Proposal { score, rank: if lexical || !dense { i } else { NO_RANK } };
            let vectors = Proposal { score: score / 40.0, rank: i };
            proposals.extend([bm25, if dense { vectors } else { Proposal::NONE }]);
        }
        let positive = [items[(dice.next() * 6.0) as usize]];
        let positive_scores = [scores[items.iter().position(|i| *i == positive[0]).unwrap()]];
        let row = NewRow {
            anchor: AnchorId(a),
            items: &items,
            scores: &scores,
            proposals: &proposals,
            positives: &positive,
            positive_scores: &positive_scores,
        };
        builder.push_row(&row).unwrap();
        let mut block = builder.finish();
        let mut verdicts = Verdicts::default();
        for (position, &item) in block.row(0).items().iter().enumerate() {
            let likely = 0.35 * (-(position as f32) / 12.0).exp();
            let verdict = match dice.next() {
                _ if item == positive[0] => Some(Verdict::new(Reason::Known, 1.0, 1.0)),
                d if d < likely => Some(Verdict::new(Reason::Kin, 0.5 + 0.45 * dice.next().powi(2), 0.5)),
                d if d < likely * 1.2 => Some(Verdict::new(Reason::Near, 0.8 + 0.2 * dice.next(), 0.8)),
                d if d > 0.995 || a % 40 == 3 => Some(Verdict::new(Reason::Text, 1.0, 1.0)),
                _ => None,
            };
            if let Some(verdict) = verdict {
                *counts.dropped.entry(verdict.reason.name().into()).or_default() += 1;
                verdicts.drop(&block.row(0), position, verdict.against(positive[0]));
            }
        }
        block.apply(verdicts);
        let live: Vec<usize> = block.row(0).live().collect();
        let mut selection = Selection::default();
        selection.push(&live[..live.len().min(5)]);
        counts.retrieved += 100;
        counts.kept += live.len() as u64;
        counts.selected += selection.positions.len() as u64;
        counts.short_anchors += u64::from(selection.positions.len() < 5);
        writer.write_block(&block, &selection, &[], &ids).unwrap();
    }
    writer.finish().unwrap();
    counts.short = counts.requested - counts.selected;

    let corpus: String = (ids.1.iter().enumerate())
        .map(|(i, id)| {
            let text: Vec<_> = (0..20).map(|w| WORDS[(i * 7 + w * w) % 12]).collect();
            format!("{}\n", serde_json::json!({ "_id": id, "title": id, "text": text.join(" ") }))
        })
        .collect();
    std::fs::write(folder.join("corpus.jsonl"), corpus).unwrap();
    let queries: String = (ids.0.iter().enumerate())
        .map(|(i, id)| {
            format!("{}\n", serde_json::json!({ "_id": id, "text": format!("{} for the {}", WORDS[i % 12], WORDS[i % 7]) }))
        })
        .collect();
    std::fs::write(folder.join("queries.jsonl"), queries).unwrap();
    let manifest = Manifest {
        version: "0.1.0".into(),
        config: serde_json::json!({ "seed": 0, "filters": { "chain": ["known", "text", "near", { "kin": { "above": 0.5 } }] } }),
        score_by: "bm25".into(),
        sources: sources.to_vec(),
        inputs: ["corpus.jsonl", "queries.jsonl", "qrels/train.tsv"]
            .map(|f| (f.to_owned(), blake3::hash(f.as_bytes()).to_hex().to_string()))
            .into(),
        outputs: [("mined.jsonl".to_owned(), blake3::hash(b"mined").to_hex().to_string())].into(),
        counts,
        p_fn: None,
        recall: std::collections::BTreeMap::new(),
        notices: [("qrels that name a missing document".to_owned(), 12)].into(),
        seconds: [("read", 0.31), ("index", 0.62), ("search", 2.4), ("filter", 0.8), ("write", 0.2)]
            .map(|(s, t)| (s.to_owned(), t))
            .into(),
        peak_memory: 412 << 20,
    };
    std::fs::write(&outputs.manifest, serde_json::to_string(&manifest).unwrap()).unwrap();
    outputs.mined
}

#[test]
fn a_run_is_summed_up_and_its_page_is_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mined = run(folder.path(), 300);
    let summary = summarise(&mined, None, 0).unwrap();
    assert!(summary.warnings.is_empty(), "{:?}", summary.warnings);
    let manifest = summary.manifest.as_ref().unwrap();
    assert_eq!(summary.totals.selected, manifest.counts.selected);
    assert_eq!(manifest.counts.check(), Ok(()));
    assert_eq!(summary.samples.len(), SAMPLES);
    let texts = summary.samples.iter().flat_map(|s| s.positives.iter().chain(&s.selected).chain(&s.dropped));
    assert!(texts.clone().count() > 50 && texts.clone().all(|d| d.text.is_some()));

    let page = html::page(&summary, "mined.jsonl");
    assert_eq!(page, html::page(&summarise(&mined, None, 0).unwrap(), "mined.jsonl"));
    assert_ne!(page, html::page(&summarise(&mined, None, 1).unwrap(), "mined.jsonl"));
    let out = folder.path().join("report.html");
    write(&out, &page, false).unwrap();
    assert!(matches!(write(&out, "other", false), Err(Error::Exists { .. })));
    write(&out, &page, true).unwrap();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), page);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5, "no temporary file is left");
}

#[test]
fn an_anchor_of_the_run_is_explained_with_its_texts() {
    let folder = tempfile::tempdir().unwrap();
    let mined = run(folder.path(), 20);
    let e = crate::explain::explain(&mined, "q4", None).unwrap();
    let dropped: usize = e.dropped.values().sum();
    assert_eq!(e.retrieved, e.selected + e.kept + dropped);
    assert_eq!((e.retrieved, e.selected, e.candidates.len()), (100, 5, 100));
    assert_eq!((e.text.as_deref(), e.note.as_deref()), (Some("graphics for the graphics"), None));
    let known = e.candidates.iter().find(|c| c.reason == Some("known")).unwrap();
    assert_eq!(
        known.because.as_deref(),
        Some("is a labelled positive of this anchor or of one with the same text")
    );
    assert!(known.text.as_ref().unwrap().starts_with(&known.doc_id));
    assert!(crate::explain::explain(&mined, "q99", None).unwrap_err().help().unwrap().contains("nearest"));
}
