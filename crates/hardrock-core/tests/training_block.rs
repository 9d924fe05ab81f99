//! The training block: one filter in two worlds, segments of every origin, gradients back to every side.

use hardrock_core::filters::{Against, Family, Known as KnownFilter, Margin, Score, Text, Window};
use hardrock_core::losses::{List, Loss};
use hardrock_core::{
    AnchorId, Block, BlockBuilder, Catalogue, Facts, Filter, Items, Join, Known, Layout, Mark, NewRow,
    NewSegment, Origin, PlainProducts, Reason, Result, Rng, ScoreBlock, Sides, Verdicts,
};
use hardrock_core::{ItemId, Rows};

struct World {
    items: Catalogue,
    anchors: Catalogue,
    known: Known,
}

impl World {
    fn facts(&self) -> Facts<'_> {
        Facts {
            items: &self.items,
            anchors: &self.anchors,
            known: &self.known,
            judged: &self.known,
            likeness: None,
            overlap: None,
            taxonomy: None,
            guide: None,
            cross_encoder: None,
            outside: None,
        }
    }
}

fn world() -> World {
    World {
        // Item 7 has the text of item 0; items 2 and 9 are of one family with item 1.
        items: Catalogue {
            text: vec![100, 101, 102, 103, 104, 105, 106, 100, 108, 109],
            family: Some(vec![0, 1, 1, 3, 4, 5, 6, 7, 8, 1]),
            ..Catalogue::default()
        },
        anchors: Catalogue { text: vec![1, 2], ..Catalogue::default() },
        known: Known::new([vec![ItemId(0), ItemId(3)], vec![ItemId(1)]]),
    }
}

/// Anchor r's positive is item r; every other item is a candidate with these scores.
const SCORES: [[f32; 10]; 2] = [
    [0.8, 0.1, 0.3, 0.9, 0.79, 0.2, 0.5, 0.7, 0.6, 0.0],
    [0.2, 0.6, 0.7, 0.1, 0.59, 0.3, 0.4, 0.0, 0.61, 0.5],
];

fn mined() -> Result<Block> {
    let mut builder = BlockBuilder::new(["run"; 0]);
    for (row, scores) in SCORES.iter().enumerate() {
        let others = (0..10).filter(|i| *i != row);
        let items: Vec<_> = others.clone().map(|i| ItemId(i as u32)).collect();
        let scores: Vec<_> = others.map(|i| scores[i]).collect();
        builder.push_row(&NewRow {
            items: &items,
            scores: &scores,
            positives: &[ItemId(row as u32)],
            positive_scores: &[SCORES[row][row]],
            ..NewRow::empty(AnchorId(row as u32))
        })?;
    }
    Ok(builder.finish())
}

fn trained() -> Result<ScoreBlock> {
    let segment = NewSegment {
        origin: Origin::InBatch,
        items: Items::Shared((0..10).map(ItemId).collect()),
        scores: SCORES.concat(),
        own: vec![Some(0), Some(1)],
    };
    ScoreBlock::new(vec![AnchorId(0), AnchorId(1)], vec![segment])
}

#[test]
fn one_filter_two_worlds() -> Result<()> {
    let world = world();
    let filters: Vec<Box<dyn Filter>> = vec![
        Box::new(KnownFilter {}.check()?),
        Box::new(Text {}.check()?),
        Box::new(Window { min: 1, max: Some(5) }.check()?),
        Box::new(Family {}.check()?),
        Box::new(Score { max: Some(0.7), ..Score::default() }.check()?),
        Box::new(Margin { absolute: Some(0.05), relative: None, against: Against::Min }.check()?),
    ];
    let (mut mined, mut trained) = (mined()?, trained()?);
    for filter in &filters {
        let mut verdicts = Verdicts::default();
        filter.judge(&mined, &world.facts(), &mut verdicts)?;
        mined.apply(verdicts);
    }
    trained.filter(filters.iter().map(Box::as_ref), &world.facts())?;

    let mut reasons = Vec::new();
    for row in 0..2 {
        let (one, other) = (mined.row(row), trained.judged(0));
        let other = other.row(row);
        for (position, item) in one.items().iter().enumerate() {
            let reason = one.reason(position);
            let column = item.index();
            assert_eq!(other.reason(column), reason, "row {row}, item {}", item.0);
            let verdict = trained.verdicts().iter().find(|(cell, _)| *cell == row * 10 + column);
            assert_eq!(verdict.map(|(_, v)| *v), one.verdicts()[position], "the numbers are the same");
            reasons.extend(reason);
        }
        assert_eq!(trained.marks()[row * 10 + row], Mark::POSITIVE);
    }
    reasons.sort();
    reasons.dedup();
    // Each of them dropped something, else equality would show nothing.
    for reason in [Reason::Known, Reason::Text, Reason::Window, Reason::Family, Reason::AbsoluteMargin] {
        assert!(reasons.contains(&reason), "{reason:?} dropped nothing: {reasons:?}");
    }
    let tally = mined.tally();
    let counts: Vec<u64> = Reason::ALL.iter().map(|r| tally.dropped(*r)).collect();
    assert_eq!(trained.dropped(), counts);
    Ok(())
}

