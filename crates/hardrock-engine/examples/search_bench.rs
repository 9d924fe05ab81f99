//! One measured search over `.npy` files, for `benches/search.sh`, which runs the peers on the same files.
//!
//! `search_bench ANCHORS.npy DOCUMENTS.npy K IDS.npy [ANCHOR_LIMIT]` prints one line of JSON and writes the ids
//! found; with `IN_F32` set, without the 8-bit pass. Documents are read straight into packed panels, so the peak memory printed is that of a real job.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use hardrock_engine::index::flat::{Flat, Watch};
use hardrock_engine::index::rows::{Result, Rows};
use hardrock_engine::kernel::{Isa, fma_rounds};

/// A `.npy` file of `<f4`, C order, version 1: what `benches/search_peers.py` writes.
struct Npy {
    file: File,
    offset: u64,
    rows: usize,
    dim: usize,
}

impl Npy {
    fn open(path: &str) -> Npy {
        let file = File::open(path).expect("the file opens");
        let mut head = [0u8; 128];
        file.read_exact_at(&mut head, 0).expect("a header of 128 bytes");
        let text = String::from_utf8_lossy(&head);
        let (_, shape) = text.split_once("'shape': (").expect("a shape");
        let (shape, _) = shape.split_once(')').expect("a shape");
        let (rows, dim) = shape.split_once(", ").expect("two axes");
        Npy { offset: 128, rows: rows.parse().unwrap(), dim: dim.parse().unwrap(), file }
    }
}

impl Rows for Npy {
    fn len(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let mut bytes = vec![0u8; out.len() * 4];
        self.file
            .read_exact_at(&mut bytes, self.offset + (start * self.dim * 4) as u64)
            .map_err(|e| hardrock_engine::index::rows::Error::Read(e.into()))?;
        for (x, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *x = f32::from_le_bytes(*b);
        }
        Ok(())
    }
}

/// Seconds that this process has been on a processor, and its peak memory in bytes.
fn usage() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("VmHWM");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    (ticks / 100.0, peak << 10)
}

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
    let mut out = std::io::BufWriter::new(File::create(ids).expect("the ids file"));
    let head =
        format!("{{'descr': '<u4', 'fortran_order': False, 'shape': ({n}, {}), }}", found.items.len() / n);
    out.write_all(b"\x93NUMPY\x01\x00\x76\x00").unwrap();
    out.write_all(format!("{head:<117}\n").as_bytes()).unwrap();
    for item in &found.items {
        out.write_all(&item.to_le_bytes()).unwrap();
    }
}
