//! The training job: data, negatives, steps, evaluation, the best model's folder.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hardrock_engine::training::{Adam, StaticTable};
use serde::{Deserialize, Serialize};

use super::card::Card;
use super::checkpoint::{Checkpoint, Place};
use super::curves;
use super::evaluate::{Evaluation, Measured};
use super::examples::Examples;
use super::fit::{Fit, Losses, rate};
use super::folder::{self, Model};
use super::spec::TrainSpec;
use super::start::{self, Start};
use crate::mine::spec::{MineSpec, WriteSpec};
use crate::mine::{Progress, RunOptions, Selected, with_selected};
use crate::models::TokenTable;
use crate::store::{Key, Stage, Store};
use crate::{Error, Result};

/// One line of `metrics.jsonl`: an epoch, or as number 0 the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Epochs done.
    pub epoch: usize,
    /// What its steps saw.
    pub losses: Losses,
    /// The model after it.
    pub measured: Measured,
    /// Learning rate of its last step.
    pub rate: f32,
}

/// What a job did.
#[derive(Debug, Clone, Serialize)]
pub struct Trained {
    /// The model's folder.
    pub folder: PathBuf,
    /// The start and every epoch.
    pub history: Vec<Epoch>,
    /// The epoch whose weights are in the folder.
    pub best: usize,
    /// Pairs that were learned from.
    pub pairs: usize,
    /// Anchors that were held out.
    pub held_out: usize,
    /// Anchors with mined negatives.
    pub mined: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Columns of a vector.
    pub dim: usize,
    /// Whether training went on from a checkpoint.
    pub resumed: bool,
    /// What is wrong with the model, in words.
    pub warnings: Vec<String>,
    /// Wall seconds.
    pub seconds: f64,
}

/// Trains. Bad input ends here with an error that names it and leaves no output behind.
///
/// # Errors
/// [`Error::Usage`], [`Error::Input`]; [`Error::Interrupted`] soon after `cancel` is set: the same job goes on from the last
/// checkpoint.
pub fn run(
    spec: &TrainSpec,
    options: &RunOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Trained> {
    let begun = Instant::now();
    spec.check()?;
    may_write(&spec.write.path, options.force)?;
    let given = start::open(&spec.model)?;
    let mine = MineSpec {
        seed: spec.seed,
        data: spec.data.clone(),
        pool: spec.mine.pool.clone(),
        judge: spec.mine.judge.clone(),
        filters: spec.mine.filters.clone(),
        select: spec.mine.select.clone(),
        p_fn: Default::default(),
        write: WriteSpec { path: spec.write.path.clone(), ..WriteSpec::default() },
    };
    let enabled = spec.mine.enabled && spec.batch.negatives > 0;
    with_selected(mine, enabled, options, progress, cancel, |selected| {
        let mut trained = Job { spec, selected, options }.run(given, progress, cancel)?;
        trained.seconds = begun.elapsed().as_secs_f64();
        Ok(trained)
    })
}

fn may_write(path: &Path, force: bool) -> Result<()> {
    if path.as_os_str().is_empty() {
        return Err(Error::usage("no folder is named for the model", "name one with -o, e.g. -o my-model"));
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        let problem = format!("the folder {} of the output does not exist", parent.display());
        return Err(Error::usage(problem, "make it, or name another with -o"));
    }
    if path.is_file() {
        return Err(Error::usage(
            format!("{} is a file", path.display()),
            "name a folder with -o, e.g. -o my-model",
        ));
    }
    let empty = || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if path.exists() && !empty() {
        if !force {
            return Err(Error::Exists { path: path.to_owned() });
        }
        // --force replaces a model, not whatever a mistyped name leads to.
        if !path.join("modules.json").is_file() {
            let problem = format!("{} is a folder that holds no model", path.display());
            return Err(Error::usage(problem, "name another with -o; --force replaces models only"));
        }
    }
    Ok(())
}

struct Job<'a> {
    spec: &'a TrainSpec,
    selected: &'a Selected<'a>,
    options: &'a RunOptions,
}

