//! Fourteen mistakes of published code, each a test that fails when we make it too. Named after the paper whose release,
//! or whose re-implementation, made it.

use std::collections::HashSet;

use hardrock_core::batchers::{Batcher, Draw, Examples, NoCollision, Random, Rotation, Seeds};
use hardrock_core::filters::{Known as KnownFilter, Margin, Text, Time, TimeRule};
use hardrock_core::losses::*;
use hardrock_core::metrics::{Metric, Profile, Ranking, Retrieved, Rules, Ties};
use hardrock_core::selectors::Top;
use hardrock_core::*;

const P: Mark = Mark::POSITIVE;
const N: Mark = Mark::LIVE;

fn value(loss: &dyn Loss, columns: usize, s: &[f32], marks: &[Mark]) -> Result<(LossValue, Vec<f32>)> {
    let mut slope = vec![f32::NAN; s.len()];
    let value = loss.evaluate(&Scores::new(columns, s, marks)?, &mut slope)?;
    Ok((value, slope))
}

// Every loss with its default parameters.
fn losses() -> Result<Vec<(&'static str, Box<dyn Loss>)>> {
    LossSpec::all().into_iter().zip(LossSpec::NAMES).map(|(l, name)| Ok((*name, l.build()?))).collect()
}

fn facts<'a>(items: &'a Catalogue, anchors: &'a Catalogue, known: &'a Known) -> Facts<'a> {
    Facts {
        items,
        anchors,
        known,
        judged: known,
        likeness: None,
        overlap: None,
        taxonomy: None,
        guide: None,
        cross_encoder: None,
        outside: None,
    }
}

// 1. The released mask multiplied logits by 0, so that a masked pair still counted exp(0).
#[test]
fn n01_openshape_an_excluded_cell_is_gone_and_not_zero() -> Result<()> {
    let gone = Mark::dropped(Reason::Kin);
    for (name, loss) in losses()? {
        let (with, slope) = value(loss.as_ref(), 4, &[0.9, 0.3, 5.0, 0.1], &[P, N, gone, N])?;
        let (without, _) = value(loss.as_ref(), 3, &[0.9, 0.3, 0.1], &[P, N, N])?;
        assert!(
            (with.mean - without.mean).abs() < 1e-6 * (1.0 + with.mean),
            "{name}: {} {}",
            with.mean,
            without.mean
        );
        assert_eq!(slope[2], 0.0, "{name}");
        let (none, slope) = value(loss.as_ref(), 2, &[f32::NAN, 0.9], &[gone, gone])?;
        assert_eq!((none.mean, none.live_rows, none.empty_rows), (0.0, 0, 1), "{name}");
        assert_eq!(slope, [0.0, 0.0], "{name}");
    }
    Ok(())
}

// 2. Positives were excluded by exact string equality alone, and the diagonal of anchors against anchors only because the
// guide's likeness to itself happened to be 1 (GISTEmbed): known positives go in every segment, by id and by text.
#[test]
fn n02_kalm_known_positives_go_by_id_and_by_text_in_every_segment() -> Result<()> {
    let (a, b) = (AnchorId(0), AnchorId(1));
    // Item 3 is a second positive of anchor 0; item 4 has the text of item 0 in other letters, so the same hash.
    let items = Catalogue { text: vec![10, 11, 12, 13, 10], ..Catalogue::default() };
    let anchors = Catalogue { text: vec![1, 2], ..Catalogue::default() };
    let known = Known::new([vec![ItemId(0), ItemId(3)], vec![ItemId(1)]]);
    let segment = |origin, ids: &[u32], own: &[u32]| NewSegment {
        origin,
        items: Items::Shared(ids.iter().map(|i| ItemId(*i)).collect()),
        scores: vec![0.5; 2 * ids.len()],
        own: own.iter().map(|o| Some(*o)).collect(),
    };
    let mut block = ScoreBlock::new(
        vec![a, b],
        vec![
            segment(Origin::InBatch, &[0, 1], &[0, 1]),
            segment(Origin::AnchorSide, &[0, 1], &[0, 1]),
            segment(Origin::Mined, &[2, 3, 4], &[]),
            segment(Origin::Queue, &[0, 3, 4, 2], &[]),
        ],
    )?;
    block.filter([&KnownFilter {} as &dyn Filter, &Text {}], &facts(&items, &anchors, &known))?;
    let row = |r: usize| block.marks()[r * 11..(r + 1) * 11].to_vec();
    let (known, text) = (Mark::dropped(Reason::Known), Mark::dropped(Reason::Text));
    assert_eq!(row(0), [P, N, Mark::ABSENT, N, N, known, text, known, known, text, N]);
    assert_eq!(row(1), [N, P, N, Mark::ABSENT, N, N, N, N, N, N, N]);
    Ok(())
}

