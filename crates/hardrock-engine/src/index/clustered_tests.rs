use std::sync::atomic::AtomicBool;

use hardrock_core::Rng;

use super::super::rows::normalise;
use super::*;

/// Rows around `bunches` centres, `noise` times as long as the way to them.
fn rows(count: usize, dim: usize, bunches: usize, noise: f32, seed: u64) -> Matrix {
    let unit = |rng: &mut Rng| -> Vec<f32> {
        let mut row: Vec<f32> = (0..dim).map(|_| rng.unit() as f32 - 0.5).collect();
        normalise(&mut row);
        row
    };
    let centres: Vec<Vec<f32>> = (0..bunches).map(|b| unit(&mut Rng::at(7, 1, b as u64))).collect();
    let mut values = Vec::new();
    for i in 0..count {
        let mut rng = Rng::at(seed, 2, i as u64);
        let centre = &centres[rng.below(bunches as u64) as usize];
        let mut row: Vec<f32> = unit(&mut rng).iter().zip(centre).map(|(x, c)| c + noise * x).collect();
        normalise(&mut row);
        values.extend(row);
    }
    Matrix::new(values, dim).unwrap()
}

#[test]
fn the_target_recall_is_reached_on_anchors_that_were_not_in_the_sample() -> Result<()> {
    let (documents, anchors) = (rows(20_000, 24, 150, 1.0, 1), rows(3_000, 24, 150, 1.0, 2));
    let clusters = Clusters::new(&documents, 0, Watch::default())?;
    let exact = Flat::new(&documents, usize::MAX / 2, Watch::default())?.search(&anchors, 0..3_000, 20)?;
    for budget in [usize::MAX / 2, 24 * 20_000 * 2] {
        let join = Join::new(&clusters, budget, Watch::default())?;
        assert!(join.exact(&anchors, 0..3_000, 20)? == exact);
        for target in [0.8, 0.95] {
            let probes = join.probes(&anchors, 0..3_000, 20, target)?;
            let (found, share) = join.search(&anchors, 0..3_000, 20, probes)?;
            let recall = Recall::of(&found, &exact);
            assert!(recall.low >= target - 0.02 && share < 0.7, "{target}: {recall:?} at {share}, {probes}");
            assert!(recall.mean < 1.0, "nothing was left out");
            for row in 0..3_000 {
                let (items, scores) = found.row(row);
                let (all, right) = exact.row(row);
                for (item, score) in items.iter().zip(scores) {
                    let at = all.iter().position(|i| i == item);
                    assert!(at.is_none_or(|at| right[at].to_bits() == score.to_bits()));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn threads_and_memory_change_no_bit() -> Result<()> {
    let (documents, anchors) = (rows(9_000, 16, 50, 0.8, 3), rows(1_000, 16, 50, 0.8, 4));
    let clusters = Clusters::new(&documents, 5, Watch::default())?;
    let search = |budget: usize, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            assert_eq!(Clusters::new(&documents, 5, Watch::default())?.members.rows, clusters.members.rows);
            Ok(Join::new(&clusters, budget, Watch::default())?.search(&anchors, 10..900, 15, 6)?.0)
        })
    };
    let one: Result<Neighbours> = search(usize::MAX / 2, 1);
    let one = one?;
    // The second budget holds codes alone, the third neither codes nor rows.
    for (budget, threads) in [(usize::MAX / 2, 3), (9_000 * 16 * 2, 2), (1 << 16, 2)] {
        assert!(one == search(budget, threads)?, "budget {budget} and {threads} threads");
    }
    Ok(())
}

#[test]
fn edges_are_no_trouble() -> Result<()> {
    let none = Matrix::new(vec![], 4)?;
    let few = Matrix::new(vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 4)?;
    let clusters = Clusters::new(&none, 0, Watch::default())?;
    assert!(Join::new(&clusters, 0, Watch::default())?.search(&few, 0..2, 3, 1)?.0.items.is_empty());
    let clusters = Clusters::new(&few, 0, Watch::default())?;
    let join = Join::new(&clusters, 1 << 20, Watch::default())?;
    assert_eq!(join.probes(&few, 0..2, 3, 0.5)?, 1);
    assert_eq!(join.search(&few, 0..2, 3, 1)?.0.items, [0, 1, 0, 1]);
    assert!(join.probes(&few, 0..2, 3, 1.5).is_err());
    let stop = AtomicBool::new(true);
    let watch = Watch { cancel: Some(&stop), pairs: None };
    let many = rows(2_000, 8, 10, 0.5, 1);
    assert!(matches!(Clusters::new(&many, 0, watch), Err(Error::Cancelled)));
    Ok(())
}

#[test]
fn recall_counts_equal_scores_as_equal() {
    let row = |scores: &[f32]| Neighbours {
        starts: vec![0, scores.len()],
        items: (0..scores.len() as u32).collect(),
        scores: scores.to_vec(),
    };
    let recall = |found: &[f32], exact: &[f32]| Recall::of(&row(found), &row(exact)).mean;
    assert_eq!(recall(&[3.0, 2.0, 2.0], &[3.0, 2.0]), 1.0);
    assert_eq!(recall(&[2.0, 1.0], &[3.0, 2.0]), 0.5);
    assert_eq!(recall(&[], &[]), 1.0);
}
