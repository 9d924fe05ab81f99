//! Every loss against a naive loop in f64 and its slopes against finite differences of that loop, with and without
//! log-weights, soft targets, row weights and dropped cells.

mod naive;

use hardrock_core::losses::*;
use hardrock_core::{Mark, Reason, Result};

use naive::{COLUMNS, Naive, ROWS, block, holds, learns, sigmoid, softplus};

fn list_naive(b: &Naive, l: &List, t: f64) -> f64 {
    b.mean(|r| {
        let (kept, positives, negatives) = (b.kept(r), b.positives(r), b.negatives(r));
        if kept.len() < 2 {
            return None;
        }
        let z = |c: usize| {
            let margin = if b.marks[c].is_positive() { f64::from(l.margin) } else { 0.0 };
            (b.s[c] - margin) / t + b.w[c]
        };
        let total: f64 = kept.iter().map(|&c| z(c).exp()).sum();
        let n = positives.len() as f64;
        if let Some(y) = &b.y {
            let mass: f64 = kept.iter().map(|&c| y[c]).sum();
            let hard = f64::from(l.hard);
            let target =
                |c: usize| (1.0 - hard) * y[c] / mass + if b.marks[c].is_positive() { hard / n } else { 0.0 };
            return Some(
                kept.iter()
                    .map(|&c| {
                        let (t, p) = (target(c), z(c).exp() / total);
                        let m = (t + p) / 2.0;
                        match l.soft {
                            Soft::Kl => t * (t / p).ln(),
                            Soft::Js => 0.5 * t * (t / m).ln() + 0.5 * p * (p / m).ln(),
                        }
                    })
                    .sum(),
            );
        }
        let sum = |cells: &[usize]| cells.iter().map(|&c| z(c).exp()).sum::<f64>();
        Some(match l.several {
            Several::Share => positives.iter().map(|&p| total.ln() - z(p)).sum::<f64>() / n,
            Several::Each => {
                positives.iter().map(|&p| (1.0 + sum(&negatives) / z(p).exp()).ln()).sum::<f64>() / n
            }
            Several::Any => total.ln() - sum(&positives).ln(),
        })
    })
}

#[test]
fn list() -> Result<()> {
    for seed in 0..4 {
        for several in [Several::Share, Several::Each, Several::Any] {
            let l = List { several, margin: 0.1, temperature: 0.25, ..List::default() };
            let b = block(seed, false);
            let v = holds(&format!("{several:?}"), &b, &l, &|b| list_naive(b, &l, 0.25))?;
            learns("temperature", v.temperature_slope, |t| list_naive(&b, &l, t), 0.25);
            assert_eq!((v.live_rows, v.empty_rows), (4, 1));
        }
        for (soft, hard) in [(Soft::Kl, 0.0), (Soft::Kl, 0.3), (Soft::Js, 0.0), (Soft::Js, 0.6)] {
            let l = List { soft, hard, margin: 0.1, temperature: 0.25, ..List::default() };
            let b = block(seed, true);
            let v = holds(&format!("{soft:?} {hard}"), &b, &l, &|b| list_naive(b, &l, 0.25))?;
            learns("temperature", v.temperature_slope, |t| list_naive(&b, &l, t), 0.25);
        }
    }
    Ok(())
}

#[test]
fn list_both_ways() -> Result<()> {
    let l = List { temperature: 0.25, ..List::default() };
    for seed in 0..4 {
        // A square with one positive per row and column, and one cell dropped.
        let mut b = block(seed, false);
        for r in 0..ROWS {
            for c in 0..COLUMNS {
                b.marks[r * COLUMNS + c] = if r == c { Mark::POSITIVE } else { Mark::LIVE };
            }
        }
        b.marks[COLUMNS + 3] = Mark::dropped(Reason::Kin);
        b.rows = vec![1.0; ROWS];
        let way = |b: &Naive, cells: &dyn Fn(usize) -> Vec<usize>| {
            let z = |c: usize| b.s[c] / 0.25 + b.w[c];
            let one = |i: usize| {
                let kept = cells(i).into_iter().filter(|&c| b.marks[c].is_kept());
                kept.map(|c| z(c).exp()).sum::<f64>().ln() - z(i * COLUMNS + i)
            };
            (0..ROWS).map(one).sum::<f64>() / ROWS as f64
        };
        let naive = |b: &Naive| {
            let rows = way(b, &|r| (r * COLUMNS..(r + 1) * COLUMNS).collect());
            let columns = way(b, &|c| (0..ROWS).map(|r| r * COLUMNS + c).collect());
            (rows + columns) / 2.0
        };
        let both = BothWays { list: l.clone(), columns: Some(0..ROWS) };
        let mut plain = b.clone();
        plain.marks[4 * COLUMNS + 5] = Mark::LIVE;
        let narrow = |v: &[f64]| -> Vec<f32> { v.iter().map(|&x| x as f32).collect() };
        let (s, w) = (narrow(&plain.s), narrow(&plain.w));
        let scores = Scores::new(COLUMNS, &s, &plain.marks)?.with_log_weights(&w)?;
        let mut slope = vec![f32::NAN; s.len()];
        let value = both.evaluate(&scores, &mut slope)?;
        assert!((value.mean - naive(&plain)).abs() < 1e-5);
        for (c, &slope) in slope.iter().enumerate() {
            let at = |d: f64| {
                let mut b = plain.clone();
                b.s[c] += d;
                naive(&b)
            };
            let want = (at(1e-6) - at(-1e-6)) / 2e-6;
            let want = if plain.marks[c].is_kept() { want } else { 0.0 };
            assert!((f64::from(slope) - want).abs() < 2e-5, "cell {c}: {slope} {want}");
        }
    }
    Ok(())
}

