//! How well a table of token vectors finds the positives of held-out anchors: exact search over the whole corpus.

use std::sync::atomic::AtomicBool;

use hardrock_core::metrics::{Metric, Profile, Ranking, Retrieved};
use hardrock_engine::encoders::Encoder;
use hardrock_engine::encoders::Tensor;
use hardrock_engine::encoders::static_bag::StaticBag;
use hardrock_engine::index::flat::{Flat, Watch};
use hardrock_engine::index::rows::Matrix;
use hardrock_engine::kernel::{Isa, dot};
use serde::{Deserialize, Serialize};

use super::examples::Examples;
use super::health::{self, Health};
use super::tokens::Tokens;
use crate::mine::check;
use crate::read::Judgements;
use crate::{Error, Result};

/// A model's worth at one point of its training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// nDCG@10 of the held-out anchors; none where nothing is held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ndcg: Option<f64>,
    /// The state of the vectors.
    pub health: Health,
}

/// What evaluation looks at.
pub(crate) struct Evaluation<'a> {
    pub(crate) examples: &'a Examples,
    pub(crate) items: &'a Tokens,
    pub(crate) anchors: &'a Tokens,
    pub(crate) judgements: &'a Judgements,
    pub(crate) level: i32,
    /// Bytes of packed documents that a search may hold.
    pub(crate) budget: usize,
}

/// Ranks that the metric looks at.
const RANKS: usize = 10;

impl Evaluation<'_> {
    /// Measures a table `[vocabulary][dim]`.
    pub(crate) fn measure(&self, table: &[f32], dim: usize, cancel: &AtomicBool) -> Result<Measured> {
        let shape = vec![table.len() / dim, dim];
        let bag = StaticBag::new("embedding.weight", Tensor { shape, values: table.to_vec() })?;
        let documents = self.encode(&bag, self.items, 0..self.items.len() as u32, cancel)?;
        let held_out = !self.examples.held_out.is_empty();
        let asked: Vec<u32> = if held_out {
            self.examples.held_out.clone()
        } else {
            let mut some: Vec<u32> = self.examples.pairs.iter().map(|&(anchor, _)| anchor).collect();
            some.dedup();
            let step = some.len().div_ceil(health::SAMPLE).max(1);
            some.into_iter().step_by(step).collect()
        };
        let anchors = self.encode(&bag, self.anchors, asked.iter().copied(), cancel)?;
        // Enough ranks for the metric, and one document more than an anchor has positives.
        let most = asked.iter().map(|&a| self.examples.known[a as usize].len()).max().unwrap_or(0).min(100);
        let watch = Watch { cancel: Some(cancel), pairs: None };
        let flat = Flat::new(&documents, self.budget, watch)?;
        let depth = RANKS.max(most + 1).min(self.items.len());
        let found = flat.search(&anchors, 0..asked.len(), depth)?;
        let metric: Metric =
            "ndcg@10".parse().map_err(|_| Error::usage("no metric is called ndcg@10", ""))?;
        let rules = Profile::Trec.rules(metric, self.level);
        let (mut ndcg, mut alignment, mut positive, mut hardest, mut counted) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (row, &anchor) in asked.iter().enumerate() {
            let known = &self.examples.known[anchor as usize];
            let (items, scores) = found.row(row);
            let names: Vec<String> = items.iter().map(|item| format!("{item:010}")).collect();
            let (judged, grades) = self.judgements.of(anchor);
            let retrieved: Vec<Retrieved<'_>> = items
                .iter()
                .zip(scores)
                .zip(&names)
                .take(RANKS)
                .map(|((&item, &score), name)| Retrieved {
                    doc: name,
                    score: f64::from(score),
                    grade: judged.iter().position(|&other| other == item).map(|at| grades[at]),
                    judged_anywhere: true,
                })
                .collect();
            let ranking = Ranking::new(&retrieved, grades, &rules)
                .map_err(|e| Error::usage(e.to_string(), "lower optimiser.rate"))?;
            ndcg += ranking.value(metric);
            let vector = &anchors.as_slice()[row * dim..][..dim];
            let cosine =
                |&item: &u32| dot(Isa::best(), vector, &documents.as_slice()[item as usize * dim..][..dim]);
            let closest = known.iter().map(cosine).fold(f32::NEG_INFINITY, f32::max);
            let wrong = items
                .iter()
                .zip(scores)
                .find(|(item, _)| known.binary_search(&self.examples.same[**item as usize]).is_err());
            if let (true, Some((_, &wrong))) = (closest.is_finite(), wrong) {
                positive += f64::from(closest);
                hardest += f64::from(wrong);
                alignment += 2.0 - 2.0 * f64::from(closest);
                counted += 1.0;
            }
        }
        let mean = |sum: f64| if counted > 0.0 { sum / counted } else { 0.0 };
        let step = self.items.len().div_ceil(health::SAMPLE).max(1);
        let sample: Vec<f32> = documents.as_slice().chunks(dim).step_by(step).flatten().copied().collect();
        let (uniformity, effective_rank) = health::spread(&sample, dim);
        let health = Health {
            alignment: mean(alignment),
            uniformity,
            effective_rank,
            positive: mean(positive),
            hardest: mean(hardest),
        };
        Ok(Measured { ndcg: held_out.then(|| ndcg / asked.len() as f64), health })
    }

    fn encode(
        &self,
        bag: &StaticBag,
        tokens: &Tokens,
        records: impl Iterator<Item = u32>,
        cancel: &AtomicBool,
    ) -> Result<Matrix> {
        check(cancel)?;
        let texts: Vec<&[u32]> = records.map(|record| tokens.of(record)).collect();
        let mut out = vec![0.0; texts.len() * bag.dim()];
        bag.encode(&texts, &mut out)?;
        Ok(Matrix::new(out, bag.dim())?.normalised())
    }
}