#[test]
fn filters_leave_class_weights_foreign_pairs_and_absent_cells_alone() -> Result<()> {
    let segment = |origin, items, scores| NewSegment { origin, items, scores, own: Vec::new() };
    let mut block = ScoreBlock::new(
        vec![AnchorId(0), AnchorId(1)],
        vec![
            NewSegment { own: vec![Some(0), Some(1)], ..trained_segment() },
            segment(Origin::Class, Items::Nameless(2), vec![0.99; 4]),
            segment(Origin::Foreign, Items::Nameless(1), vec![0.99; 2]),
            segment(
                Origin::Mined,
                Items::Own { width: 2, items: vec![Some(ItemId(4)), None, Some(ItemId(5)), Some(ItemId(6))] },
                vec![0.99, 0.0, 0.99, 0.1],
            ),
        ],
    )?;
    block.filter([&Score { max: Some(0.95), ..Score::default() } as &dyn Filter], &world().facts())?;
    let dropped: Vec<_> = block.verdicts().iter().map(|(cell, _)| (cell / 7, cell % 7)).collect();
    assert_eq!(dropped, [(0, 5), (1, 5)]);
    assert_eq!(block.marks()[6], Mark::ABSENT);
    assert_eq!(block.origin(2), Some(Origin::Class));
    Ok(())
}

fn trained_segment() -> NewSegment {
    NewSegment {
        origin: Origin::InBatch,
        items: Items::Shared(vec![ItemId(0), ItemId(1)]),
        scores: vec![0.9, 0.1, 0.2, 0.8],
        own: Vec::new(),
    }
}

const DIM: usize = 6;
const ROWS: usize = 4;

struct Step {
    joins: Vec<Join>,
    items: Vec<Items>,
    own: Vec<Vec<Option<u32>>>,
}

/// Anchors (0), positives (1), mined (2), queue (3, frozen), classes (4): every origin, tied sides where one stands twice.
fn step() -> Step {
    let own: Vec<Option<u32>> = (0..ROWS as u32).map(Some).collect();
    let ids = |from: u32, n: usize| Items::Shared((from..from + n as u32).map(ItemId).collect());
    let join = |origin, rows, columns, layout| Join { origin, rows, columns, layout };
    let index = vec![Some(0), Some(1), Some(2), None, Some(1), Some(3), Some(0), Some(2)];
    let items = index.iter().map(|i| i.map(|i| ItemId(20 + i))).collect();
    Step {
        joins: vec![
            join(Origin::InBatch, 0, 1, Layout::Shared),
            join(Origin::AnchorSide, 0, 0, Layout::Shared),
            join(Origin::PositiveSide, 1, 1, Layout::Shared),
            join(Origin::Mined, 0, 2, Layout::Own { width: 2, index }),
            join(Origin::Queue, 0, 3, Layout::Shared),
            join(Origin::Foreign, 1, 1, Layout::Foreign(vec![(0, 2), (3, 1)])),
            join(Origin::Class, 0, 4, Layout::Shared),
        ],
        items: vec![
            ids(0, ROWS),
            ids(0, ROWS),
            ids(0, ROWS),
            Items::Own { width: 2, items },
            ids(30, 3),
            Items::Nameless(2),
            Items::Nameless(2),
        ],
        own: vec![own.clone(), own.clone(), own, vec![], vec![], vec![], vec![]],
    }
}

fn sides(vectors: &[Vec<f32>]) -> Result<Sides> {
    let mut sides = Sides::new(DIM)?;
    for (at, v) in vectors.iter().enumerate() {
        sides.push(v.clone(), at == 3)?;
    }
    Ok(sides)
}

