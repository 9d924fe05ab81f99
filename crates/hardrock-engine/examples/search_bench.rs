//! One measured search over `.npy` files, for `benches/search.sh`, which runs the peers on the same files.
//!
//! `search_bench ANCHORS.npy DOCUMENTS.npy K IDS.npy [ANCHOR_LIMIT]` prints one line of JSON and writes the ids
//! found; with `IN_F32` set, without the 8-bit pass. Documents are read straight into packed panels, so the peak memory printed is that of a real job.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Instant;

use hardrock_engine::index::flat::{Flat, Watch};
use hardrock_engine::kernel::{Isa, fma_rounds};
use support::{Npy, usage, write_ids};

/// Floating point operations a second in registers: the best of many windows of a fifth of a millisecond, of
/// which some are undisturbed also on a busy machine.
fn peak(isa: Isa) -> f64 {
    let windows = (0..1500).map(|_| {
        let start = Instant::now();
        fma_rounds(isa, 100_000) / start.elapsed().as_secs_f64()
    });
    windows.fold(0.0, f64::max)
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, anchors, documents, k, ids, rest @ ..] = &args[..] else {
        println!("usage: search_bench ANCHORS.npy DOCUMENTS.npy K IDS.npy [ANCHOR_LIMIT]");
        std::process::exit(2);
    };
    let (anchors, documents) = (Npy::open(anchors), Npy::open(documents));
    let k: usize = k.parse().unwrap();
    let n = rest.first().map_or(anchors.rows, |n| n.parse().unwrap()).min(anchors.rows);
    let isa = Isa::best();

    let before = peak(isa);
    let start = Instant::now();
    let mut flat = Flat::new(&documents, usize::MAX, Watch::default()).expect("vectors");
    if std::env::var_os("IN_F32").is_some() {
        flat = flat.in_f32();
    }
    flat.prepare(&anchors, 0..n, k).expect("documents pack");
    let pack = start.elapsed().as_secs_f64();
    let (cpu, _) = usage();
    let start = Instant::now();
    let found = flat.search(&anchors, 0..n, k).expect("the search runs");
    let wall = start.elapsed().as_secs_f64();
    let (after, memory) = usage();
    let peak = before.max(peak(isa));

    let flops = 2.0 * n as f64 * documents.rows as f64 * documents.dim as f64;
    println!(
        "{{\"name\":\"{}\",\"way\":\"{}\",\"isa\":\"{}\",\"anchors\":{n},\"documents\":{},\"dim\":{},\"k\":{k},\"pack_s\":{pack:.3},\"wall_s\":{wall:.3},\"cpu_s\":{:.3},\
         \"gflops\":{:.1},\"peak_gflops\":{:.1},\"rss_mib\":{:.0},\"inputs_mib\":{:.0}}}",
        if flat.way().starts_with("8-bit") { "hardrock" } else { "hardrock-f32" },
        flat.way(),
        isa.name(),
        documents.rows,
        documents.dim,
        after - cpu,
        flops / wall / 1e9,
        peak / 1e9,
        memory as f64 / f64::from(1 << 20),
        ((n + documents.rows) * documents.dim * 4) as f64 / f64::from(1 << 20),
    );
    write_ids(ids, &found.items, found.items.len() / n);
}
