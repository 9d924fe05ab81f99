//! tantivy on the texts of the BM25 benchmark: `bm25-peers DOCS QUERIES [K] [ROUNDS]`, one line a round.
//!
//! Index in memory, white-space tokens with frequencies, one writer thread; a query is the union of its distinct terms,
//! answered by the block-max WAND collector that tantivy picks by itself.

use std::time::Instant;

use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, Query, TermQuery};
use tantivy::schema::{FAST, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::WhitespaceTokenizer;
use tantivy::{Index, IndexWriter, TantivyDocument, Term};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let docs = std::fs::read_to_string(&arguments[0])?;
    let queries = std::fs::read_to_string(&arguments[1])?;
    let docs: Vec<&str> = docs.lines().collect();
    let queries: Vec<&str> = queries.lines().collect();
    let k: usize = arguments.get(2).map_or(Ok(100), |k| k.parse())?;
    let rounds: usize = arguments.get(3).map_or(Ok(1), |r| r.parse())?;

    for _ in 0..rounds {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("white-space")
            .set_index_option(IndexRecordOption::WithFreqs);
        let body = schema.add_text_field("body", TextOptions::default().set_indexing_options(indexing));
        let number = schema.add_u64_field("number", FAST);
        let index = Index::create_in_ram(schema.build());
        index.tokenizers().register("white-space", WhitespaceTokenizer::default());

        let clock = Instant::now();
        let mut writer: IndexWriter = index.writer_with_num_threads(1, 500_000_000)?;
        for (i, doc) in docs.iter().enumerate() {
            let mut row = TantivyDocument::new();
            row.add_text(body, doc);
            row.add_u64(number, i as u64);
            writer.add_document(row)?;
        }
        writer.commit()?;
        let built = clock.elapsed().as_secs_f64();

        let searcher = index.reader()?.searcher();
        let clock = Instant::now();
        let mut sum = 0f64;
        for query in &queries {
            let mut terms: Vec<&str> = query.split_whitespace().collect();
            terms.sort_unstable();
            terms.dedup();
            let terms = terms.into_iter().map(|term| {
                let term = Term::from_field_text(body, term);
                Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)) as Box<dyn Query>
            });
            let union = BooleanQuery::union(terms.collect());
            let found = searcher.search(&union, &TopDocs::with_limit(k).order_by_score())?;
            sum += found.iter().map(|(score, _)| f64::from(*score)).sum::<f64>();
        }
        let asked = clock.elapsed().as_secs_f64();
        println!(
            "tantivy index {:.0} docs/s search {:.0} queries/s checksum {sum:.1} segments {}",
            docs.len() as f64 / built,
            queries.len() as f64 / asked,
            searcher.segment_readers().len(),
        );
    }
    Ok(())
}