// 3. A relative margin as g(p) * (1 - m) turns round for negative g(p).
#[test]
fn n03_gistembed_a_relative_margin_is_sign_safe() -> Result<()> {
    let (catalogue, known) = (Catalogue::default(), Known::default());
    let segment = NewSegment {
        origin: Origin::InBatch,
        items: Items::Shared(vec![ItemId(0), ItemId(1), ItemId(2)]),
        scores: vec![-0.20, -0.19, -0.50],
        own: vec![Some(0)],
    };
    let mut block = ScoreBlock::new(vec![AnchorId(0)], vec![segment])?;
    let margin = Margin { relative: Some(0.05), ..Margin::default() }.check()?;
    block.filter([&margin as &dyn Filter], &facts(&catalogue, &catalogue, &known))?;
    assert_eq!(block.marks(), [P, Mark::dropped(Reason::RelativeMargin), N]);
    assert_eq!(block.dropped().iter().sum::<u64>(), 1, "the positive is not judged");
    Ok(())
}

// 4. Where too few negatives existed, the first one stood twice (U-MARVEL), or random texts filled up, which could be the
// positive (KaLM): too few stay too few, in order, each once.
#[test]
fn n04_u_marvel_a_shortfall_repeats_nothing() -> Result<()> {
    let mut builder = BlockBuilder::new(["run"; 0]);
    builder.push_row(&NewRow {
        items: &[ItemId(5), ItemId(3), ItemId(9)],
        scores: &[0.2, 0.9, 0.4],
        positives: &[ItemId(1)],
        positive_scores: &[0.8],
        ..NewRow::empty(AnchorId(0))
    })?;
    let block = builder.finish();
    let mut picked = Vec::new();
    SelectorSpec::Top(Top {}).build()?.select(&block.row(0), 7, 0, 0, &mut picked)?;
    assert_eq!(picked.iter().map(|p| block.row(0).items()[*p].0).collect::<Vec<_>>(), [3, 9, 5]);
    // And the rotating window of training takes no negative twice either.
    let window = Rotation { width: 7, step: 7 };
    assert_eq!(window.positions(3, 4).collect::<HashSet<_>>().len(), 3);
    Ok(())
}

// 5. The hardest k were looked up in a masked copy and gathered from the unmasked matrix, so that a row with fewer than k
// true negatives trained on its own positives.
#[test]
fn n05_ngame_the_hardest_are_gathered_from_where_they_were_chosen() -> Result<()> {
    let gone = Mark::dropped(Reason::Known);
    let pair = Pair { which: Which::Hardest(3), margin: 1.0, ..Pair::default() };
    let (_, slope) = value(&pair, 5, &[0.9, 0.8, 0.95, 0.1, 0.2], &[P, P, gone, N, N])?;
    assert!(slope[0] < 0.0 && slope[1] < 0.0, "positives are pulled: {slope:?}");
    assert_eq!(slope[2], 0.0);
    assert!((slope[3] - slope[4]).abs() < 1e-7 && slope[3] > 0.0, "both negatives there are take part");
    Ok(())
}

