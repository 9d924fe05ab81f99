//! Time to find the near-duplicate families of one text per line: `families_bench DOCS [THRESHOLD]`.

use std::error::Error;
use std::time::Instant;

use hardrock_engine::index::{FamilyOptions, Shingler, TokenOptions, Tokenizer, Watch, families};

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let docs = std::fs::read_to_string(arguments.next().ok_or("usage: families_bench DOCS [THRESHOLD]")?)?;
    let docs: Vec<&str> = docs.lines().collect();
    let threshold: f64 = arguments.next().map_or(Ok(0.8), |t| t.parse())?;
    let shingler = Shingler::new(Tokenizer::new(TokenOptions::plain())?, 3);
    let options = FamilyOptions { threshold, ..Default::default() };

    let clock = Instant::now();
    let found = families(&docs, &shingler, &options, &Watch::default())?;
    let seconds = clock.elapsed().as_secs_f64();
    let mut size = vec![0u32; docs.len()];
    found.iter().for_each(|&family| size[family as usize] += 1);
    let several = size.iter().filter(|&&s| s > 1);
    println!(
        "{} texts at {threshold}: {seconds:.2} s, {} families of several, {} texts in them, largest {}",
        docs.len(),
        several.clone().count(),
        several.sum::<u32>(),
        size.iter().max().unwrap_or(&0),
    );
    Ok(())
}
