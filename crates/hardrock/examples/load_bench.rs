//! Time and peak memory of loading a corpus: `load_bench [DOCUMENTS] [BYTES] [FOLDER]`, 1,000,000 documents of 300 bytes by
//! default, written to and loaded in FOLDER (default: a temporary one). Linux only, since the peak comes from `/proc`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use hardrock::read::{DataSpec, Dataset, LoadOptions};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| -> Outcome<usize> {
        Ok(arguments.get(i).map(|a| a.replace(['_', ','], "").parse()).transpose()?.unwrap_or(default))
    };
    let (documents, bytes) = (number(0, 1_000_000)?, number(1, 300)?);
    let temporary = tempfile::tempdir()?;
    let folder = arguments.get(2).map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    write_data(&folder, documents, bytes)?;
    let before = peak()?;
    let work = folder.join("work");
    let start = Instant::now();
    let set = Dataset::load(&DataSpec::of_folder(&folder), &LoadOptions::new(&work))?;
    let loaded = start.elapsed().as_secs_f64();
    let peak = peak()?;
    let text = set.items.texts().bytes();
    let start = Instant::now();
    set.save(&work)?;
    let saved = start.elapsed().as_secs_f64();
    drop(set);
    let start = Instant::now();
    let set = Dataset::open(&work)?;
    let opened = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let mut seen = 0;
    set.items.for_each(0..set.items.len(), &mut |_, text| seen += text.len() as u64)?;
    let streamed = start.elapsed().as_secs_f64();
    assert_eq!(seen, text);
    let mib = |b: u64| b as f64 / f64::from(1 << 20);
    let mut out = std::io::stdout();
    writeln!(out, "documents    {documents}, {:.0} MiB of text", mib(text))?;
    writeln!(out, "load         {loaded:.2} s, {:.0} MiB/s", mib(text) / loaded)?;
    writeln!(out, "peak memory  {:.0} MiB ({:.0} MiB before the load)", mib(peak), mib(before))?;
    writeln!(out, "ratio        {:.2} x the text", peak as f64 / text as f64)?;
    writeln!(out, "save, open   {saved:.2} s, {opened:.2} s")?;
    writeln!(out, "read again   {streamed:.2} s, {:.0} MiB/s", mib(text) / streamed)?;
    Ok(())
}

/// A BEIR folder of made-up words; ids as long as those of MS MARCO.
fn write_data(folder: &Path, documents: usize, bytes: usize) -> Outcome<()> {
    std::fs::create_dir_all(folder.join("qrels"))?;
    let mut corpus = BufWriter::new(File::create(folder.join("corpus.jsonl"))?);
    let mut state = 1u64;
    let mut text = String::new();
    for i in 0..documents {
        text.clear();
        while text.len() < bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let word = (state >> 48) as u32;
            for k in 0..2 + word % 6 {
                text.push(char::from(b'a' + ((word >> k) % 26) as u8));
            }
            text.push(' ');
        }
        writeln!(
            corpus,
            "{{\"_id\":\"{i:07}\",\"title\":\"\",\"text\":\"{}\"}}",
            text.get(..bytes).unwrap_or(&text)
        )?;
    }
    corpus.flush()?;
    std::fs::write(folder.join("queries.jsonl"), "{\"_id\":\"q\",\"text\":\"a question\"}\n")?;
    std::fs::write(folder.join("qrels/train.tsv"), "query-id\tcorpus-id\tscore\nq\t0000000\t1\n")?;
    Ok(())
}

/// Peak resident memory of this process in bytes.
fn peak() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}
