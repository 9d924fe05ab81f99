//! The user's own data as the test: hides known positives of anchors that have several, and counts how many of them each
//! setting would have served as negatives.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;

use hardrock_core::{AnchorId, ItemId, Rng};
use serde::Serialize;

use super::dense::Encode;
use super::plan::Plan;
use super::prepare::with_job;
use super::promise::learn_models;
use super::run::{RunOptions, chunks, judge_chunk, propose};
use super::spec::MineSpec;
use super::{Progress, flags};
use crate::presets::PRESETS;
use crate::read::Dataset;
use crate::{Error, Result};

/// Stage number of the draw of hidden positives.
const HIDE: u64 = 0x6869_6465;
/// Thresholds of p_fn that are tried.
const MAXIMA: [f32; 6] = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5];
/// Share of the hardest that a setting must keep to be recommended.
const HARD: f64 = 0.9;

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchRow {
    /// Its name: a preset, or the filter that is tried.
    pub name: String,
    /// Negatives per anchor asked for.
    pub negatives: usize,
    /// Hidden positives that were among the candidates.
    pub found: u64,
    /// Of these, served as negatives.
    pub served: u64,
    /// Negatives selected for the anchors with a hidden positive.
    pub selected: u64,
    /// Of the k hardest candidates that are neither known nor hidden positives, the share that was selected.
    pub ideal: f64,
    /// Mean rank of the selected, 0 = best.
    pub rank: f64,
    /// Negatives that could not be had / asked for.
    pub short: f64,
}

impl BenchRow {
    /// Hidden positives served / selected.
    pub fn share(&self) -> f64 {
        self.served as f64 / self.selected.max(1) as f64
    }
}

/// The whole comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bench {
    /// Anchors with at least two positives, each of which lost one.
    pub anchors: u64,
    /// The settings, in the order in which they were tried.
    pub rows: Vec<BenchRow>,
    /// Which one to take, in words.
    pub recommendation: String,
}

/// Takes one positive, drawn by its anchor's key, from each anchor that has several; answers them by anchor.
pub(super) fn hide(dataset: &mut Dataset, level: i32, seed: u64) -> BTreeMap<AnchorId, ItemId> {
    let mut hidden = BTreeMap::new();
    for a in 0..dataset.anchors.len() as u32 {
        let positives: Vec<u32> = dataset.judgements.positives(a, level).collect();
        if positives.len() >= 2 {
            let key = crate::p_fn::draw_key(dataset.anchors.id(a));
            let at = Rng::at(seed, HIDE, key).below(positives.len() as u64) as usize;
            hidden.insert(AnchorId(a), ItemId(positives[at]));
        }
    }
    dataset.judgements.retain(|a, d| hidden.get(&AnchorId(a)) != Some(&ItemId(d)));
    hidden
}

