//! The corpus as a graph: every document leads to the documents nearest to it.
//!
//! ## Rule
//! Candidates of an anchor are the neighbours of its positives and, where asked for, of the documents that a search finds
//! for the anchor itself. The score of a pair is the greatest likeness of the document to a positive of the anchor; an
//! anchor without positives has its own likeness instead, where there is a search for it.
//!
//! ## How it is made
//! Another source searches the corpus for its own documents, 8,192 at a time; each time is a chunk of the work folder.
//! When all are there they become one file (`lists.rs`). A document is never its own neighbour.

mod lists;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hardrock_core::{AnchorId, ItemId};
use hardrock_engine::index::Neighbours;
use hardrock_engine::index::clustered::Recall;
use rayon::prelude::*;

use super::{MemoryPlan, Sample, Source};
use crate::embed::Outlook;
use crate::mine::{Progress, Silent};
use crate::read::Judgements;
use crate::store::{Array, Stage};
use crate::{Error, Result};
use lists::{List, Lists, Writer};

/// Documents that are searched for at once: many, because a corpus larger than memory is read once for each time.
const CHUNK: usize = 8192;

/// Documents that recall is measured on.
const SAMPLE: usize = 512;

/// Which documents lead where.
pub struct GraphOver<'a> {
    /// Finds documents for documents: its anchors are the corpus.
    pub search: Box<dyn Source + 'a>,
    /// Documents that get a list, ascending: the anchors of `search`.
    pub documents: &'a [AnchorId],
    /// Neighbours kept of each.
    pub keep: usize,
    /// Where the lists are kept.
    pub stage: Stage,
}

/// A search for the anchors themselves.
pub struct Retrieved<'a> {
    /// Finds documents for anchors.
    pub search: Box<dyn Source + 'a>,
    /// How many of them lead on.
    pub depth: usize,
}

/// Neighbours of positives as a source of candidates.
pub struct GraphSource<'a> {
    over: GraphOver<'a>,
    retrieved: Option<Retrieved<'a>>,
    judged: &'a [AnchorId],
    judgements: &'a Judgements,
    level: i32,
    cancel: &'a AtomicBool,
    lists: OnceLock<Lists<'a>>,
}

impl<'a> GraphSource<'a> {
    /// Positives are judgements of at least `level`.
    pub fn new(
        over: GraphOver<'a>,
        retrieved: Option<Retrieved<'a>>,
        judged: &'a [AnchorId],
        (judgements, level): (&'a Judgements, i32),
        cancel: &'a AtomicBool,
    ) -> Self {
        Self { over, retrieved, judged, judgements, level, cancel, lists: OnceLock::new() }
    }

    fn path(&self) -> PathBuf {
        self.over.stage.folder().join("graph.bin")
    }

    fn open(&self) -> Result<Option<Lists<'a>>> {
        Lists::open(&self.path(), self.over.documents, self.over.keep)
    }

