//! Rate of a model on the texts of a file, one a line, as `benches/encode.py` reads it.
//!
//! usage: encode_bench MODEL TEXTS [ROUNDS] [f32|int8]

use std::io::BufRead;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use hardrock::models::{self, ModelOptions, Precision};
use hardrock_engine::kernel::{Isa, fma_rounds};

/// Processor time of this process so far, which other jobs on the machine take no part of; NaN where there is no `/proc`.
fn cpu_seconds() -> f64 {
    let ticks = |stat: String| -> Option<f64> {
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
    };
    std::fs::read_to_string("/proc/self/stat").ok().and_then(ticks).unwrap_or(f64::NAN)
}

#[expect(clippy::print_stdout, reason = "a measurement prints")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts, rest @ ..] = args.as_slice() else {
        return Err("usage: encode_bench MODEL TEXTS [ROUNDS] [f32|int8]".into());
    };
    let rounds: usize = rest.first().map_or(Ok(3), |r| r.parse())?;
    let precision = rest.get(1).map(|p| Precision::from_name(p).ok_or("f32 or int8")).transpose()?;
    let model = models::open(model, &ModelOptions { precision, ..ModelOptions::default() })?;
    let file = std::io::BufReader::new(std::fs::File::open(texts)?);
    let texts: Vec<String> = file.lines().collect::<Result<_, _>>()?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut out = vec![0.0; texts.len() * model.dim()];
    let cancel = AtomicBool::new(false);
    let threads: usize = std::env::var("RAYON_NUM_THREADS").map_or(Ok(1), |t| t.parse())?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let mut rates = Vec::new();
    let before = cpu_seconds();
    for _ in 0..rounds {
        let start = Instant::now();
        pool.install(|| model.encode(&texts, &mut out, &cancel))?;
        rates.push(texts.len() as f64 / start.elapsed().as_secs_f64());
    }
    let cpu = (cpu_seconds() - before) / (rounds * texts.len()) as f64;
    let start = Instant::now();
    pool.install(|| model.encode(&texts[..1], &mut out[..model.dim()], &cancel))?;
    let latency = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let before = cpu_seconds();
    let rounds = fma_rounds(Isa::best(), 20_000_000);
    let peak = rounds / start.elapsed().as_secs_f64();
    let peak_cpu = rounds / (cpu_seconds() - before);
    rates.sort_by(f64::total_cmp);
    println!(
        "{{\"rate\": {:.2}, \"best\": {:.2}, \"cpu_rate\": {:.2}, \"latency_ms\": {:.2}, \"peak_gflops\": {:.1}, \"cpu_gflops\": {:.1}, \"isa\": \"{}\"}}",
        rates[rates.len() / 2],
        rates[rates.len() - 1],
        1.0 / cpu,
        latency * 1e3,
        peak / 1e9,
        peak_cpu / 1e9,
        Isa::best().name(),
    );
    Ok(())
}
