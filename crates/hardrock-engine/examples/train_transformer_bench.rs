//! Steps of training a transformer of the shape of MiniLM-L6, on texts of given lengths.
//!
//! `cargo run --release -p hardrock-engine --example train_transformer_bench -- LENGTHS BATCH STEPS THREADS [MEMORY] [LORA]`:
//! LENGTHS is a number of tokens, or a file with one per line; MEMORY the MiB of activations to keep; LORA the rank of
//! adapters. `benches/train_transformer.py` is the same in PyTorch.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use hardrock_engine::encoders::transformer::training::{
    Architecture, HeadStep, Learner, Lora, Options, Target,
};
use hardrock_engine::encoders::transformer::{Pooling, bert};
use hardrock_engine::training::Trainable;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).map(|a| a.parse::<usize>().unwrap());
    let (batch, steps) = (number(1).unwrap(), number(2).unwrap());
    rayon::ThreadPoolBuilder::new().num_threads(number(3).unwrap()).build_global().unwrap();
    let lengths: Vec<usize> = match arguments[0].parse() {
        Ok(length) => vec![length],
        Err(_) => {
            let text = std::fs::read_to_string(&arguments[0]).unwrap();
            text.lines().map(|line| line.trim().parse().unwrap()).collect()
        }
    };
    let config: bert::Config = serde_json::from_value(serde_json::json!({
        "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536, "hidden_act": "gelu",
        "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2
    }))
    .unwrap();
    let mut options = Options { memory: number(4).unwrap_or(1024) << 20, ..Options::default() };
    options.lora = number(5).map(|rank| Lora { rank, alpha: 16.0, target: Target::Both });
    let architecture = Architecture::Bert(&config, bert::Places::FromZero);
    let mut model = Learner::random(architecture, Pooling::Mean, &[HeadStep::Normalize], options).unwrap();
    let mut state = 1u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut next = lengths.iter().cycle();
    let mut times = Vec::new();
    for step in 0..steps {
        let texts: Vec<Vec<u32>> =
            (0..batch).map(|_| (0..*next.next().unwrap()).map(|_| draw(30522) as u32).collect()).collect();
        let tokens: usize = texts.iter().map(Vec::len).sum();
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let mut out = vec![0.0; batch * 384];
        let start = Instant::now();
        model.forward(&texts, &mut out).unwrap();
        let there = start.elapsed();
        let slope: Vec<f32> = (0..out.len()).map(|i| (i as f32).cos() * 1e-2).collect();
        model.backward(&slope);
        let back = start.elapsed();
        model.step(1e-5);
        let all = start.elapsed();
        println!(
            "step {step}: {tokens} tokens, forward {:.3} s, backward {:.3} s, optimiser {:.3} s, all {:.3} s",
            there.as_secs_f64(),
            (back - there).as_secs_f64(),
            (all - back).as_secs_f64(),
            all.as_secs_f64()
        );
        times.push(all.as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    println!("median {:.3} s, {:.1} texts/s", times[steps / 2], batch as f64 / times[steps / 2]);
}
