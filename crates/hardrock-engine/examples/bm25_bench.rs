//! Rates of the lexical index on one text per line: `bm25_bench DOCS QUERIES [K] [ROUNDS] [default]` prints one line a round.
//!
//! Texts are split at white space only, so that every engine in `benches/bm25.sh` gets the same tokens; with a fifth argument
//! `default` the default token options are taken instead.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use hardrock_engine::index::{Bm25, Bm25Options, Forward, TokenOptions, Tokenizer, Watch, Words};

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut file = || -> Result<String, Box<dyn Error>> {
        let path = arguments.next().ok_or("usage: bm25_bench DOCS QUERIES [K] [ROUNDS]")?;
        Ok(std::fs::read_to_string(path)?)
    };
    let (docs, queries) = (file()?, file()?);
    let docs: Vec<&str> = docs.lines().collect();
    let queries: Vec<&str> = queries.lines().collect();
    let k: usize = arguments.next().map_or(Ok(100), |k| k.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(1), |r| r.parse())?;

    let usual = arguments.next().is_some_and(|tokens| tokens == "default");

    for _ in 0..rounds {
        let options = if usual {
            TokenOptions::default()
        } else {
            TokenOptions { words: Words::Whitespace, lowercase: false, ..TokenOptions::plain() }
        };
        let clock = Instant::now();
        let forward = Arc::new(Forward::build(&docs, Tokenizer::new(options)?, &Watch::default())?);
        let read = clock.elapsed().as_secs_f64();
        let index = Bm25::build(forward.clone(), Bm25Options::default(), u64::MAX)?;
        let built = clock.elapsed().as_secs_f64();

        let clock = Instant::now();
        let found = index.search(&queries, 0..queries.len(), k, &Watch::default())?;
        let asked = clock.elapsed().as_secs_f64();
        let sum: f64 = found.scores.iter().map(|&s| f64::from(s)).sum();
        println!(
            "hardrock index {:.0} docs/s (forward {read:.3} s, impacts {:.3} s) search {:.0} queries/s checksum {sum:.1} \
             postings {} terms {}",
            docs.len() as f64 / built,
            built - read,
            queries.len() as f64 / asked,
            forward.postings(),
            forward.terms().len(),
        );
    }
    Ok(())
}
