//! What the graph proposes, how it scores, and that its lists survive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Order};

use proptest::prelude::*;

use super::*;
use crate::store::{Key, Store};

/// Points on a line; near is likely. Counts its searches.
struct Line {
    points: Vec<f32>,
    searched: Arc<AtomicUsize>,
}

impl Line {
    fn near(&self, a: usize, b: usize) -> f32 {
        1.0 / (1.0 + (self.points[a] - self.points[b]).abs())
    }
}

impl Source for Line {
    fn propose(&self, places: Range<usize>, depth: usize, _: &AtomicBool) -> Result<Neighbours> {
        let mut out = Neighbours { starts: vec![0], ..Neighbours::default() };
        for place in places {
            self.searched.fetch_add(1, Order::Relaxed);
            let mut all: Vec<(u32, f32)> =
                (0..self.points.len()).map(|d| (d as u32, self.near(place, d))).collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.truncate(depth);
            out.items.extend(all.iter().map(|x| x.0));
            out.scores.extend(all.iter().map(|x| x.1));
            out.starts.push(out.items.len());
        }
        Ok(out)
    }

    fn score(&self, anchor: AnchorId, items: &[ItemId], out: &mut [f32]) -> Result<()> {
        for (slot, item) in out.iter_mut().zip(items) {
            *slot = self.near(anchor.index(), item.index());
        }
        Ok(())
    }

    fn exactness(&self) -> String {
        "exact".into()
    }
}

struct World {
    folder: tempfile::TempDir,
    points: Vec<f32>,
    documents: Vec<AnchorId>,
    judged: Vec<AnchorId>,
    judgements: Judgements,
    searched: Arc<AtomicUsize>,
    cancel: AtomicBool,
}

impl World {
    /// Positives per anchor.
    fn new(points: &[f32], positives: &[&[u32]]) -> Self {
        let mut starts = vec![0];
        starts.extend(positives.iter().scan(0, |sum, p| {
            *sum += p.len() as u64;
            Some(*sum)
        }));
        let items = positives.concat();
        let grades = vec![1; items.len()];
        Self {
            folder: tempfile::tempdir().unwrap(),
            points: points.to_vec(),
            documents: (0..points.len() as u32).map(AnchorId).collect(),
            judged: (0..positives.len() as u32).map(AnchorId).collect(),
            judgements: Judgements::from_parts(starts, items, grades).unwrap(),
            searched: Arc::default(),
            cancel: AtomicBool::new(false),
        }
    }

    fn line(&self) -> Box<Line> {
        Box::new(Line { points: self.points.clone(), searched: self.searched.clone() })
    }

    /// `retrieved`: how many documents are found for an anchor, which lies where the document of its number does.
    fn source(&self, keep: usize, retrieved: usize) -> GraphSource<'_> {
        let key = Key::new("graph").with("keep", keep.to_le_bytes());
        let stage = Store::open(self.folder.path()).unwrap().stage("graph", &key).unwrap();
        let over = GraphOver { search: self.line(), documents: &self.documents, keep, stage };
        let own = (retrieved > 0).then(|| Retrieved { search: self.line(), depth: retrieved });
        GraphSource::new(over, own, &self.judged, (&self.judgements, 1), &self.cancel)
    }

    fn proposed(&self, source: &GraphSource<'_>, depth: usize) -> Vec<Vec<u32>> {
        let found = source.propose(0..self.judged.len(), depth, &self.cancel).unwrap();
        (0..found.len()).map(|row| found.row(row).0.to_vec()).collect()
    }
}

#[test]
fn candidates_are_the_neighbours_of_all_positives_by_the_nearest_one() {
    let world = World::new(&[0.0, 1.0, 2.5, 10.0, 10.4, 12.0], &[&[0], &[0, 3], &[]]);
    let source = world.source(2, 0);
    assert_eq!(world.proposed(&source, 10), [vec![1, 2], vec![4, 1, 5, 2], vec![]]);
    assert_eq!(world.proposed(&source, 1), [vec![1], vec![4], vec![]]);
    let mut scores = [0.0; 2];
    source.score(AnchorId(1), &[ItemId(3), ItemId(2)], &mut scores).unwrap();
    assert_eq!(scores, [1.0, 1.0 / 3.5], "a positive is as near to itself as can be");
    source.score(AnchorId(2), &[ItemId(3), ItemId(2)], &mut scores).unwrap();
    assert!(scores.iter().all(|s| s.is_nan()), "nothing to be near to");
}