// 6. A flattened table was indexed with row-local numbers, so that every query got the first query's negatives; mixtures
// that were not brought to length 1 were easy.
#[test]
fn n06_mochi_mixtures_come_from_their_own_row() -> Result<()> {
    // Row r's negatives lie in coordinates 2r and 2r + 1 alone.
    let (rows, dim) = (4, 8);
    let mut vectors = vec![0.0; 8 * dim];
    for i in 0..8 {
        vectors[i * dim + i] = 1.0;
    }
    let index: Vec<_> = (0..8).map(Some).collect();
    let mixed = mix(&vectors, dim, &index, 2, 3, 7)?;
    for row in 0..rows {
        for at in mixed.index[row * 3..(row + 1) * 3].iter().flatten() {
            let h = &mixed.vectors[*at as usize * dim..(*at as usize + 1) * dim];
            let length: f32 = h.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5);
            let own: f32 = h[2 * row..2 * row + 2].iter().map(|x| x * x).sum();
            assert!((own - 1.0).abs() < 1e-5, "row {row}: {h:?}");
        }
    }
    // As a frozen side they get no gradient.
    let mut sides = Sides::new(dim)?;
    let anchors = sides.push(vec![0.1; rows * dim], false)?;
    let columns = sides.push(mixed.vectors.clone(), true)?;
    let layout = Layout::Own { width: 3, index: mixed.index.clone() };
    let join = Join { origin: Origin::Synthetic, rows: anchors, columns, layout };
    let mut gradients = sides.no_gradients();
    sides.carry(&join, &[0.5; 12], &PlainProducts, &mut gradients)?;
    assert!(gradients[columns].is_none());
    assert!(gradients[anchors].as_ref().is_some_and(|g| g.iter().any(|x| *x > 0.0)));
    Ok(())
}

// 7. The gradient-cached version used the wrong diagonal offset in every chunk but the first.
#[test]
fn n07_gistembed_cached_chunks_give_the_whole_loss() -> Result<()> {
    let (rows, dim) = (10, 5);
    let mut rng = Rng::at(1, 0, 0);
    let mut draw = |n: usize| -> Vec<f32> { (0..n * dim).map(|_| rng.unit() as f32 - 0.5).collect() };
    let (anchors, positives) = (draw(rows), draw(rows));
    let list = List::new(0.3)?;
    let step = |from: usize, to: usize| -> Result<(f64, Vec<Option<Vec<f32>>>)> {
        let mut sides = Sides::new(dim)?;
        let a = sides.push(anchors[from * dim..to * dim].to_vec(), false)?;
        let p = sides.push(positives.clone(), false)?;
        let all = sides.push(anchors.clone(), false)?;
        let own: Vec<_> = (from..to).map(|r| Some(r as u32)).collect();
        let items = Items::Shared((0..rows as u32).map(ItemId).collect());
        let joins = [(Origin::InBatch, p), (Origin::AnchorSide, all)].map(|(origin, columns)| Join {
            origin,
            rows: a,
            columns,
            layout: Layout::Shared,
        });
        let mut segments = Vec::new();
        for join in &joins {
            segments.push(sides.segment(join, to - from, items.clone(), own.clone(), &PlainProducts)?);
        }
        let block = ScoreBlock::new((from..to).map(|r| AnchorId(r as u32)).collect(), segments)?;
        let view = block.view()?;
        let share = Share::of(&list, &view);
        let mut slope = vec![0.0; block.cells()];
        let values: Vec<_> = slope
            .chunks_mut(block.columns())
            .enumerate()
            .map(|(r, slope)| share.row(&list, &view, r, slope))
            .collect();
        // A chunk's mean counts as much as its rows do in the whole.
        let part = (to - from) as f64 / rows as f64;
        slope.iter_mut().for_each(|s| *s *= part as f32);
        let mut gradients = sides.no_gradients();
        for (at, join) in joins.iter().enumerate() {
            sides.carry(join, &block.segment_slope(at, &slope)?, &PlainProducts, &mut gradients)?;
        }
        Ok((part * share.gather(&values).mean, gradients))
    };
    let (want, whole) = step(0, rows)?;
    let (mut got, mut a, mut p, mut all) = (0.0, Vec::new(), vec![0.0; rows * dim], vec![0.0; rows * dim]);
    for (from, to) in [(0, 4), (4, 7), (7, 10)] {
        let (loss, gradients) = step(from, to)?;
        got += loss;
        a.extend(gradients[0].iter().flatten().copied());
        for (sum, side) in [(&mut p, 1), (&mut all, 2)] {
            sum.iter_mut().zip(gradients[side].iter().flatten()).for_each(|(s, g)| *s += g);
        }
    }
    assert!((got - want).abs() < 1e-5, "{got} {want}");
    for (side, chunked) in [&a, &p, &all].into_iter().enumerate() {
        for (x, y) in chunked.iter().zip(whole[side].iter().flatten()) {
            assert!((x - y).abs() < 1e-5, "side {side}: {x} {y}");
        }
    }
    Ok(())
}

