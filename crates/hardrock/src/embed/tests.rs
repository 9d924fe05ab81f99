use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hardrock_engine::index::rows::Rows;

use super::*;
use crate::mine::Silent;
use crate::models::{Card, Prompts};
use crate::read::vectors::VectorFile;

/// Encodes a text as its length and its first byte, notes what it was asked, and fails where it is told to.
struct Letters {
    card: Card,
    prompts: Prompts,
    asked: Mutex<Vec<String>>,
    fails_at: Option<&'static str>,
}

impl Default for Letters {
    fn default() -> Self {
        let card = Card { dim: 2, fingerprint: "letters".into(), ..Card::default() };
        Self { card, prompts: Prompts::default(), asked: Mutex::default(), fails_at: None }
    }
}

impl Embedder for Letters {
    fn card(&self) -> &Card {
        &self.card
    }

    fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    fn encode(&self, texts: &[&str], out: &mut [f32], _: &AtomicBool) -> Result<()> {
        for (text, out) in texts.iter().zip(out.chunks_mut(2)) {
            if self.fails_at == Some(text) {
                return Err(Error::usage("out of order", ""));
            }
            self.asked.lock().unwrap().push((*text).to_owned());
            let first = text.bytes().next().map_or(0.0, f32::from);
            let length = if text.contains("NaN") { f32::NAN } else { text.len() as f32 };
            out.copy_from_slice(&[length, first]);
        }
        Ok(())
    }
}

/// A folder with `texts.jsonl`.
fn folder(texts: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = texts
        .iter()
        .enumerate()
        .map(|(i, text)| format!("{{\"_id\": \"d{i}\", \"text\": \"{text}\"}}\n"))
        .collect();
    let path = folder.path().join("texts.jsonl");
    std::fs::write(&path, lines).unwrap();
    (folder, path)
}

fn embed(input: &Path, output: &Path, model: &Letters, options: &EmbedOptions) -> Result<Embedded> {
    embed_file(input, output, model, options, &Silent, &AtomicBool::new(false))
}

fn values(path: &Path) -> (Vec<f32>, Vec<String>) {
    let work = tempfile::tempdir().unwrap();
    let file = VectorFile::open(path, work.path()).unwrap();
    let mut values = vec![0.0; file.len() * file.dim()];
    file.read(0, &mut values).unwrap();
    (values, file.ids().unwrap().iter().map(str::to_owned).collect())
}

#[test]
fn every_format_holds_the_vectors_in_the_files_order_with_their_ids() -> Result<()> {
    let (folder, input) = folder(&["bbb", "a", "bbb", "cc"]);
    let model =
        Letters { prompts: Prompts { query: "q".into(), passage: String::new() }, ..Letters::default() };
    for name in ["v.npy", "w.safetensors", "x.parquet"] {
        let output = folder.path().join(name);
        let done = embed(&input, &output, &model, &EmbedOptions::default())?;
        assert_eq!((done.vectors, done.dim, done.zeros), (4, 2, 0));
        let (values, ids) = values(&output);
        assert_eq!(values, [3.0, 98.0, 1.0, 97.0, 3.0, 98.0, 2.0, 99.0], "{name}");
        assert_eq!(ids, ["d0", "d1", "d2", "d3"]);
    }
    assert_eq!(*model.asked.lock().unwrap(), ["bbb", "a", "cc"], "each text once over all runs");

    let half = EmbedOptions { element: Element::F16, side: Side::Query, ..EmbedOptions::default() };
    let output = folder.path().join("half.npy");
    let done = embed(&input, &output, &model, &half)?;
    assert_eq!((done.encoded, done.prompt.as_str()), (3, "q"), "another prompt is another text");
    assert_eq!(values(&output).0[..2], [4.0, 113.0]);
    assert!(embed(&input, &folder.path().join("y.parquet"), &model, &half).is_err());
    Ok(())
}