#[test]
fn what_is_found_for_the_anchor_leads_on_too() {
    let world = World::new(&[0.0, 1.0, 2.5, 10.0, 10.4, 12.0], &[&[4], &[], &[3]]);
    let source = world.source(1, 1);
    // Anchor 0 lies at document 0, whose neighbour is 1; its positive's neighbour is 3.
    assert_eq!(world.proposed(&source, 10), [vec![3, 1], vec![0], vec![4, 1]]);
    let mut score = [0.0];
    source.score(AnchorId(1), &[ItemId(2)], &mut score).unwrap();
    assert_eq!(score, [1.0 / 2.5], "without positives the anchor's own likeness");
}

#[test]
fn the_lists_are_made_once_and_again_when_damaged_or_unwanted() {
    let world = World::new(&[0.0, 1.0, 2.5, 10.0], &[&[0]]);
    let searched = || world.searched.swap(0, Order::Relaxed);
    assert_eq!(world.source(2, 0).outlook(0.0).unwrap().map(|o| o.missing), Some(4));
    searched();
    world.proposed(&world.source(2, 0), 10);
    assert_eq!(searched(), 4);
    assert_eq!(world.source(2, 0).outlook(0.0).unwrap(), None);
    world.proposed(&world.source(2, 0), 10);
    assert_eq!(searched(), 0);
    let source = world.source(2, 0);
    source.prepare(true, &Silent).unwrap();
    assert_eq!(searched(), 4, "fresh");
    let files: Vec<_> =
        std::fs::read_dir(source.over.stage.folder()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files, [source.path()], "parts do not stay");
    let mut bytes = std::fs::read(source.path()).unwrap();
    bytes[0] ^= 4;
    std::fs::write(source.path(), &bytes).unwrap();
    assert_eq!(world.proposed(&world.source(2, 0), 10), [[1, 2]]);
    assert_eq!(searched(), 4, "damaged");
}

#[test]
fn a_part_that_is_there_is_not_searched_again() {
    let world = World::new(&[0.0, 1.0, 2.5, 10.0], &[&[0]]);
    let source = world.source(1, 0);
    save(&source.over.stage, 0, &source.search(0..4).unwrap()).unwrap();
    world.searched.store(0, Order::Relaxed);
    assert_eq!(world.proposed(&source, 10), [[1]]);
    assert_eq!(world.searched.load(Order::Relaxed), 0);
    world.cancel.store(true, Order::Relaxed);
    assert!(matches!(world.source(2, 0).prepare(false, &Silent), Err(Error::Interrupted)));
}

#[test]
fn families_reach_along_a_chain_of_neighbours() {
    let world = World::new(&[0.0, 0.2, 5.0, 0.4, 9.0], &[&[0]]);
    assert_eq!(world.source(2, 0).families(0.8).unwrap(), Some(vec![0, 0, 2, 0, 4]));
    assert_eq!(world.source(2, 0).families(0.9).unwrap(), Some(vec![0, 1, 2, 3, 4]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_proposal_has_the_score_that_the_pair_has_and_no_neighbour_is_missed(
        points in proptest::collection::vec(-3i8..4, 2..24),
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        keep in 1usize..6,
        retrieved in 0usize..3,
    ) {
        let points: Vec<f32> = points.into_iter().map(f32::from).collect();
        let mut positives: Vec<u32> = picks.iter().map(|p| p.index(points.len()) as u32).collect();
        positives.sort_unstable();
        positives.dedup();
        let world = World::new(&points, &[&positives]);
        let source = world.source(keep, retrieved);
        let found = source.propose(0..1, points.len(), &world.cancel).unwrap();
        let (items, scores) = found.row(0);
        let wanted: Vec<ItemId> = items.iter().map(|&i| ItemId(i)).collect();
        let mut again = vec![0.0; items.len()];
        source.score(AnchorId(0), &wanted, &mut again).unwrap();
        prop_assert_eq!(scores, &again[..]);
        prop_assert!(scores.windows(2).all(|w| w[0] >= w[1]));
        for &positive in &positives {
            let list = source.lists().unwrap().of(positive).unwrap();
            prop_assert_eq!(list.items.len(), keep.min(points.len() - 1));
            prop_assert!(list.items.iter().all(|i| *i != positive && items.contains(i)));
        }
    }
}