#[test]
fn pair() -> Result<()> {
    for seed in 0..4 {
        for phi in [Phi::Softplus, Phi::Hinge, Phi::SquaredHinge] {
            for which in [Which::All, Which::Hardest(2), Which::SemiHard] {
                for omega in [Omega::Even, Omega::Hardness(0.5), Omega::Ndcg, Omega::Mrr] {
                    let l = Pair { phi, which, omega, margin: 0.25, temperature: 0.5 };
                    let b = block(seed, false);
                    let fixed = b.clone(); // weights are detached: they come from the block before the step
                    let naive = |b: &Naive, t: f64| pair_naive(b, &fixed, &l, t);
                    let name = format!("{phi:?} {which:?} {omega:?}");
                    let v = holds(&name, &b, &l, &|b| naive(b, 0.5))?;
                    learns(&name, v.temperature_slope, |t| naive(&b, t), 0.5);
                }
            }
        }
    }
    Ok(())
}

fn pair_naive(b: &Naive, fixed: &Naive, l: &Pair, t: f64) -> f64 {
    b.mean(|r| {
        let (kept, positives, negatives) = (fixed.kept(r), fixed.positives(r), fixed.negatives(r));
        if positives.is_empty() || negatives.is_empty() {
            return None;
        }
        let rank = |c: usize| kept.iter().filter(|&&o| fixed.s[o] > fixed.s[c]).count() as f64;
        let best = positives.iter().map(|&p| rank(p)).fold(f64::INFINITY, f64::min);
        let gain = |rank: f64| 1.0 / (rank + 2.0).log2();
        let ideal: f64 = (0..positives.len()).map(|r| gain(r as f64)).sum();
        let (mut sum, mut total) = (0.0, 0.0);
        for &p in &positives {
            let mut chosen = negatives.clone();
            match l.which {
                Which::All => {}
                Which::Hardest(k) => {
                    chosen.sort_by(|&a, &b| fixed.s[b].total_cmp(&fixed.s[a]));
                    chosen.truncate(k as usize);
                }
                Which::SemiHard => {
                    let between = |n: &usize| {
                        fixed.s[*n] < fixed.s[p] && fixed.s[*n] > fixed.s[p] - f64::from(l.margin)
                    };
                    let inside: Vec<usize> = chosen.iter().copied().filter(between).collect();
                    if !inside.is_empty() {
                        chosen = inside;
                    }
                }
            }
            for &n in &chosen {
                let omega = match l.omega {
                    Omega::Even => 1.0,
                    Omega::Hardness(h) => (fixed.s[n] / f64::from(h)).exp(),
                    Omega::Ndcg => (gain(rank(p)) - gain(rank(n))).abs() / ideal,
                    Omega::Mrr => {
                        let others = positives.iter().filter(|o| **o != p).map(|&o| rank(o));
                        let after = others.fold(rank(n), f64::min);
                        (1.0 / (after + 1.0) - 1.0 / (best + 1.0)).abs()
                    }
                } * fixed.w[n].exp();
                let x = (b.s[n] - b.s[p] + f64::from(l.margin)) / t;
                total += omega;
                sum += omega
                    * match l.phi {
                        Phi::Softplus => softplus(x),
                        Phi::Hinge => x.max(0.0),
                        Phi::SquaredHinge => x.max(0.0).powi(2),
                    };
            }
        }
        Some(sum / total)
    })
}

