//! Sparse encoders give the words and weights that sentence-transformers gives; `fixtures/models/make_models.py` made them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hardrock::mine::Silent;
use hardrock::models::{ModelOptions, SparseEmbedder, open_sparse};

/// A model of every architecture, and what its card says: vocabulary and length.
const MODELS: [(&str, usize, usize); 4] = [
    ("splade-bert", 220, 48),
    ("splade-roberta", 300, 46),
    ("splade-distilbert", 220, 40),
    ("splade-modernbert", 220, 64),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

fn open(path: &Path) -> hardrock::Result<Box<dyn SparseEmbedder>> {
    open_sparse(path.to_str().unwrap(), &ModelOptions::default(), &Silent, &AtomicBool::new(false))
}

#[derive(serde::Deserialize)]
struct Golden {
    texts: Vec<String>,
    documents: Vec<Vec<(u32, f32)>>,
    queries: Vec<Vec<(u32, f32)>>,
}

fn golden(name: &str) -> Golden {
    serde_json::from_slice(&std::fs::read(folder(name).join("golden.json")).unwrap()).unwrap()
}

fn encode(model: &dyn SparseEmbedder, prompt: &str, texts: &[String]) -> Vec<Vec<(u32, f32)>> {
    let texts: Vec<String> = texts.iter().map(|t| format!("{prompt}{t}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = model.encode(&texts, &AtomicBool::new(false)).unwrap();
    assert_eq!(vectors.len(), texts.len());
    let row = |i| {
        let (words, weights) = vectors.row(i);
        words.iter().copied().zip(weights.iter().copied()).collect()
    };
    (0..texts.len()).map(row).collect()
}

#[test]
fn every_architecture_gives_the_words_and_weights_of_the_reference() {
    for (name, vocabulary, length) in MODELS {
        let model = open(&folder(name)).unwrap();
        let card = model.card();
        assert_eq!(
            (card.dim, card.max_length, card.pooling.as_str()),
            (vocabulary, Some(length), "splade-max"),
            "{name}"
        );
        let golden = golden(name);
        let prompts = model.prompts();
        for (prompt, wanted) in [(&prompts.passage, &golden.documents), (&prompts.query, &golden.queries)] {
            for (got, want) in encode(&*model, prompt, &golden.texts).iter().zip(wanted) {
                let dense = |row: &[(u32, f32)]| {
                    let mut all = vec![0f32; vocabulary];
                    row.iter().for_each(|&(word, weight)| all[word as usize] = weight);
                    all
                };
                assert!(
                    got.windows(2).all(|pair| pair[0].0 < pair[1].0) && got.iter().all(|&(_, w)| w > 0.0)
                );
                for (word, (x, y)) in dense(got).iter().zip(dense(want)).enumerate() {
                    assert!((x - y).abs() < 1e-4, "{name}: word {word}: {x} for {y}");
                }
            }
        }
    }
}

#[test]
fn a_text_has_the_same_bits_alone_and_among_others_on_any_number_of_threads() {
    for (name, ..) in MODELS {
        let model = open(&folder(name)).unwrap();
        let texts = golden(name).texts;
        let many: Vec<String> = texts.iter().cycle().take(70).cloned().collect();
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let together = pool(3).install(|| encode(&*model, "", &many));
        assert_eq!(together, pool(1).install(|| encode(&*model, "", &many)), "{name}");
        for (text, row) in many.iter().zip(&together).take(texts.len()) {
            assert_eq!(&encode(&*model, "", std::slice::from_ref(text))[0], row, "{name}: {text:?}");
        }
    }
}

#[test]
fn what_is_no_sparse_encoder_says_what_it_is() {
    let said = |path: &Path| {
        let error = open(path).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        format!("{error} / {}", error.help().unwrap_or_default())
    };
    let dense = said(&folder("bert"));
    assert!(dense.contains("is no SPLADE model but one of Transformer, Pooling, Normalize"), "{dense}");
    assert!(dense.contains("--model"), "{dense}");
    let work = tempfile::tempdir().unwrap();
    let copy = |name: &str, from: &str, to: &str| {
        let folder = folder("splade-distilbert");
        for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(folder.join(file), work.path().join(file)).unwrap();
        }
        let text = std::fs::read_to_string(work.path().join(name)).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(work.path().join(name), text.replace(from, to)).unwrap();
        said(work.path())
    };
    let class = copy("config.json", "DistilBertForMaskedLM", "DistilBertModel");
    assert!(class.contains("has no masked language model"), "{class}");
    let kind = copy("config.json", "\"distilbert\"", "\"nomic_bert\"");
    assert!(kind.contains("not supported as a sparse encoder"), "{kind}");
}
