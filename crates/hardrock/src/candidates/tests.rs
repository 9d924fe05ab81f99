//! What is written comes back, whatever the blocks.

use std::path::Path;

use hardrock_core::{Block, BlockBuilder, NO_RANK, NewRow, Proposal, Verdicts};
use proptest::prelude::*;

use super::*;
use crate::Result;

struct Numbers {
    anchors: Vec<String>,
    items: Vec<String>,
}

impl Numbers {
    fn new() -> Self {
        let ids = |letter: &str, n| (0..n).map(|i| format!("{letter}{i}")).collect();
        Self { anchors: ids("q", 4000), items: ids("d", 200) }
    }
}

impl Names for Numbers {
    fn anchor(&self, anchor: AnchorId) -> &str {
        &self.anchors[anchor.index()]
    }
    fn item(&self, item: ItemId) -> &str {
        &self.items[item.index()]
    }
}

/// One candidate of a made-up row.
#[derive(Debug, Clone)]
struct Cell {
    item: u32,
    score: f32,
    by: [bool; 2],
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Kept,
    Chosen,
    Dropped(Reason, f32, Option<u32>),
}

type MadeRow = (Vec<Cell>, Vec<(u32, f32)>);

fn sources() -> Vec<String> {
    vec!["bm25".into(), "vectors".into()]
}

/// Rows as one block, with the positions that were chosen; anchors count from `first`.
fn block(rows: &[MadeRow], first: u32) -> (Block, Selection) {
    let mut builder = BlockBuilder::new(sources());
    for (anchor, (cells, positives)) in rows.iter().enumerate() {
        let items: Vec<_> = cells.iter().map(|c| ItemId(c.item)).collect();
        let scores: Vec<_> = cells.iter().map(|c| c.score).collect();
        let proposal = |c: &Cell, s: usize| match c.by[s] {
            true => Proposal { score: c.score * 2.0, rank: c.item + s as u32 },
            false => Proposal::NONE,
        };
        let proposals: Vec<_> = cells.iter().flat_map(|c| [proposal(c, 0), proposal(c, 1)]).collect();
        let (ids, positive_scores): (Vec<_>, Vec<_>) = positives.iter().map(|&(i, s)| (ItemId(i), s)).unzip();
        let row = NewRow {
            anchor: AnchorId(first + anchor as u32),
            items: &items,
            scores: &scores,
            proposals: &proposals,
            positives: &ids,
            positive_scores: &positive_scores,
        };
        builder.push_row(&row).unwrap();
    }
    let mut block = builder.finish();
    let (mut verdicts, mut selection) = (Verdicts::default(), Selection::default());
    for (row, (cells, _)) in block.iter().zip(rows) {
        let mut chosen = Vec::new();
        for (position, item) in row.items().iter().enumerate() {
            match cells.iter().find(|c| c.item == item.0).unwrap().fate {
                Fate::Kept => {}
                Fate::Chosen => chosen.push(position),
                Fate::Dropped(reason, value, against) => {
                    let verdict = Verdict { reason, value, threshold: 0.5, against: against.map(ItemId) };
                    verdicts.drop(&row, position, verdict);
                }
            }
        }
        chosen.reverse();
        selection.push(&chosen);
    }
    block.apply(verdicts);
    (block, selection)
}

fn written(blocks: &[(Block, Selection)]) -> Vec<u8> {
    let mut writer =
        CandidatesWriter::create(Vec::new(), Path::new("m.candidates.parquet"), &sources(), "bm25").unwrap();
    let names = Numbers::new();
    blocks.iter().for_each(|(block, selection)| writer.write_block(block, selection, &[], &names).unwrap());
    writer.finish().unwrap()
}

fn opened(bytes: &[u8]) -> (tempfile::TempDir, Candidates) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.candidates.parquet");
    std::fs::write(&path, bytes).unwrap();
    let candidates = Candidates::open(&path).unwrap();
    (folder, candidates)
}