    fn lists(&self) -> Result<&Lists<'a>> {
        if self.lists.get().is_none() {
            self.prepare(false, &Silent)?;
        }
        self.lists.get().ok_or_else(|| Error::usage("the graph is gone", "run again"))
    }

    /// The neighbours of some documents, by their places.
    fn search(&self, places: Range<usize>) -> Result<Neighbours> {
        let keep = self.over.keep;
        let found = self.over.search.propose(places.clone(), keep + 1, self.cancel)?;
        let mut out = Neighbours { starts: vec![0], ..Neighbours::default() };
        for (row, own) in self.over.documents[places].iter().enumerate() {
            let (items, scores) = found.row(row);
            let others = items.iter().zip(scores).filter(|(item, _)| **item != own.0).take(keep);
            for (&item, &score) in others {
                out.items.push(item);
                out.scores.push(score);
            }
            out.starts.push(out.items.len());
        }
        Ok(out)
    }

    fn positives(&self, anchor: AnchorId) -> Vec<u32> {
        self.judgements.positives(anchor.0, self.level).collect()
    }

    /// Scores `items`, ascending; `known` holds the lists of the positives, whose scores need not be made again.
    fn likeness(&self, positives: &[u32], known: &[List], items: &[ItemId], out: &mut [f32]) -> Result<()> {
        out.fill(f32::NAN);
        let (mut likeness, mut missing, mut made) = (Vec::new(), Vec::new(), Vec::new());
        for (at, &positive) in positives.iter().enumerate() {
            likeness.clear();
            likeness.resize(items.len(), None);
            if let Some(list) = known.get(at) {
                for (&item, &score) in list.items.iter().zip(&list.scores) {
                    if let Ok(place) = items.binary_search(&ItemId(item)) {
                        likeness[place] = Some(score);
                    }
                }
            }
            missing.clear();
            missing.extend(items.iter().zip(&likeness).filter(|(_, l)| l.is_none()).map(|(i, _)| *i));
            made.clear();
            made.resize(missing.len(), f32::NAN);
            self.over.search.score(AnchorId(positive), &missing, &mut made)?;
            let mut made = made.iter().copied();
            for (slot, score) in out.iter_mut().zip(&likeness) {
                let score = score.or_else(|| made.next()).unwrap_or(f32::NAN);
                if slot.is_nan() || score > *slot {
                    *slot = score;
                }
            }
        }
        Ok(())
    }

    /// The candidates of one anchor.
    fn candidates(&self, anchor: AnchorId, retrieved: &[u32], depth: usize) -> Result<Vec<(u32, f32)>> {
        let lists = self.lists()?;
        let positives = self.positives(anchor);
        let known: Vec<List> = positives.iter().map(|&p| lists.of(p)).collect::<Result<_>>()?;
        let mut items: Vec<ItemId> = known.iter().flat_map(|l| l.items.iter().map(|&i| ItemId(i))).collect();
        for &document in retrieved {
            items.extend(lists.of(document)?.items.into_iter().map(ItemId));
        }
        items.sort_unstable();
        items.dedup();
        let mut scores = vec![f32::NAN; items.len()];
        match positives.is_empty() {
            false => self.likeness(&positives, &known, &items, &mut scores)?,
            true => self.score(anchor, &items, &mut scores)?,
        }
        let mut out: Vec<(u32, f32)> =
            items.iter().map(|i| i.0).zip(scores).filter(|(_, score)| !score.is_nan()).collect();
        out.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        out.truncate(depth);
        Ok(out)
    }
}