#[test]
fn double_hinge() -> Result<()> {
    let l = DoubleHinge { above: 0.4, below: 0.1 };
    for seed in 0..4 {
        let b = block(seed, false);
        holds("double hinge", &b, &l, &|b| {
            b.mean(|r| {
                let (p, n) = (b.positives(r), b.negatives(r));
                let weight: f64 = n.iter().map(|&c| b.w[c].exp()).sum();
                let up: f64 = p.iter().map(|&c| (f64::from(l.above) - b.s[c]).max(0.0)).sum();
                let down: f64 =
                    n.iter().map(|&c| b.w[c].exp() * (b.s[c] - f64::from(l.below)).max(0.0)).sum();
                (!p.is_empty() && !n.is_empty()).then(|| up / p.len() as f64 + down / weight)
            })
        })?;
    }
    Ok(())
}

fn point_naive(b: &Naive, l: &Point, t: f64, bias: f64) -> f64 {
    b.mean(|r| {
        let (mut sum, mut total) = (0.0, 0.0);
        for c in b.kept(r) {
            let (x, y) = ((b.s[c] - bias) / t, b.y(c));
            let p = sigmoid(x);
            let cost = match l.cost {
                Cost::Logistic => -y * p.ln() - (1.0 - y) * (1.0 - p).ln(),
                Cost::Squared => (x - y).powi(2),
                Cost::Focal { positive, negative, clip } => {
                    let m = (p - f64::from(clip)).max(0.0);
                    -y * (1.0 - p).powf(positive.into()) * p.ln()
                        - (1.0 - y) * m.powf(negative.into()) * (1.0 - m).ln()
                }
            };
            let own = if b.marks[c].is_positive() { f64::from(l.positive_weight) } else { 1.0 };
            sum += own * b.w[c].exp() * cost;
            total += own * b.w[c].exp();
        }
        let by = if l.reduce == Reduce::Mean { total } else { 1.0 };
        (total > 0.0).then(|| sum / by)
    })
}

#[test]
fn point() -> Result<()> {
    let costs = [
        Cost::Logistic,
        Cost::Squared,
        Cost::Focal { positive: 2.0, negative: 2.0, clip: 0.0 },
        Cost::Focal { positive: 0.0, negative: 4.0, clip: 0.05 },
    ];
    for seed in 0..4 {
        for cost in costs {
            for (reduce, soft) in [(Reduce::Mean, false), (Reduce::Sum, false), (Reduce::Mean, true)] {
                let l = Point { cost, reduce, temperature: 0.25, bias: 0.125, positive_weight: 3.0 };
                let b = block(seed, soft);
                let name = format!("{cost:?} {reduce:?} {soft}");
                let v = holds(&name, &b, &l, &|b| point_naive(b, &l, 0.25, 0.125))?;
                learns(&name, v.temperature_slope, |t| point_naive(&b, &l, t, 0.125), 0.25);
                learns(&name, v.bias_slope, |bias| point_naive(&b, &l, 0.25, bias), 0.125);
            }
        }
    }
    Ok(())
}

fn overlap(l: &Tversky, cells: &[(f64, f64, f64)]) -> f64 {
    let sum = |f: &dyn Fn(f64, f64) -> f64| cells.iter().map(|&(w, p, y)| w * f(p, y)).sum::<f64>();
    let above = sum(&|p, y| p * y) + f64::from(l.smooth);
    let below = above
        + f64::from(l.false_positives) * sum(&|p, y| p * (1.0 - y))
        + f64::from(l.false_negatives) * sum(&|p, y| (1.0 - p) * y);
    1.0 - above / below
}

#[test]
fn tversky_per_row_and_per_batch_are_two_losses() -> Result<()> {
    let l =
        Tversky { false_positives: 0.3, false_negatives: 0.7, temperature: 0.25, bias: 0.125, smooth: 0.5 };
    for (seed, soft) in [(0, false), (1, false), (2, true)] {
        let b = block(seed, soft);
        let cells = |b: &Naive, r: usize, row: f64, t: f64, bias: f64| -> Vec<_> {
            let of = |c: usize| (row * b.w[c].exp(), sigmoid((b.s[c] - bias) / t), b.y(c));
            b.kept(r).into_iter().map(of).collect()
        };
        let by_row = |b: &Naive, t: f64, bias: f64| {
            b.mean(|r| (!b.kept(r).is_empty()).then(|| overlap(&l, &cells(b, r, 1.0, t, bias))))
        };
        let by_batch = |b: &Naive, t: f64, bias: f64| {
            overlap(&l, &(0..ROWS).flat_map(|r| cells(b, r, b.rows[r], t, bias)).collect::<Vec<_>>())
        };
        let v = holds("tversky_row", &b, &TverskyRow(l.clone()), &|b| by_row(b, 0.25, 0.125))?;
        learns("row t", v.temperature_slope, |t| by_row(&b, t, 0.125), 0.25);
        learns("row b", v.bias_slope, |bias| by_row(&b, 0.25, bias), 0.125);
        let w = holds("tversky_batch", &b, &TverskyBatch(l.clone()), &|b| by_batch(b, 0.25, 0.125))?;
        learns("batch t", w.temperature_slope, |t| by_batch(&b, t, 0.125), 0.25);
        learns("batch b", w.bias_slope, |bias| by_batch(&b, 0.25, bias), 0.125);
        assert!((v.mean - w.mean).abs() > 1e-3);
    }
    Ok(())
}

