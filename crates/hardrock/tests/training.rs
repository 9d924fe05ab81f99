//! Transformers from folders learn as PyTorch's do; `fixtures/models/make_slopes.py` wrote what PyTorch makes of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hardrock::models::learner::LearnerFolder;
use hardrock::models::{self, ModelOptions};
use hardrock_engine::encoders::transformer::training::{AdamW, Options, TableRows};
use hardrock_engine::training::Trainable;

const MODELS: [&str; 6] = ["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet"];

#[derive(serde::Deserialize)]
struct Texts {
    texts: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Golden {
    /// By part and name: length, product with a wave, first numbers.
    slopes: BTreeMap<String, Vec<f64>>,
    steps: usize,
    rate: f32,
    vectors: Vec<Vec<f32>>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| (0.7 * i as f64 + 0.2).cos() as f32).collect()
}

fn options() -> Options {
    let optimizer = AdamW { rows: TableRows::All, ..AdamW::default() };
    Options { dropout: 0.0, attention_dropout: 0.0, optimizer, ..Options::default() }
}

fn open(name: &str, options: Options) -> LearnerFolder {
    LearnerFolder::open(&folder(name), &ModelOptions::default(), options).unwrap()
}

/// One pass there and back.
fn pass(model: &mut LearnerFolder, tokens: &[Vec<u32>]) -> Vec<f32> {
    let tokens: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
    let learner: &mut dyn Trainable = &mut model.learner;
    let mut out = vec![f32::NAN; tokens.len() * learner.dim()];
    learner.forward(&tokens, &mut out).unwrap();
    learner.backward(&wave(out.len()));
    out
}

fn tokens(model: &LearnerFolder, name: &str) -> Vec<Vec<u32>> {
    let texts = read::<Texts>(&folder(name).join("golden.json")).texts;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    model.tokens(&texts).unwrap()
}

#[test]
fn every_slope_is_that_of_pytorch() {
    for name in MODELS {
        let golden: Golden = read(&folder(name).join("training.json"));
        let mut model = open(name, options());
        let tokens = tokens(&model, name);
        pass(&mut model, &tokens);
        let all = model.learner.slopes();
        let found: BTreeMap<String, Vec<f32>> =
            all.into_iter().map(|(part, name, slope)| (format!("{part}:{name}"), slope)).collect();
        let greatest = golden.slopes.values().map(|s| s[0]).fold(0.0, f64::max);
        assert!(golden.slopes.len() >= 36);
        for (tensor, want) in &golden.slopes {
            let slope = &found[tensor];
            let length = slope.iter().map(|&d| f64::from(d).powi(2)).sum::<f64>().sqrt();
            let along: f64 =
                slope.iter().zip(wave(slope.len())).map(|(&d, w)| f64::from(d) * f64::from(w)).sum();
            let got = [length, along].into_iter().chain(slope.iter().take(4).map(|&d| f64::from(d)));
            for (got, want_one) in got.zip(want) {
                // The slope of the keys' bias is nothing but rounding.
                let near = 1e-4 * want[0].max(1e-3 * greatest);
                assert!((got - want_one).abs() < near, "{name} {tensor}: {got} {want_one}, length {length}");
            }
        }
    }
}

#[test]
fn steps_are_those_of_pytorch_and_the_written_folder_gives_the_same_vectors() {
    for name in MODELS {
        let golden: Golden = read(&folder(name).join("training.json"));
        let mut model = open(name, options());
        let tokens = tokens(&model, name);
        let before = pass(&mut model, &tokens);
        model.learner.step(golden.rate);
        for _ in 1..golden.steps {
            pass(&mut model, &tokens);
            model.learner.step(golden.rate);
        }
        let work = tempfile::tempdir().unwrap();
        model.save(work.path()).unwrap();
        let trained = models::open(work.path().to_str().unwrap(), &ModelOptions::default()).unwrap();
        let texts = read::<Texts>(&folder(name).join("golden.json")).texts;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut got = vec![f32::NAN; texts.len() * trained.dim()];
        trained.encode(&texts, &mut got, &AtomicBool::new(false)).unwrap();
        let moved = before.iter().zip(&got).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(moved > 0.01, "{name}: {moved}");
        for (got, want) in got.iter().zip(golden.vectors.iter().flatten()) {
            assert!((got - want).abs() < 2e-3 * moved.max(1.0), "{name}: {got} {want}, moved {moved}");
        }
        let own = pass(&mut model, &tokens);
        assert!(own.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
        // What does not learn is there as it was.
        let old = std::fs::read(folder(name).join("model.safetensors")).unwrap();
        let new = std::fs::read(work.path().join("model.safetensors")).unwrap();
        let names = |bytes: &[u8]| {
            let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
            let mut names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(names(&old), names(&new), "{name}");
    }
}

#[test]
fn a_folder_that_cannot_be_trained_or_written_is_refused_with_what_would_work() {
    let refused = |name: &str, model: &ModelOptions| {
        let error = LearnerFolder::open(&folder(name), model, options()).err().unwrap();
        format!("{error} / {}", error.help().unwrap_or_default())
    };
    let modern = refused("modernbert", &ModelOptions::default());
    assert!(
        modern.contains("the kind modernbert, which cannot be trained") && modern.contains("mpnet"),
        "{modern}"
    );
    let cut = refused("bert", &ModelOptions { truncate_dim: Some(8), ..ModelOptions::default() });
    assert!(cut.contains("all of its columns"), "{cut}");
    let long = refused("bert", &ModelOptions { max_length: Some(49), ..ModelOptions::default() });
    assert!(long.contains("49 tokens"), "{long}");
    let error = open("bert", options()).save(&folder("bert")).unwrap_err();
    assert!(error.to_string().contains("the folder that the model came from"), "{error}");
}
