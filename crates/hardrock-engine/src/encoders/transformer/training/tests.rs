//! The two passes against differences, against encoding, and against themselves on other threads and with less memory.

use super::*;
use crate::encoders::transformer::Transformer;
use crate::encoders::{Encoder, Tensor};
use crate::training::Trainable;

/// Random tensors that no term survives without being noticed.
struct Shaken(plan::Drawn);

impl Tensors for Shaken {
    fn has(&self, name: &str) -> bool {
        self.0.has(name)
    }

    fn get(&self, name: &str) -> Result<Option<Tensor>> {
        let tensor = self.0.get(name)?;
        Ok(tensor.map(|mut tensor| {
            let columns = tensor.shape.last().copied().unwrap_or(1) as f32;
            for (i, x) in tensor.values.iter_mut().enumerate() {
                let wave = (i as f32 * 1.7 + name.len() as f32).sin();
                *x = match tensor.shape.len() {
                    1 => *x + 0.3 * wave,
                    _ if name.contains("embeddings") || name.contains("bias") => *x * 50.0,
                    _ => *x * 75.0 / columns.sqrt(),
                };
            }
            tensor
        }))
    }
}

/// The layer of a head from 24 to 7 columns.
struct Small;

impl Tensors for Small {
    fn has(&self, name: &str) -> bool {
        name.starts_with("linear")
    }

    fn get(&self, name: &str) -> Result<Option<Tensor>> {
        let shape = if name.ends_with("bias") { vec![7] } else { vec![7, 24] };
        let count: usize = shape.iter().product();
        Ok(Some(Tensor { shape, values: (0..count).map(|i| (i as f32 * 2.3).cos() * 0.3).collect() }))
    }
}

enum Config {
    Bert(bert::Config, bert::Places),
    MpNet(mpnet::Config),
    DistilBert(distilbert::Config),
}

impl Config {
    fn architecture(&self) -> Architecture<'_> {
        match self {
            Self::Bert(config, places) => Architecture::Bert(config, *places),
            Self::MpNet(config) => Architecture::MpNet(config),
            Self::DistilBert(config) => Architecture::DistilBert(config),
        }
    }
}

fn bertish(activation: &str) -> serde_json::Value {
    serde_json::json!({
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 50, "hidden_act": activation,
        "vocab_size": 60, "max_position_embeddings": 90, "type_vocab_size": 2
    })
}

fn bert() -> Config {
    Config::Bert(serde_json::from_value(bertish("gelu")).unwrap(), bert::Places::FromZero)
}

fn no_dropout() -> Options {
    Options { dropout: 0.0, attention_dropout: 0.0, seed: 5, ..Options::default() }
}

fn dense() -> [HeadStep<'static>; 2] {
    let activation = crate::encoders::head::Activation::Tanh;
    [HeadStep::Dense { tensors: &Small, from: 24, to: 7, bias: true, activation }, HeadStep::Normalize]
}

fn learner(config: &Config, pooling: Pooling, head: &[HeadStep<'_>], options: Options) -> Learner {
    let architecture = config.architecture();
    let drawn = architecture.plan().unwrap().drawn(3).unwrap();
    Learner::load(architecture, &Shaken(drawn), pooling, head, options).unwrap()
}

/// Texts of uneven lengths; the fourth fills more than a panel.
fn texts() -> Vec<Vec<u32>> {
    let text = |text: usize, length: usize| (0..length).map(|i| ((i * 7 + text * 13) % 60) as u32).collect();
    [5, 1, 17, 40, 9, 33, 2, 60, 80, 75, 12].iter().enumerate().map(|(t, &length)| text(t, length)).collect()
}

fn slices(texts: &[Vec<u32>]) -> Vec<&[u32]> {
    texts.iter().map(Vec::as_slice).collect()
}

/// Slopes that the tests give to vectors.
fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.7 + 0.2).cos()).collect()
}

fn forward(model: &mut Learner, texts: &[Vec<u32>]) -> Vec<f32> {
    let mut out = vec![f32::NAN; texts.len() * model.head.dim];
    model.forward(&slices(texts), &mut out).unwrap();
    out
}

fn encode(model: &Learner, texts: &[Vec<u32>]) -> Vec<f32> {
    let mut out = vec![f32::NAN; texts.len() * model.head.dim];
    model.encode(&slices(texts), &mut out).unwrap();
    out
}

/// Slopes of all parameters after one pass there and back.
fn slopes(model: &mut Learner, texts: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let out = forward(model, texts);
    model.backward(&wave(out.len()));
    model.slopes().into_iter().map(|(_, _, slope)| slope).collect()
}