/// Tries every preset that needs nothing beside the data, the default, and thresholds of p_fn, on the candidates of `spec`.
pub fn bench(
    spec: &MineSpec,
    options: &RunOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Bench> {
    let mut settings: Vec<(String, MineSpec)> = vec![("default".into(), spec.clone())];
    for preset in PRESETS.iter().filter(|p| p.sets.needs.is_none()) {
        let mut set = spec.clone();
        flags::apply(&mut set, &preset.sets)?;
        settings.push((preset.name.to_owned(), set));
    }
    for max in MAXIMA {
        let mut set = spec.clone();
        flags::set_filters(&mut set.filters, "known,text")?;
        flags::set_max_p_fn(&mut set.filters, max);
        settings.push((format!("p_fn at most {max}"), set));
    }
    let mut rows = Vec::new();
    let mut anchors = 0;
    for (name, set) in settings {
        let mut plan = Plan::new(set)?;
        plan.hide = true;
        let (n, row) = with_job(&plan, options, Encode::All, progress, cancel, |job| {
            if job.hidden.is_empty() {
                return Err(Error::usage(
                    "no anchor has two positives, so none can be hidden",
                    "bench needs data with several known positives per anchor",
                ));
            }
            for pool in 0..job.pools.len() {
                propose(job, pool, options.fresh, progress, cancel)?;
            }
            learn_models(job, progress, cancel)?;
            progress.stage(&name, job.judged.len() as u64, "anchors");
            let k = job.judge.negatives;
            let mut row = BenchRow {
                name: name.clone(),
                negatives: k,
                found: 0,
                served: 0,
                selected: 0,
                ideal: 0.0,
                rank: 0.0,
                short: 0.0,
            };
            let (mut hard, mut kept, mut ranks) = (0u64, 0u64, 0u64);
            for chunk in 0..chunks(job) {
                for judged in judge_chunk(job, chunk, progress, cancel)? {
                    for (r, cells) in judged.block.iter().enumerate() {
                        let Some(&hidden) = job.hidden.get(&cells.anchor()) else { continue };
                        let known = job.judge.facts.known.of(cells.anchor());
                        // An anchor with the same text may know it still: then nothing is hidden.
                        if known.contains(&hidden) {
                            continue;
                        }
                        let chosen = judged.selection.row(r);
                        row.selected += (chosen.len() + judged.filled[r].len()) as u64;
                        ranks += chosen.iter().map(|&c| c as u64).sum::<u64>();
                        if let Some(at) = cells.items().iter().position(|i| *i == hidden) {
                            row.found += 1;
                            row.served += u64::from(chosen.contains(&at));
                        }
                        let others = (0..cells.len())
                            .filter(|&c| cells.items()[c] != hidden && !known.contains(&cells.items()[c]));
                        for c in others.take(k) {
                            hard += 1;
                            kept += u64::from(chosen.contains(&c));
                        }
                        row.short += (k - (chosen.len() + judged.filled[r].len()).min(k)) as f64;
                    }
                }
            }
            let n = job.hidden.len() as u64;
            row.ideal = kept as f64 / hard.max(1) as f64;
            row.rank = ranks as f64 / row.selected.max(1) as f64;
            row.short /= (n * k as u64).max(1) as f64;
            Ok((n, row))
        })?;
        anchors = n;
        rows.push(row);
    }
    let recommendation = recommend(&rows);
    Ok(Bench { anchors, rows, recommendation })
}

/// Of the settings that keep most of the hardest, the one that serves the fewest hidden positives.
fn recommend(rows: &[BenchRow]) -> String {
    let least = |rows: &mut dyn Iterator<Item = &BenchRow>| {
        rows.min_by(|a, b| a.share().total_cmp(&b.share()).then(b.ideal.total_cmp(&a.ideal))).cloned()
    };
    let served = |r: &BenchRow| format!("{:.2} % of its negatives are hidden positives", r.share() * 100.0);
    let Some(best) = least(&mut rows.iter().filter(|r| r.ideal >= HARD)) else {
        return format!(
            "no setting keeps {:.0} % of the hardest candidates; look at the table",
            HARD * 100.0
        );
    };
    let mut text = format!(
        "of the settings that keep at least {:.0} % of the hardest candidates, `{}` serves the fewest hidden positives ({}, {:.1} % \
         of the hardest kept)",
        HARD * 100.0,
        best.name,
        served(&best),
        best.ideal * 100.0
    );
    if let Some(default) = rows.first().filter(|d| d.name != best.name) {
        text += &format!(
            "; the default: {}, {:.1} % of the hardest kept",
            served(default),
            default.ideal * 100.0
        );
    }
    text
}

impl fmt::Display for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} anchors with several positives, one hidden at each\n", self.anchors)?;
        writeln!(
            f,
            "| setting | k | hidden found | served | served / selected | ideal kept | rank | short |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for r in &self.rows {
            writeln!(
                f,
                "| {} | {} | {} | {} | {:.4} | {:.3} | {:.1} | {:.3} |",
                r.name,
                r.negatives,
                r.found,
                r.served,
                r.share(),
                r.ideal,
                r.rank,
                r.short
            )?;
        }
        write!(f, "\n{}", self.recommendation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, served: u64, ideal: f64) -> BenchRow {
        BenchRow {
            name: name.into(),
            negatives: 5,
            found: 50,
            served,
            selected: 1000,
            ideal,
            rank: 2.0,
            short: 0.0,
        }
    }

    #[test]
    fn the_purest_of_the_hard_settings_is_recommended() {
        let rows =
            [row("default", 20, 0.95), row("far", 1, 0.1), row("p_fn", 10, 0.92), row("naive", 60, 1.0)];
        let text = recommend(&rows);
        assert!(
            text.contains("`p_fn`") && text.contains("1.00 %") && text.contains("the default: 2.00 %"),
            "{text}"
        );
        assert!(recommend(&rows[1..2]).contains("no setting"));
    }
}
