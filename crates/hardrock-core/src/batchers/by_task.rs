//! Batches of one task each, tasks mixed by ratio.
//!
//! ## Rule
//! An epoch has as many batches as the examples would fill task by task. A task of n examples gets a share of them in
//! proportion to n^exponent (or to its entry of `ratios`), at least one; it goes through its examples in a random order,
//! again from the start where they run out, and further on in the next epoch where they do not. Exponent 1: every example
//! once an epoch.
//!
//! ## Seen in
//! GTE, KaLM-Embedding, mT5 (exponent)

use serde::{Deserialize, Serialize};

use super::{Batcher, Draw, Examples, SIZE, at_least, needed, shuffle};
use crate::{Error, Result};

/// Parameters as written in TOML: `{ by_task = { size = 256, exponent = 0.5 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ByTask {
    /// Examples of a batch, at least 2.
    pub size: u32,
    /// 1 = tasks by their size, 0 = all alike; in `[0, 1]`. Read where there are no ratios.
    pub exponent: f64,
    /// What each task counts, by its number; empty = by size. Not negative, not all 0.
    pub ratios: Vec<f64>,
}

impl Default for ByTask {
    fn default() -> Self {
        Self { size: SIZE, exponent: 1.0, ratios: Vec::new() }
    }
}

impl ByTask {
    /// Runs once, when the plan is made.
    pub fn check(self) -> Result<Self> {
        at_least(2, "by_task", "size", self.size)?;
        let bad = |field, must, got: String| Err(Error::Parameter { stage: "by_task", field, must, got });
        if !(0.0..=1.0).contains(&self.exponent) {
            return bad("exponent", "in [0, 1]", self.exponent.to_string());
        }
        let fine = |r: &f64| *r >= 0.0 && r.is_finite();
        if !self.ratios.iter().all(fine)
            || (!self.ratios.is_empty() && self.ratios.iter().sum::<f64>() <= 0.0)
        {
            return bad("ratios", "not negative and not all 0", format!("{:?}", self.ratios));
        }
        Ok(self)
    }
}

impl Batcher for ByTask {
    fn epoch(&self, examples: &Examples<'_>, draw: Draw) -> Result<Vec<Vec<u32>>> {
        let of = needed(examples.tasks, examples.len(), "by_task", "the task of each example")?;
        let tasks = of.iter().max().map_or(0, |t| *t as usize + 1);
        let mut members = vec![Vec::new(); tasks];
        for (example, &task) in of.iter().enumerate() {
            members[task as usize].push(example as u32);
        }
        if !self.ratios.is_empty() && self.ratios.len() != tasks {
            let what = "ratios of the tasks";
            return Err(Error::Shape { what, expected: tasks, got: self.ratios.len() });
        }
        let batches_of = |n: usize| n.div_ceil(self.size as usize);
        let total: usize = members.iter().map(|m| batches_of(m.len())).sum();
        let shares: Vec<f64> = (0..tasks)
            .map(|t| match (members[t].len(), self.ratios.get(t)) {
                (0, _) => 0.0,
                (_, Some(ratio)) => *ratio,
                // Exponent 1 counts batches, so that every example comes exactly once.
                (n, None) if self.exponent == 1.0 => batches_of(n) as f64,
                (n, None) => (n as f64).powf(self.exponent),
            })
            .collect();
        let sum: f64 = shares.iter().sum();
        let counts =
            shares.iter().map(|s| if *s > 0.0 { (s / sum * total as f64).round().max(1.0) } else { 0.0 });
        let mut turns: Vec<(f64, u32)> = Vec::new();
        let mut queues = Vec::with_capacity(tasks);
        for (task, count) in counts.enumerate() {
            // Batch i of c stands at (i + 1/2) / c of the epoch: tasks interleave evenly.
            turns.extend((0..count as usize).map(|i| ((i as f64 + 0.5) / count, task as u32)));
            queues.push(self.queue(&members[task], task as u64, count as usize, draw));
        }
        turns.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Ok(turns.iter().filter_map(|(_, task)| queues[*task as usize].next()).collect())
    }
}

impl ByTask {
    /// `count` batches of one task's members for this epoch.
    fn queue(&self, members: &[u32], task: u64, count: usize, draw: Draw) -> std::vec::IntoIter<Vec<u32>> {
        let per_pass = members.len().div_ceil(self.size as usize).max(1);
        let mut batches = Vec::with_capacity(count);
        let (mut order, mut shuffled) = (Vec::new(), None);
        for at in draw.epoch * count as u64..(draw.epoch + 1) * count as u64 {
            // The order is one of the pass through the task, however many epochs a pass takes.
            let pass = Draw { seed: draw.seed, epoch: at / per_pass as u64 };
            if shuffled != Some(pass) {
                order = members.to_vec();
                shuffle(&mut order, &mut pass.rng(task + 1));
                shuffled = Some(pass);
            }
            let from = (at % per_pass as u64) as usize * self.size as usize;
            let to = (from + self.size as usize).min(order.len());
            if from < to {
                batches.push(order[from..to].to_vec());
            }
        }
        batches.into_iter()
    }
}
