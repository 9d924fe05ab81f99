//! From proposals to a judged block: union over sources, one judging score, the filters in their order, the selection.

use std::sync::OnceLock;

use hardrock_core::filters::PFn;
use hardrock_core::{
    AnchorId, Block, BlockBuilder, Facts, Filter, ItemId, NO_RANK, NewRow, Proposal, Rng, Selector, Verdicts,
};
use hardrock_engine::index::Neighbours;

use super::opinions::Failure;
use super::spec::Shortfall;
use crate::candidates::Selection;
use crate::p_fn::Estimator;
use crate::read::{Judgements, NO_TEXT};
use crate::sources::{Source, draw};
use crate::{Error, Result};

/// Constant of reciprocal rank fusion (Cormack, Clarke, Büttcher 2009).
const RRF_K: f32 = 60.0;

/// Stage number of the draws that fill a shortfall.
const FILL: u64 = 0x6669_6c6c;

/// Name of the judging score when sources are fused by rank.
pub const RRF: &str = "rrf";

/// The score in which candidates are ordered and margins measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreBy {
    /// The score of this source.
    Source(usize),
    /// Sum over sources of 1 / (60 + rank), rank from 1.
    Rrf,
}

/// Everything that judging a row needs; the same for all rows of a run.
pub struct Judge<'a> {
    /// The sources, in column order.
    pub sources: Vec<(String, &'a dyn Source)>,
    /// The judging score.
    pub score_by: ScoreBy,
    /// The filters, in the order in which they run.
    pub filters: Vec<Box<dyn Filter>>,
    /// Those of the filters that ask models.
    pub consulted: std::ops::Range<usize>,
    /// What went wrong with a model.
    pub failure: &'a Failure,
    /// How to choose.
    pub selector: Box<dyn Selector>,
    /// What filters look up.
    pub facts: Facts<'a>,
    /// Labels.
    pub judgements: &'a Judgements,
    /// Lowest grade that counts as positive.
    pub level: i32,
    /// Per anchor: a hash of its string id, the key of its random draws.
    pub keys: &'a [u64],
    /// Negatives per anchor.
    pub negatives: usize,
    /// What to do when there are too few.
    pub shortfall: Shortfall,
    /// Seed of the run.
    pub seed: u64,
    /// Documents in the corpus.
    pub documents: usize,
    /// Estimates p_fn, where the job wants it.
    pub p_fn: Option<Estimator<'a>>,
    /// Highest p_fn that stays by a promise, once it is known.
    pub limit: OnceLock<f32>,
}

/// A block with its verdicts, what was chosen, and what was filled in.
#[derive(Debug)]
pub struct Judged {
    /// Candidates and verdicts.
    pub block: Block,
    /// Chosen positions per row, in the order to be written.
    pub selection: Selection,
    /// Per row: random documents that fill a shortfall; no cells of the block.
    pub filled: Vec<Vec<ItemId>>,
}

