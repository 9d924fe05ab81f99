//! Measures every candidate of a block against its anchor's positives, and writes p_fn beside it.

use std::sync::{Arc, OnceLock};

use hardrock_core::p_fn::{FEATURES, Measured, Standing, features, signal};
use hardrock_core::{AnchorId, Block, Facts, ItemId, Likeness, NO_RANK, Row, Signal};
use hardrock_engine::index::{Common, Forward, TfIdf, TfIdfRow, Watch};

use super::queries::{Owners, Queries};
use super::{Models, SeedRow};
use crate::read::{Dataset, NO_TEXT};
use crate::sources::{Source, with_rows};
use crate::{Error, Result};

/// What an estimator is made of.
pub struct Parts<'a> {
    /// The data.
    pub dataset: &'a Dataset,
    /// The anchors that are mined for: their labels are what seeds are made of.
    pub judged: &'a [AnchorId],
    /// Lowest grade of a positive.
    pub level: i32,
    /// The corpus as terms.
    pub forward: &'a Forward,
    /// Its weights.
    pub tfidf: Arc<TfIdf>,
    /// Similarity of two documents' vectors, where there are vectors.
    pub vectors: Option<Box<dyn Likeness + 'a>>,
    /// Column of the source whose score compares the anchor's vector.
    pub dense: Option<usize>,
}

/// Estimates p_fn.
pub struct Estimator<'a> {
    dataset: &'a Dataset,
    tfidf: Arc<TfIdf>,
    vectors: Option<Box<dyn Likeness + 'a>>,
    dense: Option<usize>,
    queries: Queries,
    owners: Owners,
    models: OnceLock<Models>,
}

/// To about three digits, as evidence is told to people: what is cut off would be most of the candidates file.
fn brief(value: f32) -> f32 {
    if value.is_finite() { f32::from_bits((value.to_bits() + 0x8000) & 0xffff_0000) } else { value }
}

/// One candidate with its features.
struct Cell {
    measured: Measured,
    features: [f64; FEATURES],
}

impl<'a> Estimator<'a> {
    /// Weighs the anchors' texts; nothing is learned yet.
    pub fn new(parts: Parts<'a>, watch: &Watch<'_>) -> Result<Self> {
        let Parts { dataset, judged, level, forward, tfidf, vectors, dense } = parts;
        let queries = Queries::new(&dataset.anchors, judged, forward, &tfidf, watch)?;
        let owners = Owners::new(dataset.items.len(), &dataset.judgements, judged, level);
        Ok(Self { dataset, tfidf, vectors, dense, queries, owners, models: OnceLock::new() })
    }

    /// The models to use from now on; the first ones stay.
    pub fn set(&self, models: Models) -> &Models {
        self.models.get_or_init(|| models)
    }

    /// Names of the signals that [`Estimator::estimate`] writes; where there are no vectors their column would say nothing.
    pub fn signals(&self) -> Vec<String> {
        let told = signal::ALL.iter().filter(|name| **name != signal::VECTORS || self.vectors.is_some());
        told.map(|name| (*name).to_owned()).collect()
    }

    /// The models, once they are learned.
    pub fn models(&self) -> Option<&Models> {
        self.models.get()
    }

    /// Writes p_fn and what was measured into the block. Before anything is learned the shipped model speaks.
    pub fn estimate(
        &self,
        block: &mut Block,
        facts: &Facts<'_>,
        sources: &[(String, &dyn Source)],
    ) -> Result<()> {
        let fallback;
        let models = match self.models.get() {
            Some(models) => models,
            None => {
                fallback = Models::shipped("nothing is learned yet");
                &fallback
            }
        };
        let mut columns: Vec<Vec<f32>> =
            signal::ALL.iter().map(|_| Vec::with_capacity(block.cells())).collect();
        for row in block.iter() {
            let id = self.dataset.anchors.id(row.anchor().0);
            let model = models.of(id).ok_or_else(|| Error::usage("the models of p_fn are damaged", ""))?;
            for cell in self.cells(&row, facts, sources)? {
                columns[0].push(model.probability(&cell.features) as f32);
                for (column, value) in columns[1..].iter_mut().zip(cell.measured.columns()) {
                    column.push(brief(value));
                }
            }
        }
        let signals = self.signals();
        let named =
            signal::ALL.iter().zip(columns).map(|(name, values)| Signal { name: (*name).into(), values });
        block.set_signals(named.filter(|s| signals.contains(&s.name)).collect())?;
        Ok(())
    }

    /// The candidates of a block that have a query of their own and are no known positive: what seeds are found among.
    pub fn seed_rows(
        &self,
        block: &Block,
        facts: &Facts<'_>,
        sources: &[(String, &dyn Source)],
        out: &mut Vec<SeedRow>,
    ) -> Result<()> {
        for row in block.iter() {
            let cells = self.cells(&row, facts, sources)?;
            let key = super::draw_key(self.dataset.anchors.id(row.anchor().0));
            for (cell, item) in cells.iter().zip(row.items()) {
                if !cell.measured.query.is_nan() && !self.same(&row, facts, *item) {
                    let Measured { cosine, query, .. } = cell.measured;
                    out.push(SeedRow { key, features: cell.features, cosine, query });
                }
            }
        }
        Ok(())
    }

    /// The features of one row's candidates, in the row's order.
    pub fn features(
        &self,
        row: &Row<'_>,
        facts: &Facts<'_>,
        sources: &[(String, &dyn Source)],
    ) -> Result<Vec<[f64; FEATURES]>> {
        Ok(self.cells(row, facts, sources)?.into_iter().map(|c| c.features).collect())
    }