fn vectors() -> Vec<Vec<f32>> {
    let mut rng = Rng::at(3, 0, 0);
    [ROWS, ROWS, 4, 3, 2].map(|n| (0..n * DIM).map(|_| rng.unit() as f32 - 0.4).collect()).to_vec()
}

/// The loss of a step and the gradients of its sides.
fn run(step: &Step, sides: &Sides) -> Result<(f64, Vec<Option<Vec<f32>>>)> {
    let mut segments = Vec::new();
    for ((join, items), own) in step.joins.iter().zip(&step.items).zip(&step.own) {
        segments.push(sides.segment(join, ROWS, items.clone(), own.clone(), &PlainProducts)?);
    }
    let block = ScoreBlock::new((0..ROWS as u32).map(AnchorId).collect(), segments)?;
    let mut slope = vec![0.0; block.cells()];
    let value = List::new(0.5)?.evaluate(&block.view()?, &mut slope)?;
    let mut gradients = sides.no_gradients();
    for (at, join) in step.joins.iter().enumerate() {
        sides.carry(join, &block.segment_slope(at, &slope)?, &PlainProducts, &mut gradients)?;
    }
    Ok((value.mean, gradients))
}

#[test]
fn gradients_reach_every_side_but_the_frozen_one() -> Result<()> {
    let (step, vectors) = (step(), vectors());
    let (_, gradients) = run(&step, &sides(&vectors)?)?;
    assert!(gradients[3].is_none());
    for side in [0, 1, 2, 4] {
        for at in 0..vectors[side].len() {
            let moved = |by: f32| -> Result<f64> {
                let mut v = vectors.clone();
                v[side][at] += by;
                Ok(run(&step, &sides(&v)?)?.0)
            };
            let want = (moved(1e-2)? - moved(-1e-2)?) / 2e-2;
            let got = gradients[side].as_ref().map_or(f64::NAN, |g| f64::from(g[at]));
            assert!((got - want).abs() < 2e-4, "side {side}, number {at}: {got}, differences say {want}");
        }
    }
    Ok(())
}

#[test]
fn nested_prefixes_carry_gradients_through_the_cut_and_the_norm() -> Result<()> {
    let (step, vectors) = (step(), vectors());
    let nested = [(DIM, 1.0_f32), (4, 0.5), (2, 0.25)];
    let all = |vectors: &[Vec<f32>]| -> Result<(f64, Vec<Option<Vec<f32>>>)> {
        let full = sides(vectors)?;
        let (mut sum, mut gradients) = (0.0, full.no_gradients());
        for (dim, weight) in nested {
            let cut = full.prefix(dim)?;
            let (loss, part) = run(&step, &cut)?;
            sum += f64::from(weight) * loss;
            cut.widen(&part, weight, &full, &mut gradients)?;
        }
        Ok((sum, gradients))
    };
    let (_, gradients) = all(&vectors)?;
    for side in [0, 2] {
        for at in 0..vectors[side].len() {
            let moved = |by: f32| -> Result<f64> {
                let mut v = vectors.clone();
                v[side][at] += by;
                Ok(all(&v)?.0)
            };
            let want = (moved(2e-3)? - moved(-2e-3)?) / 4e-3;
            let got = gradients[side].as_ref().map_or(f64::NAN, |g| f64::from(g[at]));
            assert!((got - want).abs() < 3e-3 * (1.0 + want.abs()), "side {side}, number {at}: {got} {want}");
        }
    }
    assert!(sides(&vectors)?.prefix(DIM + 1).is_err());
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_by_name() -> Result<()> {
    let sides = sides(&vectors())?;
    let shared = |rows, columns| Join { origin: Origin::InBatch, rows, columns, layout: Layout::Shared };
    let items = || Items::Shared(vec![ItemId(0); ROWS]);
    let said = |r: Result<NewSegment>| r.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(said(sides.segment(&shared(0, 9), ROWS, items(), vec![], &PlainProducts)).contains("side"));
    assert!(said(sides.segment(&shared(0, 1), 3, items(), vec![], &PlainProducts)).contains("row side"));
    let own = Join { layout: Layout::Own { width: 1, index: vec![Some(9); ROWS] }, ..shared(0, 2) };
    assert!(said(sides.segment(&own, ROWS, items(), vec![], &PlainProducts)).contains("vector of a side"));
    let mut bad = trained_segment();
    bad.own = vec![Some(0), Some(2)];
    assert!(ScoreBlock::new(vec![AnchorId(0), AnchorId(1)], vec![bad]).is_err());
    Ok(())
}
