//! Exact search and its parts on one thread, beside the ceiling of the processor.
//!
//! `cargo bench -p hardrock-engine --bench search`; the comparison with other programs is `benches/search.sh`.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use divan::Bencher;
use divan::counter::ItemsCount;
use hardrock_engine::index::flat::{Flat, Watch, score_pairs};
use hardrock_engine::index::rows::Matrix;
use hardrock_engine::kernel::{Isa, fma_rounds};

const DIM: usize = 384;
const DOCUMENTS: usize = 20_000;

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().unwrap();
    for isa in Isa::available() {
        let best = (0..50).map(|_| {
            let start = Instant::now();
            fma_rounds(isa, 100_000) / start.elapsed().as_secs_f64()
        });
        println!("{}: {:.1} GFLOP/s in registers", isa.name(), best.fold(0.0, f64::max) / 1e9);
    }
    println!("a search of 240 anchors is {:.2} GFLOP", 480.0 * (DOCUMENTS * DIM) as f64 / 1e9);
    divan::main();
}

/// Unit rows from a fixed seed.
fn matrix(rows: usize) -> Matrix {
    let mut state = rows as u64;
    let values = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    });
    Matrix::new(values.take(rows * DIM).collect(), DIM).unwrap().normalised()
}

/// What this machine has, without the portable fall-back, which takes minutes where FMA is no instruction.
fn fast() -> Vec<&'static str> {
    Isa::available().into_iter().map(Isa::name).filter(|&name| name != "plain").collect()
}

#[divan::bench(args = fast())]
fn search_240_anchors_top_100(bencher: Bencher<'_, '_>, isa: &str) {
    let isa = Isa::available().into_iter().find(|i| i.name() == isa).unwrap();
    let (anchors, documents) = (matrix(240), matrix(DOCUMENTS));
    let flat = Flat::with_isa(&documents, usize::MAX, Watch::default(), isa).unwrap().in_f32();
    let pairs = ItemsCount::new(240 * DOCUMENTS);
    bencher.counter(pairs).bench(|| flat.search(&anchors, 0..240, 100).unwrap());
}

#[divan::bench]
fn pack_documents(bencher: Bencher<'_, '_>) {
    let documents = matrix(DOCUMENTS);
    let rows = ItemsCount::new(DOCUMENTS);
    bencher.counter(rows).bench(|| {
        let flat = Flat::new(&documents, usize::MAX, Watch::default()).unwrap().in_f32();
        flat.prepare(&documents, 0..1, 100).unwrap();
        flat.len()
    });
}

#[divan::bench]
fn score_single_pairs(bencher: Bencher<'_, '_>) {
    let (anchors, documents) = (matrix(240), matrix(DOCUMENTS));
    let starts: Vec<usize> = (0..=240).map(|a| a * 100).collect();
    let items: Vec<u32> = (0..24_000).map(|i| i * 7919 % DOCUMENTS as u32).collect();
    let search = || score_pairs(&anchors, &documents, 0..240, &starts, &items, Watch::default()).unwrap();
    bencher.counter(ItemsCount::new(items.len())).bench(search);
}