// 8. Raw inverse weights are unbounded, and a weight that is not detached or not of mean 1 changes the learning rate.
#[test]
fn n08_cet_weights_are_capped_detached_and_of_mean_one() -> Result<()> {
    let mut weights = vec![1.0; 99];
    weights.push(1e6);
    mean_one(&mut weights, 10.0)?;
    let mean = weights.iter().sum::<f32>() / 100.0;
    assert!((mean - 1.0).abs() < 1e-4);
    assert!(weights[99] / weights[0] < 1e6 / 9.0, "capped");
    assert!(mean_one(&mut [f32::NAN], 10.0).is_err());

    let (s, marks) = ([0.9, 0.1, 0.3, 0.6], [P, N, P, N]);
    let scores = Scores::new(2, &s, &marks)?;
    let list = List::new(0.2)?;
    let focal = focal_weights(&scores, &list, 2.0)?;
    assert!((focal.iter().sum::<f32>() - 2.0).abs() < 1e-5 && focal[1] > focal[0], "{focal:?}");
    // Slopes of the weighted mean are those of fixed weights, whose scale does not matter.
    let tenfold: Vec<f32> = focal.iter().map(|w| w * 10.0).collect();
    let (mut one, mut ten) = ([0.0; 4], [0.0; 4]);
    list.evaluate(&scores.with_row_weights(&focal)?, &mut one)?;
    list.evaluate(&scores.with_row_weights(&tenfold)?, &mut ten)?;
    assert!(one.iter().zip(ten).all(|(a, b)| (a - b).abs() < 1e-5));
    Ok(())
}

// 9. A teacher's scale is not the student's, and its temperature must not learn.
#[test]
fn n09_lg_anna_teachers_are_standardised_per_row() -> Result<()> {
    let marks = [P, N, N, Mark::dropped(Reason::Kin)];
    let row = Cells { scores: &[0.0; 4], marks: &marks, log_weights: None, targets: None };
    let (mut one, mut other) = ([0.0; 4], [0.0; 4]);
    soft_targets(&row, &[3.0, 1.0, 2.0, 99.0], Scale::PerRow, 1.0, &mut one)?;
    soft_targets(&row, &[350.0, 150.0, 250.0, -1.0], Scale::PerRow, 1.0, &mut other)?;
    assert!(one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-6), "{one:?} {other:?}");
    assert!((one.iter().sum::<f32>() - 1.0).abs() < 1e-6 && one[3] == 0.0 && one[0] > one[2]);
    soft_targets(&row, &[3.0, 3.0, 3.0, 0.0], Scale::PerRow, 1.0, &mut one)?;
    assert!((one[0] - 1.0 / 3.0).abs() < 1e-6, "equal scores stay equal: {one:?}");
    // Targets that have been reached pull nowhere.
    let s = [3.0_f32, 1.0, 2.0, 0.0];
    soft_targets(&row, &s, Scale::Raw, 1.0, &mut one)?;
    let mut slope = [0.0; 4];
    let reached = List::new(1.0)?.evaluate(&Scores::new(4, &s, &marks)?.with_targets(&one)?, &mut slope)?;
    assert!(reached.mean < 1e-6 && slope.iter().all(|s| s.abs() < 1e-6), "{slope:?}");
    Ok(())
}