    /// Whether a document is a known positive of the row's anchor, or has its text or that of a positive.
    fn same(&self, row: &Row<'_>, facts: &Facts<'_>, item: ItemId) -> bool {
        let known = facts.known.of(row.anchor());
        let text = |i: ItemId| facts.items.text.get(i.index()).copied().unwrap_or(NO_TEXT);
        let own = text(item);
        known.contains(&item)
            || row.positives().contains(&item)
            || (own != NO_TEXT
                && (facts.anchors.text.get(row.anchor().index()) == Some(&own)
                    || known.iter().chain(row.positives()).any(|&p| text(p) == own)))
    }

    fn cells(
        &self,
        row: &Row<'_>,
        facts: &Facts<'_>,
        sources: &[(String, &dyn Source)],
    ) -> Result<Vec<Cell>> {
        let measured = self.measure(row, facts)?;
        let anchor_vectors = match self.dense {
            Some(s) => row.evidence().get(s).map(|e| row.source_scores(e)),
            None => None,
        };
        let highest = |scores: &[f32]| scores.iter().copied().fold(f32::NAN, f32::max);
        let positive_vectors = match self.dense.and_then(|s| sources.get(s)) {
            Some((_, source)) if !row.positives().is_empty() => {
                let mut scores = vec![f32::NAN; row.positives().len()];
                source.score(row.anchor(), row.positives(), &mut scores)?;
                highest(&scores)
            }
            _ => f32::NAN,
        };
        let positive = highest(row.positive_scores());
        let best = highest(row.scores()).max(positive);
        let width = row.evidence().len().max(1) as f32;
        let cells = measured.into_iter().enumerate().map(|(c, measured)| {
            let proposed = row.evidence().iter().filter(|e| row.source_ranks(e)[c] != NO_RANK).count();
            let standing = Standing {
                score: row.scores()[c],
                best,
                positive,
                rank: c,
                vectors: anchor_vectors.map_or(f32::NAN, |s| s[c]),
                positive_vectors,
                agreement: proposed as f32 / width,
            };
            Cell { measured, features: features(&measured, &standing) }
        });
        Ok(cells.collect())
    }

    fn measure(&self, row: &Row<'_>, facts: &Facts<'_>) -> Result<Vec<Measured>> {
        let anchor = row.anchor();
        let more = facts.known.of(anchor).iter().filter(|p| !row.positives().contains(p));
        let positives: Vec<ItemId> = row.positives().iter().chain(more).copied().collect();
        let mut texts: Vec<TfIdfRow> =
            positives.iter().map(|p| self.tfidf.document(p.0)).collect::<std::result::Result<_, _>>()?;
        let sizes: Vec<usize> = texts.iter().map(TfIdfRow::len).collect();
        texts.push(self.queries.text(anchor.0));
        let width = texts.len();
        let mut common: Vec<Common> = Vec::with_capacity(width * row.len());
        with_rows(|rows| {
            row.items().iter().try_for_each(|item| self.tfidf.compare(&texts, item.0, rows, &mut common))
        })?;
        let mut out = vec![Measured::NOTHING; row.len()];
        for (c, (slot, cell)) in out.iter_mut().zip(common.chunks_exact(width)).enumerate() {
            for (said, &size) in cell.iter().zip(&sizes) {
                let (shared, terms) = (said.shared as f32, said.terms as usize);
                let ratio = |whole: usize| if whole > 0 { shared / whole as f32 } else { 0.0 };
                slot.cosine = slot.cosine.max(said.cosine);
                slot.jaccard = slot.jaccard.max(ratio(terms + size - said.shared as usize));
                slot.containment = slot.containment.max(ratio(terms.min(size)));
            }
            slot.covered = cell.last().map_or(f32::NAN, |said| said.covered);
            let item = row.items()[c];
            for owner in self.owners.of(item.0).iter().filter(|o| **o != anchor.0) {
                slot.query = slot.query.max(self.queries.cosine(anchor.0, *owner));
            }
        }
        let mut order: Vec<usize> = Vec::with_capacity(row.len());
        for p in 0..positives.len() {
            order.clear();
            order.extend(0..row.len());
            let near = |c: usize| common[c * width + p].cosine;
            order.sort_by(|&a, &b| near(b).total_cmp(&near(a)).then(row.items()[a].cmp(&row.items()[b])));
            // A positive among the candidates is nobody's neighbour.
            let others = order.iter().filter(|&&c| !positives.contains(&row.items()[c]));
            for (rank, &c) in others.enumerate() {
                out[c].neighbour = out[c].neighbour.min(rank as f32);
            }
        }
        if let Some(vectors) = &self.vectors {
            let mut values = vec![f32::NAN; row.len()];
            for &positive in &positives {
                vectors.likeness(positive, row.items(), &mut values)?;
                out.iter_mut().zip(&values).for_each(|(m, &v)| m.vectors = m.vectors.max(v));
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::brief;

    #[test]
    fn evidence_keeps_three_digits_and_small_ranks_are_exact() {
        for value in [0.0, 0.123_456, 0.999_9, 1.0, -0.5, 17.25] {
            assert!((brief(value) - value).abs() <= value.abs() / 256.0, "{value}: {}", brief(value));
        }
        assert!((0..256).all(|rank| brief(rank as f32) == rank as f32));
        assert!(brief(f32::NAN).is_nan() && brief(f32::INFINITY) == f32::INFINITY);
    }
}
