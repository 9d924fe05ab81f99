//! Batchers by hand and by law.

use super::*;
use crate::ABSENT;

const N: u32 = 103;

struct World {
    anchors: Vec<AnchorId>,
    positives: Vec<ItemId>,
    known: Known,
    tasks: Vec<u32>,
    groups: Vec<u32>,
    vectors: Vec<f32>,
    neighbours: Vec<Vec<u32>>,
}

/// 103 examples on a line; every fifth shares its positive with the one before.
fn world() -> World {
    let anchors: Vec<_> = (0..N).map(AnchorId).collect();
    let positives: Vec<_> = (0..N).map(|i| ItemId(if i % 5 == 4 { i - 1 } else { i })).collect();
    World {
        known: Known::new(positives.iter().map(|p| vec![*p, ItemId(p.0 + 7)])),
        tasks: (0..N).map(|i| if i < 70 { 0 } else { 1 + i % 2 }).collect(),
        groups: (0..N).map(|i| if i < 50 { i / 3 } else { ABSENT }).collect(),
        vectors: (0..N).flat_map(|i| [i as f32, 1.0]).collect(),
        neighbours: (0..N)
            .map(|i| {
                (1..=3).flat_map(|d| [i.checked_sub(d), Some(i + d)]).flatten().filter(|j| *j < N).collect()
            })
            .collect(),
        anchors,
        positives,
    }
}

impl World {
    fn examples(&self) -> Examples<'_> {
        Examples {
            anchors: &self.anchors,
            positives: &self.positives,
            known: Some(&self.known),
            tasks: Some(&self.tasks),
            groups: Some(&self.groups),
            vectors: Some(&self.vectors),
            neighbours: Some(&self.neighbours),
        }
    }
}

const DRAW: Draw = Draw { seed: 7, epoch: 0 };

fn sized() -> Vec<BatcherSpec> {
    vec![
        BatcherSpec::Random(Random { size: 16 }),
        BatcherSpec::NoCollision(NoCollision { size: 16 }),
        BatcherSpec::ByTask(ByTask { size: 16, ..ByTask::default() }),
        BatcherSpec::Clusters(Clusters { size: 16, start: 4, every: 1, most: 8 }),
        BatcherSpec::Seeds(Seeds { size: 16, nest: 4 }),
        BatcherSpec::Groups(Groups { size: 16, groups: 3, members: 2 }),
    ]
}

#[test]
fn every_example_comes_exactly_once_an_epoch_and_no_batch_is_too_large() -> Result<()> {
    let world = world();
    for spec in sized() {
        let name = spec.name();
        let batcher = spec.build()?;
        let mut epochs = Vec::new();
        for epoch in 0..3 {
            let batches = batcher.epoch(&world.examples(), Draw { epoch, ..DRAW })?;
            assert!(batches.iter().all(|b| !b.is_empty() && b.len() <= 16), "{name}");
            let mut all = batches.concat();
            all.sort_unstable();
            assert_eq!(all, (0..N).collect::<Vec<_>>(), "{name}");
            assert_eq!(batches, batcher.epoch(&world.examples(), Draw { epoch, ..DRAW })?, "{name}");
            epochs.push(batches);
        }
        assert_ne!(epochs[0], epochs[1], "{name} draws every epoch the same");
    }
    Ok(())
}

#[test]
fn no_positive_is_a_known_positive_of_another_anchor_of_the_batch() -> Result<()> {
    let world = world();
    let clashes = |batches: &[Vec<u32>]| {
        let mut clashes = 0;
        for batch in batches {
            for a in batch {
                let known = world.known.of(world.anchors[*a as usize]);
                let hit = |b: &&u32| a != *b && known.contains(&world.positives[**b as usize]);
                clashes += batch.iter().filter(hit).count();
            }
        }
        clashes
    };
    assert!(clashes(&Random { size: 16 }.epoch(&world.examples(), DRAW)?) > 0);
    assert_eq!(clashes(&NoCollision { size: 16 }.epoch(&world.examples(), DRAW)?), 0);
    Ok(())
}

#[test]
fn a_batch_holds_one_task_and_ratios_say_how_many_it_gets() -> Result<()> {
    let world = world();
    let task = |batch: &Vec<u32>| world.tasks[batch[0] as usize];
    let by = ByTask { size: 10, ratios: vec![1.0, 1.0, 2.0], ..ByTask::default() }.check()?;
    let batches = by.epoch(&world.examples(), DRAW)?;
    assert!(batches.iter().all(|b| b.iter().all(|e| world.tasks[*e as usize] == task(b))));
    // 70, 17 and 16 examples fill 7 + 2 + 2 batches: 11 x 1/4, 1/4, 1/2.
    let count = |t| batches.iter().filter(|b| task(b) == t).count();
    assert_eq!([count(0), count(1), count(2)], [3, 3, 6]);
    // Task 0 gets 3 of its 7 batches an epoch; the rest of the pass comes in the next ones.
    let seen = |epochs: std::ops::Range<u64>| -> Result<Vec<u32>> {
        let mut all = Vec::new();
        for epoch in epochs {
            all.extend(by.epoch(&world.examples(), Draw { epoch, ..DRAW })?.concat());
        }
        all.retain(|e| world.tasks[*e as usize] == 0);
        all.sort_unstable();
        all.dedup();
        Ok(all)
    };
    assert_eq!(seen(0..2)?.len(), 60);
    assert_eq!(seen(0..3)?.len(), 70);
    assert!(ByTask { ratios: vec![1.0], ..by }.epoch(&world.examples(), DRAW).is_err());
    Ok(())
}