// 10. Later documents stood in the pool of earlier anchors (ECtHR-PCR): trivially separable, and not there at that time.
#[test]
fn n10_ecthr_candidates_later_than_the_anchor_go() -> Result<()> {
    let items = Catalogue { time: Some(vec![Some(1.0), Some(2.0), Some(9.0)]), ..Catalogue::default() };
    let anchors = Catalogue { time: Some(vec![Some(5.0)]), ..Catalogue::default() };
    let segment = NewSegment {
        origin: Origin::InBatch,
        items: Items::Shared((0..3).map(ItemId).collect()),
        scores: vec![0.5; 3],
        own: vec![Some(0)],
    };
    let mut block = ScoreBlock::new(vec![AnchorId(0)], vec![segment])?;
    let time = Time { column: "year".into(), rule: TimeRule::default() }.check()?;
    block.filter([&time as &dyn Filter], &facts(&items, &anchors, &Known::default()))?;
    assert_eq!(block.marks(), [P, N, Mark::dropped(Reason::Time)]);
    Ok(())
}

fn ranking(
    scores: &[f64],
    grades: &[i32],
    ties: Ties,
) -> std::result::Result<Ranking, Box<dyn std::error::Error>> {
    let ids: Vec<String> = (0..scores.len()).map(|i| format!("d{i}")).collect();
    let docs: Vec<_> = ids
        .iter()
        .zip(scores)
        .zip(grades)
        .map(|((id, &score), &grade)| Retrieved { doc: id, score, grade: Some(grade), judged_anywhere: true })
        .collect();
    let rules = Rules { ties, ..Profile::Trec.rules("mrr@10".parse()?, 1) };
    Ok(Ranking::new(&docs, grades, &rules)?)
}

// 11. A scorer turned predictions into a set and computed MRR from it; with ties in file order a constant scorer looked
// perfect.
#[test]
fn n11_technique_rag_order_is_kept_and_ties_are_expectations()
-> std::result::Result<(), Box<dyn std::error::Error>> {
    let mrr: Metric = "mrr@10".parse()?;
    let third = ranking(&[0.9, 0.8, 0.7, 0.6], &[0, 0, 1, 0], Ties::Expected)?;
    assert!((third.value(mrr) - 1.0 / 3.0).abs() < 1e-12);
    // All equal: (1 + 1/2 + 1/3 + 1/4) / 4.
    let flat = ranking(&[0.5; 4], &[1, 0, 0, 0], Ties::Expected)?;
    assert!((flat.value(mrr) - 25.0 / 48.0).abs() < 1e-12);
    Ok(())
}

// 12. A model that cannot tell a caption from its swap ties, and counting by order of the columns made it look right: the
// blind baseline scores chance.
#[test]
fn n12_negclip_a_blind_scorer_gets_chance() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let hit: Metric = "p@1".parse()?;
    for k in [2, 5] {
        let mut grades = vec![0; k];
        grades[0] = 1;
        let blind = ranking(&vec![0.3; k], &grades, Ties::Expected)?;
        assert!((blind.value(hit) - 1.0 / k as f64).abs() < 1e-12, "{k}");
    }
    // A softmax over ties says chance as well.
    let (loss, _) = value(&List::default(), 2, &[0.3, 0.3], &[P, N])?;
    assert!((loss.mean - 2.0_f64.ln()).abs() < 1e-6);
    Ok(())
}

