//! Models read from folders give the vectors that sentence-transformers gives; `fixtures/models/make_models.py` made them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hardrock::models::{self, Embedder, ModelOptions, Precision, Roles};

/// A model of every architecture, and what its card says: dimension, length, pooling, unit length.
const MODELS: [(&str, usize, usize, &str, bool); 10] = [
    ("bert", 40, 48, "mean", true),
    ("roberta", 22, 46, "cls", true),
    ("xlm-roberta", 40, 48, "max", false),
    ("camembert", 40, 40, "mean_sqrt_len_tokens", false),
    ("distilbert", 36, 32, "weightedmean", false),
    ("mpnet", 40, 190, "mean", true),
    ("modernbert", 32, 64, "mean", true),
    ("modernbert-last", 32, 64, "lasttoken", false),
    ("trained-static", 12, 24, "mean", true),
    ("nomic_bert", 24, 64, "mean", true),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

fn open(name: &str, options: &ModelOptions) -> hardrock::Result<Box<dyn Embedder>> {
    models::open(folder(name).to_str().unwrap(), options)
}

#[derive(serde::Deserialize)]
struct Golden {
    texts: Vec<String>,
    documents: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
}

fn golden(name: &str) -> Golden {
    serde_json::from_slice(&std::fs::read(folder(name).join("golden.json")).unwrap()).unwrap()
}

fn encode(model: &dyn Embedder, prompt: &str, texts: &[String]) -> Vec<f32> {
    let texts: Vec<String> = texts.iter().map(|t| format!("{prompt}{t}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut out = vec![f32::NAN; texts.len() * model.dim()];
    model.encode(&texts, &mut out, &AtomicBool::new(false)).unwrap();
    out
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn every_architecture_gives_the_vectors_of_the_reference() {
    for (name, dim, length, pooling, unit) in MODELS {
        let model = open(name, &ModelOptions::default()).unwrap();
        let card = model.card();
        let said = (card.dim, card.max_length, card.pooling.as_str(), card.normalised);
        assert_eq!(said, (dim, Some(length), pooling, unit), "{name}");
        let golden = golden(name);
        let prompts = model.prompts();
        for (prompt, wanted) in [(&prompts.passage, &golden.documents), (&prompts.query, &golden.queries)] {
            let got = encode(&*model, prompt, &golden.texts);
            for ((got, want), text) in got.chunks(dim).zip(wanted).zip(&golden.texts) {
                let cosine = cosine(got, want);
                assert!(cosine > 0.99999, "{name}: cosine {cosine} for {text:?}");
                let most = want.iter().fold(1.0f32, |most, x| most.max(x.abs()));
                for (x, y) in got.iter().zip(want) {
                    assert!((x - y).abs() < 1e-4 * most, "{name}: {x} {y} for {text:?}");
                }
            }
        }
    }
}

/// In 8 bits the least cosine to the reference; tiny random models are the worst case, with few columns to even errors out.
const INT8: f64 = 0.995;

/// Has no products to compute in 8 bits.
const STATIC: &str = "trained-static";

fn in_int8() -> ModelOptions {
    ModelOptions { precision: Some(Precision::Int8), ..ModelOptions::default() }
}

#[test]
fn every_architecture_in_8_bits_is_near_the_reference_and_not_the_same() {
    for (name, dim, ..) in MODELS.into_iter().filter(|m| m.0 != STATIC) {
        let (model, whole) = (open(name, &in_int8()).unwrap(), open(name, &ModelOptions::default()).unwrap());
        assert_eq!((model.card().precision, whole.card().precision), ("int8", "f32"));
        assert_ne!(model.fingerprint(), whole.fingerprint(), "{name}");
        let golden = golden(name);
        let got = encode(&*model, &model.prompts().passage, &golden.texts);
        assert_ne!(got, encode(&*whole, &whole.prompts().passage, &golden.texts), "{name}");
        for ((got, want), text) in got.chunks(dim).zip(&golden.documents).zip(&golden.texts) {
            let cosine = cosine(got, want);
            assert!(cosine > INT8, "{name}: cosine {cosine} for {text:?}");
        }
    }
}

#[test]
fn a_text_has_the_same_bits_alone_and_among_others_on_any_number_of_threads() {
    let precisions = [ModelOptions::default(), in_int8()];
    for ((name, dim, ..), options) in MODELS.iter().flat_map(|&m| precisions.iter().map(move |o| (m, o))) {
        if name == STATIC && options.precision == Some(Precision::Int8) {
            continue;
        }
        let model = open(name, options).unwrap();
        let texts = golden(name).texts;
        let many: Vec<String> = texts.iter().cycle().take(90).cloned().collect();
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let together = pool(3).install(|| encode(&*model, "", &many));
        assert_eq!(together, pool(1).install(|| encode(&*model, "", &many)), "{name}");
        for (text, row) in many.iter().zip(together.chunks(dim)).take(texts.len()) {
            let alone = encode(&*model, "", std::slice::from_ref(text));
            assert_eq!(alone, row, "{name}: {text:?}");
        }
    }
}

#[test]
fn options_stand_over_what_the_folder_says() {
    let texts = golden("bert").texts;
    let whole = open("bert", &ModelOptions::default()).unwrap();
    let prompts = Roles { query: Some(String::new()), passage: None };
    let options =
        ModelOptions { prompts, max_length: Some(5), truncate_dim: Some(7), ..ModelOptions::default() };
    let cut = open("bert", &options).unwrap();
    assert_eq!((cut.dim(), cut.card().max_length), (7, Some(5)));
    assert_eq!((cut.prompts().query.as_str(), cut.prompts().passage.as_str()), ("", "text: "));
    assert_ne!(cut.fingerprint(), whole.fingerprint());
    let (long, short) = (encode(&*whole, "", &texts), encode(&*cut, "", &texts));
    // Short texts fit; their first columns are the same but for the length of the vector.
    assert!(cosine(&long[..7], &short[..7]) > 0.999_999);
    let unit: f32 = short[..7].iter().map(|x| x * x).sum();
    assert!((unit - 1.0).abs() < 1e-5);

    let length = ModelOptions { max_length: Some(49), ..ModelOptions::default() };
    let error = open("bert", &length).err().unwrap();
    assert!(error.to_string().contains("49 tokens"), "{error}");
    assert_eq!(error.help().as_deref(), Some("give at most 48"));
}

#[test]
fn a_folder_that_cannot_be_read_says_what_it_is_and_what_would_work() {
    let work = tempfile::tempdir().unwrap();
    let copy = |name: &str, change: &dyn Fn(&Path)| {
        let to = work.path().join(name);
        for part in ["", "1_Pooling", "2_Normalize"] {
            std::fs::create_dir_all(to.join(part)).unwrap();
            for entry in std::fs::read_dir(folder("bert").join(part)).unwrap() {
                let entry = entry.unwrap();
                if entry.path().is_file() {
                    std::fs::copy(entry.path(), to.join(part).join(entry.file_name())).unwrap();
                }
            }
        }
        change(&to);
        let error = models::open(to.to_str().unwrap(), &ModelOptions::default()).err().unwrap();
        format!("{error} / {}", error.help().unwrap_or_default())
    };
    let edit = |path: PathBuf, from: &str, to: &str| {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    let kind = copy("kind", &|to| edit(to.join("config.json"), "\"bert\"", "\"qwen3\""));
    assert!(kind.contains("a transformers model of the kind qwen3") && kind.contains("modernbert"), "{kind}");
    let module = copy("module", &|to| edit(to.join("modules.json"), "normalize.Normalize", "lstm.LSTM"));
    assert!(module.contains("the module `LSTM` is not supported"), "{module}");
    let shape = copy("shape", &|to| {
        edit(to.join("config.json"), "\"intermediate_size\": 50", "\"intermediate_size\": 52");
    });
    assert!(shape.contains("intermediate.dense.weight") && shape.contains("[52, 40]"), "{shape}");
    let heads = copy("heads", &|to| {
        edit(to.join("config.json"), "\"num_attention_heads\": 4", "\"num_attention_heads\": 3");
    });
    assert!(heads.contains("3 for 40 columns"), "{heads}");
    let act = copy("act", &|to| edit(to.join("config.json"), "\"gelu\"", "\"mish\""));
    assert!(act.contains("the activation `mish` is not supported; known are gelu"), "{act}");
    let weights = copy("weights", &|to| {
        std::fs::rename(to.join("model.safetensors"), to.join("pytorch_model.bin")).unwrap();
    });
    assert!(weights.contains("pickle") && weights.contains("safe_serialization"), "{weights}");
    let cross = copy("cross", &|to| {
        std::fs::remove_file(to.join("modules.json")).unwrap();
        edit(to.join("config.json"), "BertModel", "BertForSequenceClassification");
    });
    assert!(cross.contains("is a cross-encoder"), "{cross}");
}

#[test]
fn a_folder_without_modules_takes_the_mean_and_says_so() {
    let work = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(folder("xlm-roberta").join(name), work.path().join(name)).unwrap();
    }
    let model = models::open(work.path().to_str().unwrap(), &ModelOptions::default()).unwrap();
    assert_eq!((model.card().pooling.as_str(), model.card().max_length), ("mean", Some(48)));
    assert!(model.card().notes[0].contains("the mean is taken"));
}