/// What a reader must see of one row of a block.
fn expected(block: &Block, selection: &Selection, r: usize) -> Vec<CandidateRow> {
    let (names, row) = (Numbers::new(), block.row(r));
    let some = |s: f32| Some(s).filter(|s| !s.is_nan());
    let positives = row.positives().iter().zip(row.positive_scores()).map(|(&p, &s)| CandidateRow {
        doc_id: names.item(p).into(),
        status: Status::Positive,
        score: some(s),
        rank: None,
        evidence: vec![SourceEvidence::default(); 2],
        drop: None,
        pick: None,
        signals: Vec::new(),
    });
    let candidates = (0..row.len()).map(|i| {
        let pick = selection.row(r).iter().position(|&p| p == i).map(|p| p as u32);
        let verdict = row.verdicts()[i];
        CandidateRow {
            signals: Vec::new(),
            doc_id: names.item(row.items()[i]).into(),
            status: match (verdict, pick) {
                (Some(_), _) => Status::Dropped,
                (None, Some(_)) => Status::Selected,
                (None, None) => Status::Kept,
            },
            score: some(row.scores()[i]),
            rank: Some(i as u32),
            evidence: (row.evidence().iter())
                .map(|e| SourceEvidence {
                    score: some(row.source_scores(e)[i]),
                    rank: Some(row.source_ranks(e)[i]).filter(|&r| r != NO_RANK),
                })
                .collect(),
            drop: verdict.map(|v| Decision {
                reason: v.reason,
                value: v.value,
                threshold: v.threshold,
                against: v.against.map(|p| names.item(p).to_owned()),
            }),
            pick,
        }
    });
    positives.chain(candidates).collect()
}

fn any_row() -> impl Strategy<Value = MadeRow> {
    let reasons = prop::sample::select(Reason::ALL);
    let fate = prop_oneof![
        Just(Fate::Kept),
        Just(Fate::Chosen),
        (reasons, -1f32..1.0, prop::option::of(0u32..200)).prop_map(|(r, v, p)| Fate::Dropped(r, v, p)),
    ];
    let score = prop_oneof![9 => -5f32..5.0, 1 => Just(f32::NAN)];
    let cell = (score.clone(), any::<[bool; 2]>(), fate).prop_map(|(score, by, fate)| (score, by, fate));
    let cells = prop::collection::btree_map(0u32..200, cell, 0..20).prop_map(|cells| {
        cells.into_iter().map(|(item, (score, by, fate))| Cell { item, score, by, fate }).collect()
    });
    let positives = prop::collection::vec((0u32..200, score), 0..3);
    (cells, positives)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_comes_back(rows in prop::collection::vec(any_row(), 0..12), cut in 0usize..12) {
        let cut = cut.min(rows.len());
        let whole = block(&rows, 0);
        let parts = [block(&rows[..cut], 0), block(&rows[cut..], cut as u32)];
        let bytes = written(std::slice::from_ref(&whole));
        prop_assert_eq!(&bytes, &written(&parts), "the cut into blocks must not show");

        let (_folder, file) = opened(&bytes);
        prop_assert_eq!((file.sources(), file.score_by()), (&sources()[..], "bm25"));
        let read: Vec<_> = file.anchors().unwrap().collect::<Result<_>>().unwrap();
        let mut anchors = read.iter();
        for r in 0..rows.len() {
            let rows = expected(&whole.0, &whole.1, r);
            if rows.is_empty() {
                continue;
            }
            let anchor = anchors.next().unwrap();
            prop_assert_eq!(&anchor.query_id, &format!("q{r}"));
            prop_assert_eq!(&anchor.rows, &rows);
            prop_assert_eq!(anchor, &file.for_anchor(&anchor.query_id).unwrap());
        }
        prop_assert!(anchors.next().is_none());
    }
}