/// Slopes against central differences along a direction of each parameter, with whatever is dropped out.
fn check(mut model: Learner) {
    let texts = texts();
    let found = slopes(&mut model, &texts);
    let weights = wave(texts.len() * model.head.dim);
    for (index, found) in found.iter().enumerate() {
        let values = model.parameters.all[index].values.clone();
        let name = model.parameters.all[index].name.clone();
        let length = found.iter().map(|&d| f64::from(d).powi(2)).sum::<f64>().sqrt();
        // Along the slope itself, where a difference shows best, bent so that errors of single numbers show.
        let way: Vec<f64> = found
            .iter()
            .enumerate()
            .map(|(i, &d)| {
                f64::from(d) / length.max(1e-9) + 0.3 * (i as f64).sin() / (found.len() as f64).sqrt()
            })
            .collect();
        let mut at = |off: f64| {
            let moved = values.iter().zip(&way).map(|(&x, way)| (f64::from(x) + off * way) as f32);
            model.parameters.all[index].values = moved.collect();
            model.refresh();
            // The same pass again drops the same numbers out.
            model.passes = 0;
            let out = forward(&mut model, &texts);
            out.iter().zip(&weights).map(|(&x, &c)| f64::from(x) * f64::from(c)).sum::<f64>()
        };
        let off = 4e-3;
        let want = (8.0 * (at(off) - at(-off)) - (at(2.0 * off) - at(-2.0 * off))) / (12.0 * off);
        model.parameters.all[index].values.clone_from(&values);
        model.refresh();
        let got: f64 = found.iter().zip(&way).map(|(&d, way)| f64::from(d) * way).sum();
        assert!((got - want).abs() < 3e-3 * length.max(0.3), "{name}: {got} {want}, length {length}");
    }
}

#[test]
fn bert_has_the_slopes_of_its_differences() {
    check(learner(&bert(), Pooling::Mean, &dense(), no_dropout()));
}

#[test]
fn what_is_dropped_out_has_no_slope() {
    let options = Options { dropout: 0.2, attention_dropout: 0.3, ..no_dropout() };
    check(learner(&bert(), Pooling::WeightedMean, &[HeadStep::Normalize], options));
}

#[test]
fn mpnet_has_the_slopes_of_its_differences_its_biases_included() {
    let mut config = bertish("gelu_new");
    config["relative_attention_num_buckets"] = 16.into();
    let config = Config::MpNet(serde_json::from_value(config).unwrap());
    check(learner(&config, Pooling::Cls, &[], no_dropout()));
}

#[test]
fn distilbert_has_the_slopes_of_its_differences() {
    let config = serde_json::json!({
        "dim": 24, "n_layers": 1, "n_heads": 2, "hidden_dim": 36, "activation": "gelu", "vocab_size": 60,
        "max_position_embeddings": 80
    });
    let config = Config::DistilBert(serde_json::from_value(config).unwrap());
    check(learner(&config, Pooling::MeanSqrtLength, &[HeadStep::Normalize], no_dropout()));
}

#[test]
fn texts_are_encoded_to_the_bits_that_the_encoder_gives() {
    for activation in ["gelu", "relu", "silu", "gelu_new"] {
        let config: bert::Config = serde_json::from_value(bertish(activation)).unwrap();
        for pooling in [Pooling::Max, Pooling::LastToken] {
            let own = Config::Bert(config.clone(), bert::Places::BehindPadding);
            let mut learner = learner(&own, pooling, &[], no_dropout());
            let tensors = Shaken(own.architecture().plan().unwrap().drawn(3).unwrap());
            let transformer: Transformer =
                bert::load(&config, bert::Places::BehindPadding, &tensors, pooling).unwrap();
            let texts = texts();
            let mut want = vec![f32::NAN; texts.len() * 24];
            transformer.encode(&slices(&texts), &mut want).unwrap();
            assert_eq!(encode(&learner, &texts), want);
            assert_eq!(forward(&mut learner, &texts), want);
        }
    }
}

