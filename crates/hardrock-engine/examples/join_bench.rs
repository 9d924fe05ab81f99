//! One measured approximate self-join over a `.npy` file, for `benches/join.sh`, which runs the peers on the same file.
//!
//! `join_bench VECTORS.npy K TARGET ROWS EXACT.npy` prints one line of JSON. `EXACT.npy` holds the exact neighbours of a
//! sample of rows (`sample.npy` beside it their numbers); every program's recall is measured on it by `join_peers.py`, to
//! which the ids of those rows go through `ids.NAME.npy`.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Instant;

use hardrock_engine::index::clustered::{Clusters, Join};
use hardrock_engine::index::flat::Watch;
use hardrock_engine::index::rows::{Result, Rows};
use support::{Npy, usage, write_ids};

/// Rows searched for at once.
const PART: usize = 1 << 16;

/// The first rows of a file.
struct Head<'a>(&'a Npy, usize);

impl Rows for Head<'_> {
    fn len(&self) -> usize {
        self.1
    }

    fn dim(&self) -> usize {
        self.0.dim
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.0.read(start, out)
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, vectors, k, target, rows, ids] = &args[..] else {
        println!("usage: join_bench VECTORS.npy K TARGET ROWS IDS.npy");
        std::process::exit(2);
    };
    let file = Npy::open(vectors);
    let (k, target, n): (usize, f64, usize) =
        (k.parse().unwrap(), target.parse().unwrap(), rows.parse().unwrap());
    let vectors = Head(&file, n);
    let start = Instant::now();
    let clusters = Clusters::new(&vectors, 0, Watch::default()).expect("clusters");
    let clustered = start.elapsed().as_secs_f64();
    let join = Join::new(&clusters, usize::MAX / 2, Watch::default()).expect("vectors");
    let probes = join.probes(&vectors, 0..n.min(PART), k, target).expect("a sample");
    let prepared = start.elapsed().as_secs_f64();
    let (mut items, mut share) = (Vec::new(), 0.0);
    for first in (0..n).step_by(PART) {
        let part = first..n.min(first + PART);
        let (found, compared) = join.search(&vectors, part.clone(), k, probes).expect("the search runs");
        share += compared * part.len() as f64 / n as f64;
        items.extend(found.items);
    }
    let wall = start.elapsed().as_secs_f64();
    let (cpu, memory) = usage();
    println!(
        "{{\"name\":\"hardrock\",\"way\":\"{}\",\"rows\":{n},\"target\":{target},\"clusters\":{},\"probes\":{probes},\"share\":{share:.4},\
         \"cluster_s\":{clustered:.2},\"prepare_s\":{:.2},\"wall_s\":{wall:.2},\"cpu_s\":{cpu:.2},\"rss_mib\":{:.0}}}",
        join.way(),
        clusters.count(),
        prepared - clustered,
        memory as f64 / f64::from(1 << 20),
    );
    write_ids(ids, &items, k);
}
