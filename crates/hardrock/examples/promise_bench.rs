//! Repeats the promise on a run whose truth is known: `promise_bench RUN ORACLE LEVEL`.
//!
//! Half of the anchors are there to be judged by the oracle, the other half measures what share of false negatives the chosen
//! threshold really lets through. Prints one line of a Markdown table per cell: share asked, verdicts, mean share, repetitions
//! above the share asked, ideal kept, refusals.

#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark talks to the terminal"
)]

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use hardrock::candidates::Status;
use hardrock::outputs::Outputs;
use hardrock_core::promise::{self, Kind, Loss, certify};
use hardrock_core::{Reason, Rng};

const REPETITIONS: u64 = 200;
const K: usize = 5;

struct Row {
    p: Vec<f32>,
    false_negative: Vec<bool>,
}

/// Share of false negatives and of the ideal that the selection at a threshold holds over some rows.
fn measure(rows: &[&Row], threshold: f32) -> (f64, f64) {
    let (mut n, mut bad, mut ideal, mut kept) = (0u64, 0u64, 0u64, 0u64);
    for row in rows {
        let chosen: BTreeSet<usize> = promise::selected(&row.p, K, threshold).collect();
        n += chosen.len() as u64;
        bad += chosen.iter().filter(|&&i| row.false_negative[i]).count() as u64;
        for i in (0..row.p.len()).filter(|&i| !row.false_negative[i]).take(K) {
            ideal += 1;
            kept += u64::from(chosen.contains(&i));
        }
    }
    (bad as f64 / n.max(1) as f64, kept as f64 / ideal.max(1) as f64)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [run, oracle, level] = arguments.as_slice() else {
        panic!("usage: promise_bench RUN ORACLE.tsv LEVEL")
    };
    let level: i64 = level.parse().unwrap();
    let text = std::fs::read_to_string(oracle).unwrap();
    let truth: HashSet<(&str, &str)> = text
        .lines()
        .skip(1)
        .filter_map(|l| {
            let f: Vec<&str> = l.split('\t').collect();
            (f[2].parse::<i64>().unwrap() >= level).then_some((f[0], f[1]))
        })
        .collect();
    let candidates = Outputs::of(Path::new(run)).open_candidates().unwrap();
    let at = candidates.signals().iter().position(|s| s == "p_fn").unwrap();
    let mut rows = Vec::new();
    for anchor in candidates.anchors().unwrap() {
        let anchor = anchor.unwrap();
        let mut row = Row { p: Vec::new(), false_negative: Vec::new() };
        for c in anchor.candidates() {
            let lives = match (&c.drop, c.status) {
                (Some(d), _) => matches!(d.reason, Reason::MaxPFn),
                (None, status) => status != Status::Positive,
            };
            if lives && row.p.len() < 40 {
                row.p.push(c.signals[at].unwrap_or(f32::NAN));
                row.false_negative.push(truth.contains(&(anchor.query_id.as_str(), c.doc_id.as_str())));
            }
        }
        rows.push(row);
    }
    println!(
        "| asked | verdicts | judge | promise | mean share | above | ideal kept | refused | verdicts / slot |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for alpha in [0.01, 0.02, 0.05, 0.1] {
        let all: Vec<&[f32]> = rows.iter().map(|r| r.p.as_slice()).collect();
        let grid = promise::grid(&all, K, alpha, 8.0);
        let plug_in = promise::plug_in(&all, K, alpha).map(|p| {
            let whole: Vec<&Row> = rows.iter().collect();
            measure(&whole, p.threshold)
        });
        if let Some((share, ideal)) = plug_in {
            println!("| {:.0} % | 0 | none | estimate | {share:.4} | | {ideal:.3} | | |", alpha * 100.0);
        }
        for budget in [100u64, 300, 1000] {
            for (judge, wrong) in [("perfect", 0.0), ("95 % right", 0.05)] {
                for (name, kind) in [("confident", Kind::Confident), ("average", Kind::Average)] {
                    let (mut sum, mut above, mut ideal, mut refused, mut slots, mut spent) =
                        (0.0, 0u64, 0.0, 0u64, 0u64, 0u64);
                    for rep in 0..REPETITIONS {
                        let mut order: Vec<(u64, usize)> =
                            (0..rows.len()).map(|i| (promise::order(rep, i as u64), i)).collect();
                        order.sort_unstable();
                        let (judged, test) = order.split_at(order.len() / 2);
                        let (mut losses, mut used) = (Vec::new(), 0u64);
                        for &(_, i) in judged {
                            if used >= budget {
                                break;
                            }
                            let row = &rows[i];
                            let chain = promise::chain(&row.p, promise::slot(rep, i as u64, K), &grid);
                            used += chain.iter().flatten().collect::<BTreeSet<_>>().len() as u64;
                            let loss = |holder: &Option<usize>| match holder {
                                None => Loss::Empty,
                                Some(c) => {
                                    // The same pair gets the same answer at every threshold.
                                    let mut rng = Rng::at(rep, i as u64, *c as u64);
                                    if row.false_negative[*c] != (rng.unit() < wrong) {
                                        Loss::False
                                    } else {
                                        Loss::True
                                    }
                                }
                            };
                            losses.push(chain.iter().map(loss).collect());
                        }
                        slots += losses.len() as u64;
                        spent += used;
                        match certify(&losses, alpha, 0.9, kind) {
                            Err(_) => refused += 1,
                            Ok(c) => {
                                let test: Vec<&Row> = test.iter().map(|&(_, i)| &rows[i]).collect();
                                let (share, kept) = measure(&test, grid[c.threshold]);
                                sum += share;
                                ideal += kept;
                                above += u64::from(share > alpha);
                            }
                        }
                    }
                    let proved = (REPETITIONS - refused).max(1) as f64;
                    println!(
                        "| {:.0} % | {budget} | {judge} | {name} | {:.4} | {:.3} | {:.3} | {:.2} | {:.2} |",
                        alpha * 100.0,
                        sum / proved,
                        above as f64 / REPETITIONS as f64,
                        ideal / proved,
                        refused as f64 / REPETITIONS as f64,
                        spent as f64 / slots.max(1) as f64
                    );
                }
            }
        }
    }
}
