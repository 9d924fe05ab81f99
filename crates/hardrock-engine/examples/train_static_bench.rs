//! Steps of a static encoder on made-up texts, for `benches/train_static.py`, which runs a PyTorch loop on the same.
//!
//! `train_static_bench STEPS THREADS` prints one line of JSON. 1,024 anchors of 12 tokens, as many positives and mined
//! negatives of 40; a table of 30,000 x 256; token ids skewed like words (a cube of a uniform number); InfoNCE over all 2,048
//! documents at temperature 0.05.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use std::time::Instant;

use hardrock_core::losses::{List, LossValue, RowLoss, Scores, Share};
use hardrock_core::{Mark, Rng};
use hardrock_engine::training::{Adam, StaticTable, Trainable, View, add_product};
use rayon::prelude::*;

const VOCABULARY: usize = 30_000;
const DIM: usize = 256;
const BATCH: usize = 1024;
const LENGTHS: [usize; 3] = [12, 40, 40];

fn main() {
    let args: Vec<usize> = std::env::args().skip(1).map(|a| a.parse().expect("a number")).collect();
    let [steps, threads] = args[..] else {
        println!("usage: train_static_bench STEPS THREADS");
        std::process::exit(2);
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let mut rng = Rng::at(1, 0, 0);
    let table: Vec<f32> = (0..VOCABULARY * DIM)
        .map(|_| ((0..4).map(|_| rng.unit()).sum::<f64>() - 2.0) as f32 * 0.17)
        .collect();
    let mut token = || ((VOCABULARY as f64 * rng.unit().powi(3)) as u32).min(VOCABULARY as u32 - 1);
    let batches: Vec<Vec<Vec<u32>>> = (0..4)
        .map(|_| {
            LENGTHS.iter().flat_map(|&n| vec![n; BATCH]).map(|n| (0..n).map(|_| token()).collect()).collect()
        })
        .collect();
    let mut model = StaticTable::new(table, DIM, Adam::default()).unwrap();
    let columns = 2 * BATCH;
    let mut marks = vec![Mark::LIVE; BATCH * columns];
    (0..BATCH).for_each(|row| marks[row * columns + row] = Mark::POSITIVE);
    let loss = List::new(0.05).unwrap();
    let mut vectors = vec![0.0; 3 * BATCH * DIM];
    let mut slopes = vec![0.0; vectors.len()];
    let (mut scores, mut cells) = (vec![0.0; BATCH * columns], vec![0.0; BATCH * columns]);
    let mut parts = [0.0f64; 5];
    let mut value = LossValue::default();
    let mut start = Instant::now();
    for step in 0..steps + 3 {
        if step == 3 {
            (start, parts) = (Instant::now(), [0.0; 5]);
        }
        let mut lap = Instant::now();
        let mut end = |part: usize| {
            parts[part] += lap.elapsed().as_secs_f64();
            lap = Instant::now();
        };
        let texts: Vec<&[u32]> = batches[step % 4].iter().map(Vec::as_slice).collect();
        model.forward(&texts, &mut vectors).unwrap();
        end(0);
        let (rows, documents) = vectors.split_at(BATCH * DIM);
        let (rows, documents) = (View::new(rows, BATCH, DIM), View::new(documents, columns, DIM));
        scores.fill(0.0);
        add_product(rows, documents.t(), &mut scores);
        end(1);
        let block = Scores::new(columns, &scores, &marks).unwrap();
        let share = Share::of(&loss, &block);
        let lines = cells.par_chunks_mut(columns).enumerate();
        let values: Vec<_> =
            lines.map(|(row, slope)| share.row(&loss as &dyn RowLoss, &block, row, slope)).collect();
        value = share.gather(&values);
        end(2);
        slopes.fill(0.0);
        let (row_slopes, document_slopes) = slopes.split_at_mut(BATCH * DIM);
        let cells = View::new(&cells, BATCH, columns);
        add_product(cells, documents, row_slopes);
        add_product(cells.t(), rows, document_slopes);
        end(3);
        model.backward(&slopes);
        model.step(0.01);
        end(4);
    }
    let rate = (BATCH * steps) as f64 / start.elapsed().as_secs_f64();
    let ms = parts.map(|s| (1e5 * s / steps as f64).round() / 100.0);
    println!(
        "{{\"rate\": {rate:.0}, \"loss\": {:.4}, \"ms\": {{\"forward\": {}, \"scores\": {}, \"loss\": {}, \"products back\": {}, \
         \"scatter and Adam\": {}}}}}",
        value.mean, ms[0], ms[1], ms[2], ms[3], ms[4]
    );
}