#[test]
fn clusters_are_neighbours_and_double_by_schedule() -> Result<()> {
    let world = world();
    let clusters = Clusters { size: 8, start: 8, every: 2, most: 20 }.check()?;
    assert_eq!([0, 1, 2, 3, 4, 5].map(|e| clusters.cluster_size(e)), [8, 8, 16, 16, 20, 20]);
    assert_eq!(Clusters { every: 0, ..clusters.clone() }.cluster_size(9), 8);
    // 103 halved to parts of 6 or 7 on a line: a batch spans little of it, a random one nearly all.
    let spread = |batches: Vec<Vec<u32>>| -> f64 {
        let gap = |b: &Vec<u32>| -> u32 {
            let mut b = b.clone();
            b.sort_unstable();
            let mut gaps: Vec<u32> = b.windows(2).map(|w| w[1] - w[0]).collect();
            gaps.sort_unstable();
            gaps[gaps.len() / 2]
        };
        let full: Vec<_> = batches.iter().filter(|b| b.len() == 8).map(gap).collect();
        f64::from(full.iter().sum::<u32>()) / full.len() as f64
    };
    let near = spread(clusters.epoch(&world.examples(), DRAW)?);
    let far = spread(Random { size: 8 }.epoch(&world.examples(), DRAW)?);
    assert!(near < 2.0 && far > 4.0, "{near} {far}");
    Ok(())
}

#[test]
fn a_seed_brings_its_neighbours() -> Result<()> {
    let world = world();
    let batches = Seeds { size: 16, nest: 4 }.epoch(&world.examples(), DRAW)?;
    let nest = &batches[0][..4];
    assert!(nest[1..].iter().all(|n| world.neighbours[nest[0] as usize].contains(n)), "{nest:?}");
    Ok(())
}

#[test]
fn a_batch_holds_its_bundles_and_filler() -> Result<()> {
    let world = world();
    let batches = Groups { size: 10, groups: 3, members: 2 }.check()?.epoch(&world.examples(), DRAW)?;
    let (bundles, filler) = batches[0].split_at(6);
    for pair in bundles.chunks(2) {
        assert_eq!(world.groups[pair[0] as usize], world.groups[pair[1] as usize]);
    }
    assert_eq!(filler.len(), 4);
    Ok(())
}

#[test]
fn the_window_of_mined_negatives_moves_round() {
    let window = Rotation { width: 3, step: 2 };
    let at = |n, e| window.positions(n, e).collect::<Vec<_>>();
    assert_eq!([at(5, 0), at(5, 1), at(5, 2)], [vec![0, 1, 2], vec![2, 3, 4], vec![4, 0, 1]]);
    assert_eq!(at(2, 9), [0, 1]);
    assert!(at(0, 3).is_empty());
}

#[test]
fn what_is_missing_or_does_not_fit_is_said() -> Result<()> {
    let world = world();
    let bare = Examples::new(&world.anchors, &world.positives)?;
    for spec in sized() {
        let name = spec.name();
        let said = spec.build()?.epoch(&bare, DRAW).err().map(|e| e.to_string());
        match name {
            "random" => assert_eq!(said, None),
            _ => assert!(said.is_some_and(|s| s.starts_with(&format!("{name} needs"))), "{name}"),
        }
    }
    assert!(Random { size: 1 }.check().is_err());
    assert!(Groups { size: 5, groups: 3, members: 2 }.check().is_err());
    assert!(Clusters { start: 9, most: 8, ..Clusters::default() }.check().is_err());
    assert!(ByTask { ratios: vec![0.0], ..ByTask::default() }.check().is_err());
    assert!(Examples::new(&world.anchors, &[]).is_err());
    Ok(())
}

#[test]
fn specs_survive_a_round_trip_and_refuse_unknown_fields() -> serde_json::Result<()> {
    for (spec, name) in BatcherSpec::all().into_iter().zip(BatcherSpec::NAMES) {
        let text = serde_json::to_string(&spec)?;
        assert_eq!(serde_json::from_str::<BatcherSpec>(&text)?, spec);
        assert!(serde_json::from_str::<BatcherSpec>(&format!("{{\"{name}\":{{\"no_such\":1}}}}")).is_err());
        assert!(spec.build().is_ok());
    }
    Ok(())
}