#[test]
fn slopes_have_the_same_bits_on_any_threads_instruction_set_and_memory() {
    let options = Options { dropout: 0.1, attention_dropout: 0.1, ..no_dropout() };
    let many: Vec<Vec<u32>> = (0..14).flat_map(|_| texts()).collect();
    let run = |threads: usize, memory: usize, isa: Isa| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut model = learner(&bert(), Pooling::Max, &dense(), Options { memory, ..options }).on(isa);
        pool.install(|| slopes(&mut model, &many))
    };
    let first = run(1, usize::MAX, Isa::best());
    assert_eq!(first, run(3, usize::MAX, Isa::best()));
    assert_eq!(first, run(2, 0, Isa::best()));
    assert_eq!(first, run(2, 1_000_000, Isa::best()));
    for isa in Isa::available() {
        assert_eq!(first, run(2, usize::MAX, isa), "{}", isa.name());
    }
}

#[test]
fn steps_bring_vectors_where_their_slopes_point_and_go_on_after_an_interruption() {
    let options = Options { seed: 5, ..Options::default() };
    let texts = texts();
    let mut model = learner(&bert(), Pooling::Mean, &[HeadStep::Normalize], options);
    let value = |model: &Learner| {
        let out = encode(model, &texts);
        out.iter().zip(wave(out.len())).map(|(x, c)| x * c).sum::<f32>()
    };
    let before = value(&model);
    let step = |model: &mut Learner| {
        let out = forward(model, &texts);
        model.backward(&wave(out.len()));
        model.stepped(1e-3)
    };
    for _ in 0..3 {
        assert!(step(&mut model).norm > 0.0);
    }
    assert!(value(&model) < before - 0.1, "{before} {}", value(&model));
    let state = model.state();
    let mut again = learner(&bert(), Pooling::Mean, &[HeadStep::Normalize], options);
    again.restore(state.clone()).unwrap();
    assert_eq!(encode(&again, &texts), encode(&model, &texts));
    assert_eq!(step(&mut again), step(&mut model));
    assert_eq!(again.state(), model.state());
    assert_ne!(model.state(), state);
    let other = Config::DistilBert(
        serde_json::from_value(serde_json::json!({
            "dim": 24, "n_layers": 1, "n_heads": 2, "hidden_dim": 36, "activation": "gelu", "vocab_size": 60,
            "max_position_embeddings": 80
        }))
        .unwrap(),
    );
    assert!(learner(&other, Pooling::Mean, &[], options).restore(state).is_err());
}

#[test]
fn rows_of_other_tokens_stay_unless_all_are_asked_for() {
    for (rows, stays) in [(TableRows::Touched, true), (TableRows::All, false)] {
        let optimizer = AdamW { rows, decay: 0.1, ..AdamW::default() };
        let mut model = learner(&bert(), Pooling::Mean, &[], Options { optimizer, ..no_dropout() });
        let words = model.embeddings.words;
        let before = model.parameters.values(words).to_vec();
        let out = forward(&mut model, &[vec![3, 4, 5]]);
        model.backward(&wave(out.len()));
        model.step(1e-2);
        let after = model.parameters.values(words);
        for (token, (a, b)) in before.chunks(24).zip(after.chunks(24)).enumerate() {
            assert_eq!(a == b, stays && !(3..6).contains(&token), "token {token}");
        }
    }
}

#[test]
fn slopes_longer_than_the_clip_are_scaled_down() {
    let optimizer = AdamW { clip: Some(0.5), ..AdamW::default() };
    let mut model = learner(&bert(), Pooling::Mean, &[], Options { optimizer, ..no_dropout() });
    let found = slopes(&mut model, &texts());
    let norm = found.iter().flatten().map(|&d| f64::from(d).powi(2)).sum::<f64>().sqrt();
    let stepped = model.stepped(0.0);
    assert!((stepped.norm / norm - 1.0).abs() < 1e-9);
    assert!((f64::from(stepped.scale) * norm - 0.5).abs() < 1e-4);
}

