//! nDCG@10 and recall@100 of BM25 under different token options: `bm25_options BEIR_FOLDER [SPLIT]`.
//!
//! The figures behind the defaults of `TokenOptions` and `Bm25Options` (`docs/benchmarks/bm25.md`).

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use hardrock_engine::index::{Bm25, Bm25Options, Forward, TokenOptions, Tokenizer, Watch};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn lines(folder: &Path, name: &str) -> Outcome<Vec<String>> {
    let plain = folder.join(name);
    let reader: Box<dyn Read> = if plain.exists() {
        Box::new(File::open(plain)?)
    } else {
        Box::new(flate2::read::MultiGzDecoder::new(File::open(folder.join(format!("{name}.gz")))?))
    };
    Ok(BufReader::new(reader).lines().collect::<Result<_, _>>()?)
}

fn texts(folder: &Path, name: &str) -> Outcome<(Vec<String>, Vec<String>)> {
    let (mut ids, mut texts) = (Vec::new(), Vec::new());
    for line in lines(folder, name)? {
        let row: serde_json::Value = serde_json::from_str(&line)?;
        let field = |name: &str| row.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        ids.push(field("_id"));
        texts.push(format!("{} {}", field("title"), field("text")).trim().to_owned());
    }
    Ok((ids, texts))
}

#[allow(clippy::print_stdout)]
fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: bm25_options BEIR_FOLDER [SPLIT]")?;
    let folder = Path::new(&folder);
    let split = arguments.next().unwrap_or_else(|| "test".into());
    let (doc_ids, docs) = texts(folder, "corpus.jsonl")?;
    let (query_ids, query_texts) = texts(folder, "queries.jsonl")?;
    let doc_of: BTreeMap<&str, u32> = doc_ids.iter().zip(0..).map(|(id, n)| (id.as_str(), n)).collect();
    let query_of: BTreeMap<&str, usize> = query_ids.iter().zip(0..).map(|(id, n)| (id.as_str(), n)).collect();
    let mut judged: BTreeMap<usize, BTreeMap<u32, f64>> = BTreeMap::new();
    for line in lines(folder, &format!("qrels/{split}.tsv"))?.iter().skip(1) {
        let mut cells = line.split('\t');
        let (Some(query), Some(doc), Some(grade)) = (cells.next(), cells.next(), cells.next()) else {
            continue;
        };
        let (Some(&query), Some(&doc)) = (query_of.get(query), doc_of.get(doc)) else { continue };
        judged.entry(query).or_default().insert(doc, grade.parse()?);
    }
    let queries: Vec<&String> = judged.keys().map(|&q| &query_texts[q]).collect();

    println!("{} split {split}: {} documents, {} queries", folder.display(), docs.len(), queries.len());
    println!("| stop words | stem | k1 | b | nDCG@10 | recall@100 |\n|---|---|---|---|---|---|");
    for (stop_words, stem) in
        [("none", "none"), ("english", "none"), ("none", "english"), ("english", "english")]
    {
        let options =
            TokenOptions { stop_words: stop_words.into(), stem: stem.into(), ..TokenOptions::plain() };
        let forward = Arc::new(Forward::build(&docs, Tokenizer::new(options)?, &Watch::default())?);
        for (k1, b) in [(1.2, 0.75), (0.9, 0.4), (1.5, 0.75)] {
            let index = Bm25::build(forward.clone(), Bm25Options { k1, b }, u64::MAX)?;
            let found = index.search(&queries, 0..queries.len(), 100, &Watch::default())?;
            let (mut ndcg, mut recall) = (0.0, 0.0);
            for (row, grades) in judged.values().enumerate() {
                let items = found.row(row).0;
                let discount = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
                let grade = |item: &u32| grades.get(item).copied().unwrap_or(0.0);
                let gain: f64 = items.iter().take(10).enumerate().map(|(r, i)| grade(i) * discount(r)).sum();
                let mut ideal: Vec<f64> = grades.values().copied().collect();
                ideal.sort_by(|a, b| b.total_cmp(a));
                let ideal: f64 = ideal.iter().take(10).enumerate().map(|(r, g)| g * discount(r)).sum();
                ndcg += gain / ideal;
                let hits = items.iter().filter(|&i| grade(i) > 0.0).count() as f64;
                recall += hits / grades.values().filter(|g| **g > 0.0).count() as f64;
            }
            let n = queries.len() as f64;
            println!("| {stop_words} | {stem} | {k1} | {b} | {:.4} | {:.4} |", ndcg / n, recall / n);
        }
    }
    Ok(())
}