#[test]
fn shorter_numbers_come_back_to_their_precision_and_only_where_the_format_has_them() -> Result<()> {
    let (folder, input) = folder(&["bbb", "a", "zzzzzzzzzzzz"]);
    let model = Letters::default();
    let full = [3.0f32, 98.0, 1.0, 97.0, 12.0, 122.0];
    for (name, element, error) in [
        ("h.npy", Element::F16, 0.0),
        ("b.safetensors", Element::Bf16, 0.0),
        ("i.npy", Element::Int8, 0.5 / 127.0),
        ("j.safetensors", Element::Int8, 0.5 / 127.0),
    ] {
        let output = folder.path().join(name);
        let options = EmbedOptions { element, ..EmbedOptions::default() };
        let done = embed(&input, &output, &model, &options)?;
        let (values, ids) = values(&output);
        assert_eq!(ids, ["d0", "d1", "d2"]);
        for (got, want) in values.chunks(2).zip(full.chunks(2)) {
            // Of the row's largest number, which itself comes back.
            assert!((got[0] - want[0]).abs() <= want[1] * error * 1.001, "{name}: {got:?} {want:?}");
            assert!((got[1] - want[1]).abs() <= want[1] * 1e-6, "{name}: {got:?} {want:?}");
        }
        let bytes = std::fs::metadata(&output).unwrap().len();
        let (size, beside) = match element {
            Element::Int8 => (1, if name.ends_with("npy") { 3 } else { 2 }),
            _ => (2, 2),
        };
        assert!(bytes <= 256 + 6 * size, "{name}: {bytes}");
        assert_eq!(done.files.len(), beside, "{:?}", done.files);
        assert!(done.files.iter().all(|f| f.exists()));
        let again = embed(&input, &output, &model, &options).unwrap_err();
        assert!(matches!(again, Error::Exists { .. }));
    }
    for (name, element) in
        [("n.npy", Element::Bf16), ("p.parquet", Element::Bf16), ("p.parquet", Element::Int8)]
    {
        let options = EmbedOptions { element, ..EmbedOptions::default() };
        let error = embed(&input, &folder.path().join(name), &model, &options).unwrap_err();
        assert!(error.to_string().contains("--dtype") && error.help().is_some(), "{error}");
    }
    Ok(())
}

#[test]
fn a_stopped_run_goes_on_where_it_was_and_gives_the_same_bytes() -> Result<()> {
    let texts: Vec<String> = (0..3 * FIRST).map(|i| format!("text {i}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (folder, input) = folder(&texts);
    let output = folder.path().join("v.npy");
    let stopped = Letters { fails_at: Some("text 600"), ..Letters::default() };
    assert!(embed(&input, &output, &stopped, &EmbedOptions::default()).is_err());
    assert!(!output.exists());
    let model = Letters::default();
    let done = embed(&input, &output, &model, &EmbedOptions::default())?;
    assert_eq!(done.encoded as usize, 3 * FIRST - FIRST, "the first piece was kept");
    let first: BTreeSet<&str> = texts[..FIRST].iter().copied().collect();
    assert!(model.asked.lock().unwrap().iter().all(|t| !first.contains(t.as_str())));

    let whole = tempfile::tempdir().unwrap();
    let other = whole.path().join("v.npy");
    embed(&input, &other, &Letters::default(), &EmbedOptions::default())?;
    assert_eq!(std::fs::read(&output).unwrap(), std::fs::read(&other).unwrap());
    Ok(())
}

#[test]
fn bad_vectors_bad_names_and_existing_files_are_refused_before_anything_is_written() {
    let (folder, input) = folder(&["a", "NaN"]);
    let (model, options) = (Letters::default(), EmbedOptions::default());
    let error = embed(&input, &folder.path().join("v.npy"), &model, &options).unwrap_err();
    assert!(error.to_string().contains("the model's vector of `d1` holds NaN"), "{error}");
    assert!(!folder.path().join("v.npy").exists() && !folder.path().join("v.ids.txt").exists());
    let error = embed(&input, &folder.path().join("v.bin"), &model, &options).unwrap_err();
    assert!(error.help().unwrap().contains(".npy"), "{error}");
    std::fs::write(folder.path().join("w.npy"), b"mine").unwrap();
    let error = embed(&input, &folder.path().join("w.npy"), &model, &options).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }));
    assert_eq!(std::fs::read(folder.path().join("w.npy")).unwrap(), b"mine");
}