#[test]
fn z_loss_and_stable_max() -> Result<()> {
    for seed in 0..4 {
        let b = block(seed, false);
        let z = |b: &Naive, t: f64| {
            b.mean(|r| {
                let sum: f64 = b.kept(r).iter().map(|&c| (b.s[c] / t + b.w[c]).exp()).sum();
                (sum > 0.0).then(|| sum.ln().powi(2))
            })
        };
        let v = holds("z", &b, &ZLoss { temperature: 0.25 }, &|b| z(b, 0.25))?;
        learns("z", v.temperature_slope, |t| z(&b, t), 0.25);
        for soft in [false, true] {
            let b = block(seed, soft);
            let stable = |b: &Naive, t: f64| {
                b.mean(|r| {
                    let kept = b.kept(r);
                    let g = |c: usize| {
                        let x = b.s[c] / t;
                        b.w[c].exp() * if x >= 0.0 { x + 1.0 } else { 1.0 / (1.0 - x) }
                    };
                    let (sum, mass): (f64, f64) =
                        kept.iter().fold((0.0, 0.0), |(s, m), &c| (s + g(c), m + b.y(c)));
                    let of = |c: usize| match b.y(c) / mass {
                        0.0 => 0.0,
                        t => t * (t * sum / g(c)).ln(),
                    };
                    (kept.len() > 1).then(|| kept.iter().map(|&c| of(c)).sum())
                })
            };
            let v = holds("stable_max", &b, &StableMax { temperature: 0.25 }, &|b| stable(b, 0.25))?;
            learns("stable_max", v.temperature_slope, |t| stable(&b, t), 0.25);
        }
    }
    Ok(())
}

#[test]
fn cumulative() -> Result<()> {
    let l = Cumulative { temperature: 0.5, gap: 0.01 };
    for seed in 0..4 {
        let mut b = block(seed, false);
        for r in 0..ROWS {
            // Bars that fall, with the row's grade = r.
            let mut bars: Vec<f64> = b.s[r * COLUMNS..(r + 1) * COLUMNS].to_vec();
            bars.sort_by(|a, b| b.total_cmp(a));
            for (c, bar) in bars.into_iter().enumerate() {
                b.s[r * COLUMNS + c] = bar - 0.02 * c as f64;
                b.marks[r * COLUMNS + c] = match () {
                    () if r == 4 => Mark::ABSENT,
                    () if c < 2 * r => Mark::POSITIVE,
                    () => Mark::LIVE,
                };
            }
        }
        b.s.iter_mut().for_each(|s| *s = f64::from(*s as f32));
        let naive = |b: &Naive, t: f64| {
            b.mean(|r| {
                let p = |c: usize| sigmoid(b.s[c] / t);
                let (above, below) = (b.positives(r).last().copied(), b.negatives(r).first().copied());
                (above.is_some() || below.is_some())
                    .then(|| -(above.map_or(1.0, p) - below.map_or(0.0, p)).ln())
            })
        };
        let v = holds("cumulative", &b, &l, &|b| naive(b, 0.5))?;
        learns("cumulative", v.temperature_slope, |t| naive(&b, t), 0.5);
    }
    // Crossed bars: finite, and pushed apart.
    let (s, m) = ([0.1_f32, 0.3], [Mark::POSITIVE, Mark::LIVE]);
    let mut slope = [0.0; 2];
    let value = l.evaluate(&Scores::new(2, &s, &m)?, &mut slope)?;
    assert!(value.mean.is_finite() && slope[0] < 0.0 && slope[1] > 0.0);
    Ok(())
}

#[test]
fn a_sum_is_the_sum_of_its_parts() -> Result<()> {
    let b = block(1, false);
    let (l, z) = (List { temperature: 0.25, ..List::default() }, ZLoss { temperature: 0.25 });
    let sum = Sum::new(vec![(1.0, Box::new(l.clone())), (0.25, Box::new(z))]);
    let v = holds("sum", &b, &sum, &|b| {
        let z = b.mean(|r| {
            let sum: f64 = b.kept(r).iter().map(|&c| (b.s[c] / 0.25 + b.w[c]).exp()).sum();
            (sum > 0.0).then(|| sum.ln().powi(2))
        });
        list_naive(b, &l, 0.25) + 0.25 * z
    })?;
    assert_eq!((v.live_rows, v.empty_rows), (4, 1));
    Ok(())
}