#[test]
fn adapters_start_at_the_model_learn_alone_and_merge_to_the_same_vectors() {
    for target in [Target::Attention, Target::Feed, Target::Both] {
        let lora = Some(Lora { rank: 4, alpha: 8.0, target });
        let texts = texts();
        let whole = learner(&bert(), Pooling::Mean, &[HeadStep::Normalize], no_dropout());
        let options = Options { lora, ..no_dropout() };
        let mut model = learner(&bert(), Pooling::Mean, &[HeadStep::Normalize], options);
        assert_eq!(encode(&model, &texts), encode(&whole, &texts));
        assert!(model.trained() < whole.trained() / 2);
        for _ in 0..2 {
            let out = forward(&mut model, &texts);
            model.backward(&wave(out.len()));
            model.step(1e-2);
        }
        assert_ne!(encode(&model, &texts), encode(&whole, &texts));
        struct Merged(std::collections::BTreeMap<String, Tensor>);
        impl Tensors for Merged {
            fn has(&self, name: &str) -> bool {
                self.0.contains_key(name)
            }
            fn get(&self, name: &str) -> Result<Option<Tensor>> {
                Ok(self.0.get(name).cloned())
            }
        }
        let mut changed = 0;
        let merged = model.weights().zip(whole.weights()).map(|(weight, old)| {
            let hit = |names: &[&str]| names.iter().any(|name| weight.name.ends_with(name));
            let attention =
                hit(&["query.weight", "key.weight", "value.weight", "attention.output.dense.weight"]);
            let feed = !attention && hit(&["dense.weight"]);
            let wanted = attention && target != Target::Feed || feed && target != Target::Attention;
            assert_eq!(weight.values != old.values, wanted, "{}", weight.name);
            changed += usize::from(wanted);
            let tensor = Tensor { shape: weight.shape.to_vec(), values: weight.values.into_owned() };
            (weight.name.to_owned(), tensor)
        });
        let merged = Merged(merged.collect());
        assert!(changed >= 4);
        let config = bert();
        let plain = Learner::load(
            config.architecture(),
            &merged,
            Pooling::Mean,
            &[HeadStep::Normalize],
            no_dropout(),
        );
        assert_eq!(encode(&plain.unwrap(), &texts), encode(&model, &texts));
    }
}

#[test]
fn the_slopes_of_an_adapter_are_those_of_its_differences() {
    let lora = Some(Lora { rank: 3, alpha: 6.0, target: Target::Both });
    let mut model = learner(&bert(), Pooling::Mean, &[HeadStep::Normalize], Options { lora, ..no_dropout() });
    let texts = texts();
    for parameter in &mut model.parameters.all {
        if let Some(adapter) = &mut parameter.adapter {
            let count = adapter.b.len();
            adapter.b.iter_mut().enumerate().for_each(|(i, b)| *b = (i as f32).sin() / (count as f32).sqrt());
        }
    }
    model.refresh();
    slopes(&mut model, &texts);
    let weights = wave(texts.len() * model.head.dim);
    for index in 0..model.parameters.all.len() {
        let Some(adapter) = &mut model.parameters.all[index].adapter else { continue };
        adapter.collect();
        for b_side in [false, true] {
            let adapter = model.parameters.all[index].adapter.clone().unwrap();
            let slope = if b_side { &adapter.b_slope } else { &adapter.a_slope };
            let length = slope.iter().map(|&d| f64::from(d).powi(2)).sum::<f64>().sqrt();
            let mut at = |off: f64| {
                let mut moved = adapter.clone();
                let values = if b_side { &mut moved.b } else { &mut moved.a };
                let step = |d: f32| (off * f64::from(d) / length.max(1e-9)) as f32;
                values.iter_mut().zip(slope).for_each(|(x, &d)| *x += step(d));
                model.parameters.all[index].adapter = Some(moved);
                model.refresh();
                let out = encode(&model, &texts);
                out.iter().zip(&weights).map(|(&x, &c)| f64::from(x) * f64::from(c)).sum::<f64>()
            };
            let want = (8.0 * (at(4e-3) - at(-4e-3)) - (at(8e-3) - at(-8e-3))) / (12.0 * 4e-3);
            model.parameters.all[index].adapter = Some(adapter);
            assert!((length - want).abs() < 3e-3 * length.max(0.3), "{length} {want}");
        }
        model.refresh();
    }
}

#[test]
fn a_random_start_is_the_seeds_and_options_are_checked() {
    let config = bert();
    let random = |seed| {
        let options = Options { seed, ..Options::default() };
        Learner::random(config.architecture(), Pooling::Mean, &[], options).unwrap()
    };
    let one = encode(&random(1), &texts());
    assert_eq!(one, encode(&random(1), &texts()));
    assert_ne!(one, encode(&random(2), &texts()));
    assert!(one.iter().all(|x| x.is_finite()));
    let refused = |options: Options| {
        Learner::random(config.architecture(), Pooling::Mean, &[], options).err().unwrap().to_string()
    };
    assert!(refused(Options { dropout: 1.0, ..no_dropout() }).contains("a dropout of `1 and 0`"));
    let lora = Some(Lora { rank: 0, alpha: 1.0, target: Target::Both });
    assert!(refused(Options { lora, ..no_dropout() }).contains("rank 0"));
    let optimizer = AdamW { beta1: 1.5, ..AdamW::default() };
    assert!(refused(Options { optimizer, ..no_dropout() }).contains("betas of `1.5"));
}