impl Job<'_> {
    fn run(
        &self,
        given: Option<TokenTable>,
        progress: &dyn Progress,
        cancel: &AtomicBool,
    ) -> Result<Trained> {
        let (spec, selected) = (self.spec, self.selected);
        let dataset = selected.dataset;
        let level = spec.data.level;
        let anchors: Vec<u32> = selected.anchors.iter().map(|a| a.0).collect();
        let held = (spec.validate.share, spec.validate.most);
        let mut examples = Examples::new(dataset, level, &anchors, held, spec.seed);
        for (anchor, mined) in anchors.iter().zip(&selected.negatives) {
            examples.set_negatives(*anchor, mined.iter().copied());
        }
        if examples.pairs.len() < 2 {
            return Err(Error::usage(
                format!("{} pairs are too few to learn from", examples.pairs.len()),
                "give at least 2 anchors with positives, or hold out fewer (validate.share)",
            ));
        }
        let start = start::start(&spec.model, given, dataset, spec.seed, progress, cancel)?;
        let store = Store::open(&Store::beside(self.options.work.as_deref(), &spec.write.path))?;
        let stage = store.stage("train", &self.key(&examples, &start)?)?;
        let evaluation = Evaluation {
            examples: &examples,
            items: &start.items,
            anchors: &start.anchors,
            judgements: &dataset.judgements,
            level,
            budget: selected.budget,
        };
        let fit = Fit::new(spec, &examples, [&start.items, &start.anchors])?;
        let before = if self.options.fresh { None } else { Checkpoint::load(&stage)? };
        let mut run = Steps { spec, fit, evaluation, stage, dim: start.dim, saved: Instant::now() };
        let resumed = before.as_ref().is_some_and(|c| c.place.epoch > 0 || c.place.step > 0);
        let (place, table) = run.finish(before, start.table.clone(), progress, cancel)?;
        let Steps { stage, .. } = run;
        let last = place.history.get(place.best).map(|epoch| &epoch.measured.health);
        let losses = place.history.last().map(|epoch| epoch.losses).unwrap_or_default();
        let empty = losses.empty_rows as f64 / losses.rows.max(1) as f64;
        let warnings =
            last.map(|health| health.warnings(start.dim, losses.masked_share(), empty)).unwrap_or_default();
        let mined = examples.negatives.iter().filter(|mined| !mined.is_empty()).count();
        let card = Card {
            spec,
            start: &start.words,
            vocabulary: start.reader.vocabulary(),
            dim: start.dim,
            pairs: examples.pairs.len(),
            held_out: examples.held_out.len(),
            documents: dataset.items.len(),
            mined,
            inputs: selected.inputs,
            history: &place.history,
            best: place.best,
            warnings: &warnings,
        };
        let mut metrics = String::new();
        for epoch in &place.history {
            metrics += &serde_json::to_string(epoch).map_err(|e| Error::usage(e.to_string(), ""))?;
            metrics.push('\n');
        }
        let files = [
            ("README.md", card.markdown()?),
            ("metrics.jsonl", metrics),
            ("curves.svg", curves::draw(&place.history)),
        ];
        let model = Model { tokenizer: &start.reader.file, table: &table, dim: start.dim, files: &files };
        folder::write(&spec.write.path, &model, self.options.force)?;
        // The folder holds what the checkpoint held.
        stage.remove()?;
        Ok(Trained {
            folder: spec.write.path.clone(),
            best: place.best,
            history: place.history,
            pairs: examples.pairs.len(),
            held_out: examples.held_out.len(),
            mined,
            vocabulary: start.reader.vocabulary(),
            dim: start.dim,
            resumed,
            warnings,
            seconds: 0.0,
        })
    }

    /// What the weights depend on.
    fn key(&self, examples: &Examples, start: &Start) -> Result<Key> {
        let spec = TrainSpec { write: Default::default(), ..self.spec.clone() };
        let mut hasher = blake3::Hasher::new();
        start.table.iter().for_each(|x| {
            hasher.update(&x.to_le_bytes());
        });
        for mined in &examples.negatives {
            hasher.update(&(mined.len() as u64).to_le_bytes());
            mined.iter().for_each(|item| {
                hasher.update(&item.to_le_bytes());
            });
        }
        let key = Key::new("train").with_json("spec", &spec)?.with_json("inputs", self.selected.inputs)?;
        Ok(key.with("tokenizer", &start.reader.file).with("weights", hasher.finalize().as_bytes()))
    }
}

/// The loop over epochs.
struct Steps<'a> {
    spec: &'a TrainSpec,
    fit: Fit<'a>,
    evaluation: Evaluation<'a>,
    stage: Stage,
    dim: usize,
    /// When the last checkpoint was written.
    saved: Instant,
}