/// Many anchors of 100 candidates: several row groups.
fn large() -> Vec<u8> {
    let cells = |r: u32| -> Vec<Cell> {
        let cell =
            |i| Cell { item: (i + r) % 200, score: -(i as f32), by: [true, i % 2 == 0], fate: Fate::Kept };
        (0..100).map(cell).collect()
    };
    let rows: Vec<MadeRow> = (0..3000).map(|r| (cells(r), vec![(r % 200, 1.0)])).collect();
    written(&[block(&rows[..1234], 0), block(&rows[1234..], 1234)])
}

#[test]
fn one_anchor_of_many_is_found_and_an_unknown_one_gets_its_neighbours() {
    let (_folder, file) = opened(&large());
    assert_eq!(file.rows(), 3000 * 101);
    for id in ["q0", "q1297", "q1298", "q2999"] {
        let anchor = file.for_anchor(id).unwrap();
        assert_eq!((anchor.query_id.as_str(), anchor.rows.len()), (id, 101));
    }
    assert_eq!(file.anchors().unwrap().count(), 3000);
    let error = file.for_anchor("q2999x").unwrap_err();
    assert!(error.to_string().starts_with("no anchor `q2999x` in "));
    assert_eq!(error.help().unwrap(), "the nearest ids are q2999, q299, q999");
}

#[test]
fn row_groups_end_where_an_anchor_ends() {
    use parquet::file::reader::FileReader;
    let (_folder, file) = opened(&large());
    let reader = std::fs::File::open(file.path()).unwrap();
    let reader = parquet::file::reader::SerializedFileReader::new(reader).unwrap();
    let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|g| g.num_rows()).collect();
    assert_eq!(groups, [101 * 1298, 101 * 1298, 101 * 404]);
    assert_eq!(
        reader.metadata().file_metadata().created_by().unwrap(),
        concat!("hardrock ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_dropped_or_missing_candidate_cannot_be_chosen() {
    let cell = |item, fate| Cell { item, score: -(item as f32), by: [true, true], fate };
    let rows = [(vec![cell(1, Fate::Kept), cell(2, Fate::Dropped(Reason::Kin, 0.7, None))], vec![])];
    let (block, _) = block(&rows, 0);
    for wrong in [vec![1], vec![2], vec![0, 0]] {
        let selection = Selection { starts: vec![0, wrong.len()], positions: wrong };
        let mut writer = CandidatesWriter::create(Vec::new(), Path::new("m"), &sources(), "bm25").unwrap();
        let error = writer.write_block(&block, &selection, &[], &Numbers::new()).unwrap_err();
        assert!(error.to_string().contains("distinct live candidates"), "{error}");
    }
    let mut writer = CandidatesWriter::create(Vec::new(), Path::new("m"), &sources(), "bm25").unwrap();
    assert!(writer.write_block(&block, &Selection::default(), &[], &Numbers::new()).is_err());
}

#[test]
fn a_full_disk_is_called_that() {
    #[derive(Debug)]
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let failed = CandidatesWriter::create(Full, Path::new("m"), &sources(), "bm25").and_then(|w| w.finish());
    let error = failed.err().unwrap();
    assert_eq!(error.exit_code(), 1);
    assert!(error.help().unwrap().starts_with("free some space"), "{error:?}");
}

#[test]
fn a_foreign_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    std::fs::write(&path, b"no parquet").unwrap();
    assert!(Candidates::open(&path).unwrap_err().to_string().contains("x.parquet"));
    let schema = std::sync::Arc::new(arrow_schema::Schema::empty());
    parquet::arrow::ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), schema, None)
        .unwrap()
        .close()
        .unwrap();
    let error = Candidates::open(&path).unwrap_err();
    assert!(error.to_string().ends_with("the metadata has no `hardrock.format`"), "{error}");
    let missing = Candidates::open(&folder.path().join("none")).unwrap_err();
    assert_eq!(missing.exit_code(), 2);
}

#[test]
fn a_decision_reads_as_a_sentence() {
    let drop = Decision { reason: Reason::Kin, value: 0.61, threshold: 0.5, against: Some("d7".into()) };
    assert_eq!(drop.sentence(), "similarity 0.610 to positive d7 is above 0.500");
}
