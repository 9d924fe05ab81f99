//! Cross-encoders read from folders give the scores of sentence-transformers; `fixtures/models/make_models.py` made them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hardrock::mine::Silent;
use hardrock::models::{self, ModelOptions, Reranker};

/// Every architecture with the longest pair in tokens.
const MODELS: [(&str, usize); 7] = [
    ("bert", 48),
    ("roberta", 60),
    ("xlm-roberta", 48),
    ("distilbert", 40),
    ("mpnet", 70),
    ("modernbert-cls", 64),
    ("modernbert-mean", 64),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

fn open(name: &str, options: &ModelOptions) -> hardrock::Result<Box<dyn Reranker>> {
    open_at(&folder(name), options)
}

fn open_at(folder: &Path, options: &ModelOptions) -> hardrock::Result<Box<dyn Reranker>> {
    models::open_reranker(folder.to_str().unwrap(), options, &Silent, &AtomicBool::new(false))
}

#[derive(serde::Deserialize)]
struct Golden {
    pairs: Vec<(String, String)>,
    scores: Vec<f32>,
}

fn golden(name: &str) -> Golden {
    serde_json::from_slice(&std::fs::read(folder(name).join("golden.json")).unwrap()).unwrap()
}

fn score(model: &dyn Reranker, pairs: &[(String, String)]) -> Vec<f32> {
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let mut out = vec![f32::NAN; pairs.len()];
    model.score(&pairs, &mut out, &AtomicBool::new(false)).unwrap();
    out
}

#[test]
fn every_architecture_gives_the_scores_of_the_reference() {
    for (name, length) in MODELS {
        let model = open(&format!("cross-{name}"), &ModelOptions::default()).unwrap();
        assert_eq!(model.card().max_length, Some(length), "{name}");
        let golden = golden(&format!("cross-{name}"));
        let got = score(&*model, &golden.pairs);
        for ((got, want), pair) in got.iter().zip(&golden.scores).zip(&golden.pairs) {
            assert!((got - want).abs() < 1e-4, "{name}: {got} instead of {want} for {pair:?}");
        }
    }
}

#[test]
fn a_pair_has_the_same_bits_alone_and_among_others_on_any_number_of_threads() {
    for (name, _) in MODELS {
        let model = open(&format!("cross-{name}"), &ModelOptions::default()).unwrap();
        let pairs = golden(&format!("cross-{name}")).pairs;
        let many: Vec<_> = pairs.iter().cycle().take(60).cloned().collect();
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let together = pool(3).install(|| score(&*model, &many));
        assert_eq!(together, pool(1).install(|| score(&*model, &many)), "{name}");
        for (pair, together) in many.iter().zip(&together).take(pairs.len()) {
            assert_eq!(score(&*model, std::slice::from_ref(pair)), [*together], "{name}: {pair:?}");
        }
    }
}

/// The folder `cross-bert` with one change.
fn changed(file: &str, from: &str, to: &str) -> (tempfile::TempDir, hardrock::Result<Box<dyn Reranker>>) {
    let work = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder("cross-bert")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, work.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = work.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
    let model = open_at(work.path(), &ModelOptions::default());
    (work, model)
}

#[test]
fn the_function_after_the_logit_is_the_one_that_the_folder_names() {
    let golden = golden("cross-bert");
    let own = open("cross-bert", &ModelOptions::default()).unwrap();
    let (_work, sigmoid) = changed(
        "config_sentence_transformers.json",
        "torch.nn.modules.linear.Identity",
        "torch.nn.modules.activation.Sigmoid",
    );
    let sigmoid = sigmoid.unwrap();
    assert_ne!(sigmoid.fingerprint(), own.fingerprint());
    for (got, logit) in score(&*sigmoid, &golden.pairs).iter().zip(&golden.scores) {
        assert!((got - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-4);
    }
    let (_work, unknown) = changed("config_sentence_transformers.json", "linear.Identity", "activation.Mish");
    let error = unknown.err().unwrap();
    assert!(error.to_string().contains("Mish"), "{error}");
}

#[test]
fn a_model_is_told_the_parts_of_a_pair_where_its_tokenizer_does() {
    let pairs = golden("cross-bert").pairs;
    let own = score(&*open("cross-bert", &ModelOptions::default()).unwrap(), &pairs);
    let with = |from: &str, to: &str| score(&*changed("tokenizer_config.json", from, to).1.unwrap(), &pairs);
    let untold = with("\"token_type_ids\",", "");
    assert!(own.iter().zip(&untold).all(|(a, b)| (a - b).abs() > 1e-3), "{own:?} {untold:?}");
    assert_eq!(with("\"model_input_names\"", "\"other\""), untold, "a class that gives no types");
    let bert = [("\"model_input_names\"", "\"other\""), ("\"TokenizersBackend\"", "\"BertTokenizer\"")];
    let (work, _) = changed("tokenizer_config.json", bert[0].0, bert[0].1);
    let path = work.path().join("tokenizer_config.json");
    let text = std::fs::read_to_string(&path).unwrap().replace(bert[1].0, bert[1].1);
    std::fs::write(&path, text).unwrap();
    let model = open_at(work.path(), &ModelOptions::default()).unwrap();
    assert_eq!(score(&*model, &pairs), own, "BERT's class does");
}

#[test]
fn a_shorter_length_cuts_the_longer_text_first() {
    let own = open("cross-bert", &ModelOptions::default()).unwrap();
    let cut = open("cross-bert", &ModelOptions { max_length: Some(16), ..ModelOptions::default() }).unwrap();
    assert_ne!(cut.fingerprint(), own.fingerprint());
    let pair = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
    let long = "the cat sat on the mat ".repeat(3);
    assert_eq!(score(&*own, &pair("the cat", "the mat")), score(&*cut, &pair("the cat", "the mat")));
    // Three special tokens and the anchor's two leave eleven.
    let shortened = "the cat sat on the mat the cat sat on the";
    assert_eq!(score(&*cut, &pair("the cat", &long)), score(&*own, &pair("the cat", shortened)));
    let error =
        open("cross-bert", &ModelOptions { max_length: Some(3), ..ModelOptions::default() }).err().unwrap();
    assert!(error.help().unwrap().contains("give at least 4"), "{error}");
}

#[test]
fn a_model_that_does_not_score_pairs_says_what_it_is() {
    let says = |model: hardrock::Result<Box<dyn Reranker>>| {
        let error = model.err().unwrap();
        assert_eq!(error.exit_code(), 2);
        format!("{error} / {}", error.help().unwrap_or_default())
    };
    let encoder = says(open("bert", &ModelOptions::default()));
    assert!(
        encoder.contains("of Transformer, Pooling, Normalize") && encoder.contains("guide:FOLDER"),
        "{encoder}"
    );
    let plain = says(changed("config.json", "BertForSequenceClassification", "BertModel").1);
    assert!(plain.contains("no cross-encoder: its class is `BertModel`"), "{plain}");
    let kind = says(changed("config.json", "\"model_type\": \"bert\"", "\"model_type\": \"deberta-v2\"").1);
    assert!(kind.contains("of the kind deberta-v2") && kind.contains("modernbert"), "{kind}");
    let nothing = says(open("nothing", &ModelOptions::default()));
    assert!(nothing.contains("there is no model") && nothing.contains("cross-encoder"), "{nothing}");
    let error = models::open(folder("cross-bert").to_str().unwrap(), &ModelOptions::default()).err().unwrap();
    assert!(error.to_string().contains("is a cross-encoder (BertForSequenceClassification)"), "{error}");
}