impl Steps<'_> {
    /// Trains from the checkpoint or from `table`; answers the history and the best table.
    fn finish(
        &mut self,
        before: Option<Checkpoint>,
        table: Vec<f32>,
        progress: &dyn Progress,
        cancel: &AtomicBool,
    ) -> Result<(Place, Vec<f32>)> {
        let adam = Adam::default();
        let (mut place, mut best, mut model) = match before {
            Some(Checkpoint { place, state, best }) => {
                (place, best, StaticTable::resume(state, self.dim, adam)?)
            }
            None => (Place::default(), None, StaticTable::new(table, self.dim, adam)?),
        };
        if place.history.is_empty() {
            let measured = self.evaluation.measure(model.table(), self.dim, cancel)?;
            self.close(&mut place, measured, &model, &mut best, progress);
        }
        let pairs = self.fit.examples.pairs.len() as u64;
        while place.epoch < self.spec.optimiser.epochs && !self.is_enough(&place) {
            let left = (self.spec.optimiser.epochs - place.epoch) as u64 * pairs;
            progress.stage(&format!("epoch {}", place.epoch + 1), left, "pairs");
            while place.step < self.fit.steps() {
                let every = Duration::from_secs_f64(self.spec.write.checkpoint_seconds);
                let saved = self.saved;
                let until = || saved.elapsed() >= every;
                let from = (place.step, &until as &dyn Fn() -> bool);
                place.step =
                    self.fit.run(&mut model, place.epoch, from, &mut place.losses, progress, cancel)?;
                if until() {
                    Checkpoint::save(&self.stage, &place, model.state(), best.as_deref())?;
                    self.saved = Instant::now();
                }
            }
            place.epoch += 1;
            place.step = 0;
            let measured = self.evaluation.measure(model.table(), self.dim, cancel)?;
            self.close(&mut place, measured, &model, &mut best, progress);
        }
        let table = best.unwrap_or_else(|| model.table().to_vec());
        Ok((place, table))
    }

    /// Ends an epoch: its line, whether it is the best, a word about it.
    fn close(
        &self,
        place: &mut Place,
        measured: Measured,
        model: &StaticTable,
        best: &mut Option<Vec<f32>>,
        progress: &dyn Progress,
    ) {
        let losses = std::mem::take(&mut place.losses);
        let optimiser = &self.spec.optimiser;
        let all = (self.fit.steps() * optimiser.epochs) as u64;
        let done = (place.epoch * self.fit.steps()) as u64;
        let rate = if done > 0 { rate(optimiser, done - 1, all) } else { 0.0 };
        place.history.push(Epoch { epoch: place.epoch, losses, measured, rate });
        let value = |at: usize| place.history.get(at).and_then(|epoch| epoch.measured.ndcg);
        let better = match (value(place.epoch), value(place.best)) {
            (Some(now), Some(before)) => now > before,
            _ => true,
        };
        if better || place.epoch == 0 {
            place.best = place.epoch;
            *best = None;
        }
        // The next steps move the weights away.
        let kept = place.best == place.epoch && measured.ndcg.is_some();
        if kept {
            *best = Some(model.table().to_vec());
        }
        progress.notice(&words(&place.history[place.epoch], place.best == place.epoch));
    }

    /// Whether training ends early.
    fn is_enough(&self, place: &Place) -> bool {
        let patience = self.spec.validate.patience;
        let measured = place.history.last().is_some_and(|epoch| epoch.measured.ndcg.is_some());
        patience > 0 && measured && place.epoch - place.best >= patience
    }
}

/// An epoch in a line.
fn words(epoch: &Epoch, best: bool) -> String {
    let mut text = match epoch.epoch {
        0 => "start".to_owned(),
        n => format!("epoch {n}: loss {:.4}", epoch.losses.mean()),
    };
    if let Some(ndcg) = epoch.measured.ndcg {
        text += &format!("{} nDCG@10 {ndcg:.4}", if epoch.epoch == 0 { ":" } else { "," });
        if best && epoch.epoch > 0 {
            text += " (best)";
        }
    }
    let health = &epoch.measured.health;
    text += &format!(", positive {:.3} against {:.3}", health.positive, health.hardest);
    if epoch.losses.rows > 0 {
        text += &format!(", {:.0} pairs/s", epoch.losses.rate());
    }
    text
}
