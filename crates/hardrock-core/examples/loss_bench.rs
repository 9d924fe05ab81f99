//! Time per cell of the losses at 1,024 x 8,192, one thread: `cargo run --release -p hardrock-core --example loss_bench`.
//!
//! Prints nanoseconds per cell, the best of `ROUNDS` runs. `benches/losses.py` measures the same in PyTorch.

#![allow(clippy::print_stdout, reason = "prints its measurements")]

use std::time::Instant;

use hardrock_core::losses::{
    Cost, List, Loss, Omega, Pair, Phi, Point, Scores, Several, Soft, TverskyRow, Which,
};
use hardrock_core::{Mark, Result, Rng};

const ROWS: usize = 1024;
const COLUMNS: usize = 8192;
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let mut rng = Rng::at(1, 0, 0);
    let s: Vec<f32> = (0..ROWS * COLUMNS).map(|_| rng.unit() as f32 * 2.0 - 1.0).collect();
    let mut marks = vec![Mark::LIVE; s.len()];
    for r in 0..ROWS {
        marks[r * COLUMNS + r] = Mark::POSITIVE;
    }
    let targets: Vec<f32> = s.iter().map(|s| (s * 5.0).exp()).collect();
    let hard = Scores::new(COLUMNS, &s, &marks)?;
    let soft = hard.with_targets(&targets)?;
    let focal = Cost::Focal { positive: 2.0, negative: 2.0, clip: 0.0 };
    let hardest = Pair { phi: Phi::Softplus, which: Which::Hardest(8), ..Pair::default() };
    let cases: Vec<(&str, Box<dyn Loss>, &Scores<'_>)> = vec![
        ("list", Box::new(List::default()), &hard),
        ("list each", Box::new(List { several: Several::Each, ..List::default() }), &hard),
        ("list kl", Box::new(List::default()), &soft),
        ("list js", Box::new(List { soft: Soft::Js, ..List::default() }), &soft),
        ("pair softplus", Box::new(Pair { phi: Phi::Softplus, ..Pair::default() }), &hard),
        ("pair hardest 8", Box::new(hardest), &hard),
        ("pair ndcg", Box::new(Pair { phi: Phi::Softplus, omega: Omega::Ndcg, ..Pair::default() }), &hard),
        ("point logistic", Box::new(Point::default()), &hard),
        ("point focal", Box::new(Point { cost: focal, ..Point::default() }), &hard),
        ("tversky row", Box::new(TverskyRow::default()), &hard),
    ];
    let mut slope = vec![0.0; s.len()];
    for (name, loss, scores) in cases {
        let mut best = f64::INFINITY;
        let mut mean = 0.0;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            mean = loss.evaluate(scores, &mut slope)?.mean;
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{name:16} {:6.2} ns per cell   (loss {mean:.4})", best * 1e9 / s.len() as f64);
    }
    Ok(())
}
