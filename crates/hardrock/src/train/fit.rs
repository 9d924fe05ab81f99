//! The steps of training: batch, forward, loss, backward, optimiser.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use hardrock_engine::training::{StaticTable, Trainable};
use serde::{Deserialize, Serialize};

use super::batches::{Batch, Batcher, order};
use super::examples::Examples;
use super::objective::{Objective, Room};
use super::spec::{BatchTable, Decay, OptimiserTable, TrainSpec};
use super::tokens::Tokens;
use crate::Result;
use crate::mine::{Progress, check};

/// What the steps of an epoch saw, summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Loss times rows [nats].
    pub loss: f64,
    /// Pairs.
    pub rows: u64,
    /// Rows without a negative.
    pub empty_rows: u64,
    /// Cells of all blocks.
    pub cells: u64,
    /// Cells that did not count, because the document is a known positive of the anchor.
    pub masked: u64,
    /// Wall seconds.
    pub seconds: f64,
}

impl Losses {
    /// Mean loss of a row [nats].
    pub fn mean(&self) -> f64 {
        if self.rows > 0 { self.loss / self.rows as f64 } else { 0.0 }
    }

    /// Pairs per second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.rows as f64 / self.seconds } else { 0.0 }
    }

    /// Share of the cells that did not count, in [0, 1].
    pub fn masked_share(&self) -> f64 {
        if self.cells > 0 { self.masked as f64 / self.cells as f64 } else { 0.0 }
    }

    fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.rows += other.rows;
        self.empty_rows += other.empty_rows;
        self.cells += other.cells;
        self.masked += other.masked;
        self.seconds += other.seconds;
    }
}

/// Everything that steps read.
pub(crate) struct Fit<'a> {
    pub(crate) examples: &'a Examples,
    pub(crate) items: &'a Tokens,
    pub(crate) anchors: &'a Tokens,
    seed: u64,
    batch: &'a BatchTable,
    optimiser: &'a OptimiserTable,
    objective: Objective,
    batcher: Batcher,
    room: Room,
}

/// The learning rate of a step, both counted from 0.
pub(crate) fn rate(optimiser: &OptimiserTable, step: u64, steps: u64) -> f32 {
    // 0.2 of ten steps are two, though 0.2 in 32 bits is a little more.
    let warm = ((f64::from(optimiser.warmup) - 1e-6) * steps as f64).ceil().max(0.0);
    let at = step as f64;
    let part = if at < warm {
        (at + 1.0) / warm
    } else {
        let done = (at - warm) / (steps as f64 - warm).max(1.0);
        match optimiser.decay {
            Decay::Linear => 1.0 - done,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Decay::Constant => 1.0,
        }
    };
    (f64::from(optimiser.rate) * part) as f32
}

impl<'a> Fit<'a> {
    pub(crate) fn new(
        spec: &'a TrainSpec,
        examples: &'a Examples,
        [items, anchors]: [&'a Tokens; 2],
    ) -> Result<Self> {
        let objective = Objective { list: spec.loss.list()?, two_sided: spec.loss.two_sided };
        Ok(Self {
            examples,
            items,
            anchors,
            seed: spec.seed,
            batch: &spec.batch,
            optimiser: &spec.optimiser,
            objective,
            batcher: Batcher::new(items.len()),
            room: Room::default(),
        })
    }

    /// Steps of an epoch.
    pub(crate) fn steps(&self) -> usize {
        self.examples.pairs.len().div_ceil(self.batch.size)
    }

    /// Runs the steps of `epoch` from step `from` on, up to `count` of them; adds to `losses`. Answers the next step, which is
    /// that of the next epoch's start where this one is done.
    pub(crate) fn run(
        &mut self,
        model: &mut StaticTable,
        epoch: usize,
        (from, until): (usize, &dyn Fn() -> bool),
        losses: &mut Losses,
        progress: &dyn Progress,
        cancel: &AtomicBool,
    ) -> Result<usize> {
        let order = order(self.examples.pairs.len(), self.seed, epoch);
        let all = (self.steps() * self.optimiser.epochs) as u64;
        let mut batch = Batch::default();
        for step in from..self.steps() {
            check(cancel)?;
            let chosen = &order[step * self.batch.size..order.len().min((step + 1) * self.batch.size)];
            let rate = rate(self.optimiser, (epoch * self.steps() + step) as u64, all);
            self.batcher.make(self.examples, chosen, self.batch.negatives, epoch, &mut batch);
            losses.add(&self.step(model, &batch, rate)?);
            progress.advance(chosen.len() as u64);
            if until() {
                return Ok(step + 1);
            }
        }
        Ok(self.steps())
    }

    fn step(&mut self, model: &mut StaticTable, batch: &Batch, rate: f32) -> Result<Losses> {
        let start = Instant::now();
        let dim = model.dim();
        let anchors = batch.anchors.iter().map(|&anchor| self.anchors.of(anchor));
        let documents = batch.documents.iter().map(|&item| self.items.of(item));
        let texts: Vec<&[u32]> = anchors.chain(documents).collect();
        let mut vectors = vec![0.0; texts.len() * dim];
        model.forward(&texts, &mut vectors)?;
        let mut slopes = vec![0.0; vectors.len()];
        let cut = batch.anchors.len() * dim;
        let (rows, columns) = vectors.split_at(cut);
        let (row_slopes, column_slopes) = slopes.split_at_mut(cut);
        let value = self.objective.evaluate(
            batch,
            dim,
            [rows, columns],
            [row_slopes, column_slopes],
            &mut self.room,
        )?;
        model.backward(&slopes);
        model.step(rate);
        let rows = batch.anchors.len();
        Ok(Losses {
            loss: value.mean * rows as f64,
            rows: rows as u64,
            empty_rows: value.empty_rows as u64,
            cells: batch.marks.len() as u64,
            masked: batch.masked,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_grows_then_falls() {
        let optimiser = |decay| OptimiserTable { rate: 1.0, warmup: 0.2, decay, ..OptimiserTable::default() };
        let rates = |decay| (0..10).map(|step| rate(&optimiser(decay), step, 10)).collect::<Vec<_>>();
        assert_eq!(rates(Decay::Constant), [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(rates(Decay::Linear)[..4], [0.5, 1.0, 1.0, 0.875]);
        let cosine = rates(Decay::Cosine);
        assert!(cosine[2] == 1.0 && (cosine[6] - 0.5).abs() < 1e-6 && cosine[9] < 0.05);
    }
}