impl Source for GraphSource<'_> {
    fn prepare(&self, fresh: bool, progress: &dyn Progress) -> Result<()> {
        if self.lists.get().is_some() {
            return Ok(());
        }
        if !fresh && let Some(lists) = self.open()? {
            let _ = self.lists.set(lists);
            return Ok(());
        }
        let GraphOver { documents, keep, stage, .. } = &self.over;
        progress.stage("graph", documents.len() as u64, "documents");
        let chunks = documents.len().div_ceil(CHUNK);
        for chunk in 0..chunks {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let places = chunk * CHUNK..documents.len().min((chunk + 1) * CHUNK);
            let rows = places.len() as u64;
            if fresh || load(stage, chunk)?.is_none() {
                save(stage, chunk, &self.search(places)?)?;
            }
            progress.advance(rows);
        }
        let mut writer = Writer::create(&self.path(), *keep)?;
        for chunk in 0..chunks {
            let gone =
                || Error::usage("a part of the graph is gone", "two runs may share a work folder; run again");
            writer.push(&load(stage, chunk)?.ok_or_else(gone)?)?;
        }
        writer.publish()?;
        (0..chunks).try_for_each(|chunk| stage.discard(chunk))?;
        let lists = self.open()?.ok_or_else(|| Error::usage("the graph is damaged", "check the disk"))?;
        let _ = self.lists.set(lists);
        Ok(())
    }

    fn memory(&self, _: usize, _: usize) -> Option<MemoryPlan> {
        let GraphOver { search, documents, keep, .. } = &self.over;
        let mut plan = search.memory(documents.len(), keep + 1)?;
        if let Some(streamed) = &mut plan.streamed {
            streamed.anchors = streamed.anchors.min(CHUNK as u64);
            streamed.passes = (documents.len() as u64).div_ceil(streamed.anchors.max(1));
        }
        Some(plan)
    }

    fn outlook(&self, seconds: f64) -> Result<Option<Outlook>> {
        /// Documents between two looks at the clock.
        const STEP: usize = 64;
        if self.lists.get().is_some() || self.open()?.is_some() {
            return Ok(None);
        }
        let all = self.over.documents.len();
        let (start, mut done) = (Instant::now(), 0);
        while done < all && (done == 0 || start.elapsed().as_secs_f64() < seconds) {
            let places = done..all.min(done + STEP);
            done = places.end;
            self.search(places)?;
        }
        let rate = done as f64 / start.elapsed().as_secs_f64().max(1e-9);
        Ok(Some(Outlook { missing: all as u64, rate }))
    }

    fn propose(&self, range: Range<usize>, depth: usize, cancel: &AtomicBool) -> Result<Neighbours> {
        let retrieved = match &self.retrieved {
            Some(r) => r.search.propose(range.clone(), r.depth, cancel)?,
            None => Neighbours::default(),
        };
        // Outside the threads' own work: making the lists asks all of them.
        self.lists()?;
        let rows: Vec<Vec<(u32, f32)>> = self.judged[range]
            .par_iter()
            .enumerate()
            .map(|(row, &anchor)| self.candidates(anchor, retrieved.row(row).0, depth))
            .collect::<Result<_>>()?;
        let mut out = Neighbours { starts: vec![0], ..Neighbours::default() };
        for row in rows {
            out.items.extend(row.iter().map(|c| c.0));
            out.scores.extend(row.iter().map(|c| c.1));
            out.starts.push(out.items.len());
        }
        Ok(out)
    }

    fn score(&self, anchor: AnchorId, items: &[ItemId], out: &mut [f32]) -> Result<()> {
        let positives = self.positives(anchor);
        match (&self.retrieved, positives.is_empty()) {
            (Some(r), true) => r.search.score(anchor, items, out),
            _ => self.likeness(&positives, &[], items, out),
        }
    }

    fn recall(&self, _: &Sample<'_>) -> Result<Option<Recall>> {
        let GraphOver { documents, keep, search, .. } = &self.over;
        let count = SAMPLE.min(documents.len());
        let places: Vec<usize> = (0..count).map(|i| i * documents.len() / count).collect();
        let mut found = Neighbours { starts: vec![0], ..Neighbours::default() };
        let mut own = [0.0];
        for &place in &places {
            let document = documents[place];
            let list = self.lists()?.of(document.0)?;
            // The search finds the document itself, too.
            search.score(document, &[ItemId(document.0)], &mut own)?;
            found.items.extend(list.items.iter().chain([&document.0]));
            found.scores.extend(list.scores.iter().chain(&own));
            found.starts.push(found.items.len());
        }
        search.recall(&Sample { anchors: &places, depth: keep + 1, found: &found })
    }

    fn families(&self, threshold: f32) -> Result<Option<Vec<u32>>> {
        let lists = self.lists()?;
        let GraphOver { documents, .. } = &self.over;
        let Some(last) = documents.last() else { return Ok(None) };
        let mut pairs = Vec::new();
        for first in (0..documents.len()).step_by(CHUNK) {
            let rows = first..documents.len().min(first + CHUNK);
            for (own, list) in documents[rows.clone()].iter().zip(lists.read(rows)?) {
                let near = list.items.iter().zip(&list.scores).filter(|(_, score)| **score >= threshold);
                pairs.extend(near.map(|(&item, _)| (own.0, item)));
            }
        }
        Ok(Some(hardrock_engine::index::connected(last.index() + 1, &pairs)))
    }

    fn exactness(&self) -> String {
        let GraphOver { search, documents, keep, .. } = &self.over;
        let further = match &self.retrieved {
            Some(r) => format!(" and of the {} best of the anchor", r.depth),
            None => String::new(),
        };
        format!(
            "neighbours of positives{further}; {keep} each for {} documents, {}",
            documents.len(),
            search.exactness()
        )
    }
}

fn save(stage: &Stage, chunk: usize, found: &Neighbours) -> Result<()> {
    let lengths: Vec<u32> = found.starts.windows(2).map(|w| (w[1] - w[0]) as u32).collect();
    stage.save(
        chunk,
        &[
            ("lengths", Array::from(&lengths[..])),
            ("items", Array::from(&found.items[..])),
            ("scores", Array::from(&found.scores[..])),
        ],
    )
}

fn load(stage: &Stage, chunk: usize) -> Result<Option<Neighbours>> {
    let Some(arrays) = stage.load(chunk)? else { return Ok(None) };
    let mut starts = vec![0];
    starts.extend(arrays.u32s("lengths")?.iter().scan(0, |sum, &n| {
        *sum += n as usize;
        Some(*sum)
    }));
    Ok(Some(Neighbours { starts, items: arrays.u32s("items")?, scores: arrays.f32s("scores")? }))
}

#[cfg(test)]
mod tests;