impl Judge<'_> {
    /// The candidates of the anchors `anchors`, whose proposals are rows `first..` of each source's `proposals`, with the
    /// verdicts of the filters that ask no model.
    pub fn screen(&self, anchors: &[AnchorId], first: usize, proposals: &[Neighbours]) -> Result<Block> {
        let mut block = self.gather(anchors, first, proposals)?;
        if let Some(estimator) = &self.p_fn {
            estimator.estimate(&mut block, &self.facts, &self.sources)?;
        }
        self.apply(&self.filters[..self.consulted.start], &mut block)?;
        Ok(block)
    }

    /// Asks models about what is alive. They use all threads, so one block follows another.
    pub fn consult(&self, block: &mut Block) -> Result<()> {
        let filters = &self.filters[self.consulted.clone()];
        self.apply(filters, block).map_err(|e| self.failure.restore(e))
    }

    fn apply(&self, filters: &[Box<dyn Filter>], block: &mut Block) -> Result<()> {
        for filter in filters {
            let mut verdicts = Verdicts::default();
            filter.judge(block, &self.facts, &mut verdicts)?;
            block.apply(verdicts);
        }
        Ok(())
    }

    /// The last filters, and the selection.
    pub fn conclude(&self, mut block: Block) -> Result<Judged> {
        self.apply(&self.filters[self.consulted.end..], &mut block)?;
        if let Some(&max) = self.limit.get() {
            self.apply(&[Box::new(PFn { max })], &mut block)?;
        }
        let mut selection = Selection { starts: vec![0], positions: Vec::new() };
        let mut filled = Vec::with_capacity(block.rows());
        for row in block.iter() {
            let key = self.keys[row.anchor().index()];
            self.selector.select(&row, self.negatives, self.seed, key, &mut selection.positions)?;
            let chosen = selection.positions.len() - selection.starts[selection.starts.len() - 1];
            selection.starts.push(selection.positions.len());
            let missing = match self.shortfall {
                Shortfall::Random => self.negatives.saturating_sub(chosen),
                Shortfall::Fewer | Shortfall::Drop => 0,
            };
            filled.push(self.fill(row.anchor(), row.items(), missing));
        }
        Ok(Judged { block, selection, filled })
    }

    /// Random documents that are no candidate, no known positive, and have neither the anchor's text nor a positive's.
    fn fill(&self, anchor: AnchorId, candidates: &[ItemId], count: usize) -> Vec<ItemId> {
        if count == 0 {
            return Vec::new();
        }
        let known = self.facts.known.of(anchor);
        let text = |i: ItemId| self.facts.items.text.get(i.index());
        let own = self.facts.anchors.text.get(anchor.index());
        let same = |a: Option<&u64>, b: Option<&u64>| a == b && a != Some(&NO_TEXT);
        let skip = |i: u32| {
            let item = ItemId(i);
            known.contains(&item)
                || candidates.contains(&item)
                || same(text(item), own)
                || known.iter().any(|&p| same(text(p), text(item)))
        };
        let mut rng = Rng::at(self.seed, FILL, self.keys[anchor.index()]);
        draw(&mut rng, self.documents, count, skip).into_iter().map(ItemId).collect()
    }

    /// The union of all sources' candidates, with every score that can be had.
    pub(super) fn gather(
        &self,
        anchors: &[AnchorId],
        first: usize,
        proposals: &[Neighbours],
    ) -> Result<Block> {
        let width = self.sources.len();
        let mut builder = BlockBuilder::new(self.sources.iter().map(|(name, _)| name.as_str()));
        let mut union: Vec<(u32, usize, Proposal)> = Vec::new();
        let (mut items, mut said, mut scores): (Vec<ItemId>, Vec<Proposal>, Vec<f32>) = Default::default();
        for (row, &anchor) in anchors.iter().enumerate() {
            union.clear();
            for (source, found) in proposals.iter().enumerate() {
                let (Some(&from), Some(&to)) =
                    (found.starts.get(first + row), found.starts.get(first + row + 1))
                else {
                    let got = found.starts.len();
                    return Err(hardrock_core::Error::Shape {
                        what: "rows of a source",
                        expected: first + row + 2,
                        got,
                    }
                    .into());
                };
                let cells = found.items[from..to].iter().zip(&found.scores[from..to]).enumerate();
                union.extend(
                    cells.map(|(rank, (&i, &score))| (i, source, Proposal { score, rank: rank as u32 })),
                );
            }
            union.sort_unstable_by_key(|&(item, source, p)| (item, source, p.rank));
            items.clear();
            said.clear();
            for &(item, source, proposal) in &union {
                if items.last() != Some(&ItemId(item)) {
                    items.push(ItemId(item));
                    said.extend(std::iter::repeat_n(Proposal::NONE, width));
                }
                let at = (items.len() - 1) * width + source;
                if said[at].rank == NO_RANK {
                    said[at] = proposal;
                }
            }
            self.complete(anchor, &items, &mut said)?;
            let positives: Vec<ItemId> =
                self.judgements.positives(anchor.0, self.level).map(ItemId).collect();
            let positive_scores = self.positive_scores(anchor, &positives, &items, &said)?;
            scores.clear();
            scores.extend(said.chunks_exact(width).map(|cell| self.judging_score(cell)));
            builder.push_row(&NewRow {
                anchor,
                items: &items,
                scores: &scores,
                proposals: &said,
                positives: &positives,
                positive_scores: &positive_scores,
            })?;
        }
        Ok(builder.finish())
    }

    /// Asks each source to score the candidates that only others proposed.
    fn complete(&self, anchor: AnchorId, items: &[ItemId], said: &mut [Proposal]) -> Result<()> {
        let width = self.sources.len();
        for (s, (_, source)) in self.sources.iter().enumerate() {
            let missing: Vec<usize> =
                (0..items.len()).filter(|c| said[c * width + s].rank == NO_RANK).collect();
            if missing.is_empty() {
                continue;
            }
            let wanted: Vec<ItemId> = missing.iter().map(|&c| items[c]).collect();
            let mut scores = vec![f32::NAN; wanted.len()];
            source.score(anchor, &wanted, &mut scores)?;
            for (&c, score) in missing.iter().zip(scores) {
                said[c * width + s].score = score;
            }
        }
        Ok(())
    }

    fn judging_score(&self, cell: &[Proposal]) -> f32 {
        match self.score_by {
            ScoreBy::Source(s) => cell[s].score,
            ScoreBy::Rrf => {
                cell.iter().filter(|p| p.rank != NO_RANK).map(|p| 1.0 / (RRF_K + 1.0 + p.rank as f32)).sum()
            }
        }
    }

    /// The positives on the judging scale. Under fusion a positive that no source proposed has no score.
    fn positive_scores(
        &self,
        anchor: AnchorId,
        positives: &[ItemId],
        items: &[ItemId],
        said: &[Proposal],
    ) -> Result<Vec<f32>> {
        let width = self.sources.len();
        match self.score_by {
            ScoreBy::Source(s) => {
                let mut scores = vec![f32::NAN; positives.len()];
                let source = self.sources.get(s).map(|(_, source)| source);
                let source = source.ok_or_else(|| Error::usage("the judging source is not there", ""))?;
                source.score(anchor, positives, &mut scores)?;
                Ok(scores)
            }
            ScoreBy::Rrf => Ok(positives
                .iter()
                .map(|p| match items.binary_search(p) {
                    Ok(c) => self.judging_score(&said[c * width..(c + 1) * width]),
                    Err(_) => f32::NAN,
                })
                .collect()),
        }
    }
}