// 13. A bank was stale by up to an epoch and nobody saw it: age and overlap are numbers.
#[test]
fn n13_adore_staleness_is_reported() -> Result<()> {
    let mut queue = Queue::new(4, 2)?;
    queue.push(1, &[ItemId(1), ItemId(2), ItemId(3)], &[0.1; 6])?;
    queue.push(3, &[ItemId(4), ItemId(5)], &[0.2; 4])?;
    assert_eq!(queue.items(), [2, 3, 4, 5].map(ItemId));
    assert_eq!(queue.vectors()[3..5], [0.1, 0.2]);
    assert_eq!(queue.age(5), Some((4.0 + 4.0 + 2.0 + 2.0) / 4.0));
    let (stale, fresh) = ([1, 2, 3, 4].map(ItemId), [9, 2, 1, 7].map(ItemId));
    assert_eq!(overlap(&stale, &fresh, 4), Some(0.5));
    assert_eq!(overlap(&stale, &fresh, 1), Some(0.0));
    assert_eq!(overlap(&stale, &[], 4), None);
    assert!(Queue::new(0, 2).is_err() && queue.push(4, &[ItemId(6)], &[0.0]).is_err());
    Ok(())
}

// 14. The same seed gives the same batches and the same loss curve, and an epoch covers the data (OpenShape drew its seeds
// with replacement).
#[test]
fn n14_openshape_same_seed_same_curve_and_every_row_is_used() -> Result<()> {
    let n = 60_u32;
    let anchors: Vec<_> = (0..n).map(AnchorId).collect();
    let positives: Vec<_> = (0..n).map(|i| ItemId(i / 2)).collect();
    let known = Known::new(positives.iter().map(|p| vec![*p]));
    let neighbours: Vec<Vec<u32>> = (0..n).map(|i| (1..6).map(|d| (i + d) % n).collect()).collect();
    let examples = Examples {
        known: Some(&known),
        neighbours: Some(&neighbours),
        ..Examples::new(&anchors, &positives)?
    };
    let batchers: [Box<dyn Batcher>; 3] = [
        Box::new(Random { size: 8 }),
        Box::new(NoCollision { size: 8 }),
        Box::new(Seeds { size: 8, nest: 4 }),
    ];
    for batcher in &batchers {
        let curve = |seed: u64| -> Result<Vec<u64>> {
            let mut curve = Vec::new();
            let mut vectors: Vec<f32> = {
                let mut rng = Rng::at(seed, 1, 0);
                (0..n * 4).map(|_| rng.unit() as f32 - 0.5).collect()
            };
            for epoch in 0..2 {
                let batches = batcher.epoch(&examples, Draw { seed, epoch })?;
                let mut all = batches.concat();
                all.sort_unstable();
                assert_eq!(all, (0..n).collect::<Vec<_>>(), "{batcher:?}");
                for batch in &batches {
                    let of = |e: &u32| vectors[*e as usize * 4..(*e as usize + 1) * 4].to_vec();
                    let mut sides = Sides::new(4)?;
                    let a = sides.push(batch.iter().flat_map(of).collect(), false)?;
                    let join = Join { origin: Origin::InBatch, rows: a, columns: a, layout: Layout::Shared };
                    let items = batch.iter().map(|e| positives[*e as usize]).collect();
                    let own = (0..batch.len() as u32).map(Some).collect();
                    let segment =
                        sides.segment(&join, batch.len(), Items::Shared(items), own, &PlainProducts)?;
                    let mut block =
                        ScoreBlock::new(batch.iter().map(|e| AnchorId(*e)).collect(), vec![segment])?;
                    let catalogue = Catalogue::default();
                    block.filter([&KnownFilter {} as &dyn Filter], &facts(&catalogue, &catalogue, &known))?;
                    let mut slope = vec![0.0; block.cells()];
                    curve.push(List::new(0.2)?.evaluate(&block.view()?, &mut slope)?.mean.to_bits());
                    let mut gradients = sides.no_gradients();
                    sides.carry(&join, &slope, &PlainProducts, &mut gradients)?;
                    for (e, g) in batch.iter().zip(gradients[a].iter().flat_map(|g| g.chunks_exact(4))) {
                        let at = *e as usize * 4;
                        vectors[at..at + 4].iter_mut().zip(g).for_each(|(v, g)| *v -= 0.1 * g);
                    }
                }
            }
            Ok(curve)
        };
        assert_eq!(curve(5)?, curve(5)?, "{batcher:?}");
        assert_ne!(curve(5)?, curve(6)?, "{batcher:?}");
    }
    Ok(())
}
