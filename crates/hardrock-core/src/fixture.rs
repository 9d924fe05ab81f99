//! A small world for the tests of filters and selectors: one row, and facts that are easy to compute by hand.

use crate::{
    AnchorId, Block, BlockBuilder, Catalogue, Facts, Filter, ItemId, Known, Likeness, NewRow, Opinion,
    Outside, Overlap, Question, Result, Taxonomy, Verdict, Verdicts,
};

/// Facts for one test.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) items: Catalogue,
    pub(crate) anchors: Catalogue,
    pub(crate) known: Known,
    pub(crate) judged: Known,
    pub(crate) taxonomy: Option<Taxonomy>,
    /// Whether documents can be compared: see [`Distance`].
    pub(crate) related: bool,
    /// Whether an outside program runs: see [`Odd`].
    pub(crate) program: bool,
    /// Whether models are open: see [`Hundredths`].
    pub(crate) model: bool,
}

impl World {
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            items: &self.items,
            anchors: &self.anchors,
            known: &self.known,
            judged: &self.judged,
            likeness: self.related.then_some(&Distance),
            overlap: self.related.then_some(&Distance),
            taxonomy: self.taxonomy.as_ref(),
            guide: self.model.then_some(&Hundredths(-1.0)),
            cross_encoder: self.model.then_some(&Hundredths(1.0)),
            outside: self.program.then_some(&Odd),
        }
    }
}

/// Similarity falls by a hundredth per unit of distance between the item numbers.
struct Distance;

impl Distance {
    fn fill(item: ItemId, others: &[ItemId], out: &mut [f32]) {
        for (value, other) in out.iter_mut().zip(others) {
            *value = 100u32.saturating_sub(item.0.abs_diff(other.0)) as f32 / 100.0;
        }
    }
}

impl Likeness for Distance {
    fn name(&self) -> &'static str {
        "distance"
    }
    fn likeness(&self, item: ItemId, others: &[ItemId], out: &mut [f32]) -> Result<()> {
        Self::fill(item, others, out);
        Ok(())
    }
}

impl Overlap for Distance {
    fn jaccard(&self, item: ItemId, others: &[ItemId], out: &mut [f32]) -> Result<()> {
        Self::fill(item, others, out);
        Ok(())
    }
}

/// Scores an item by so many hundredths of its number.
struct Hundredths(f32);

impl Opinion for Hundredths {
    fn score(&self, pairs: &[(AnchorId, ItemId)], out: &mut [f32]) -> Result<()> {
        out.iter_mut().zip(pairs).for_each(|(out, (_, item))| *out = self.0 * item.0 as f32 / 100.0);
        Ok(())
    }
}

/// Drops odd items, with their number as value; forgets item 13.
struct Odd;

impl Outside for Odd {
    fn judge(&self, questions: &[Question]) -> Result<Vec<Vec<Option<f32>>>> {
        let answer = |i: &ItemId| (i.0 % 2 == 1).then_some(i.0 as f32);
        let answers = |q: &Question| q.candidates.iter().filter(|i| i.0 != 13).map(answer).collect();
        Ok(questions.iter().map(answers).collect())
    }
}

/// A block of one row without sources: anchor 0 with (item, judging score) of its candidates and of its positives.
pub(crate) fn row(candidates: &[(u32, f32)], positives: &[(u32, f32)]) -> Block {
    let split =
        |l: &[(u32, f32)]| -> (Vec<ItemId>, Vec<f32>) { l.iter().map(|&(i, s)| (ItemId(i), s)).unzip() };
    let ((items, scores), (positives, positive_scores)) = (split(candidates), split(positives));
    let mut b = BlockBuilder::new(["run"; 0]);
    b.push_row(&NewRow {
        items: &items,
        scores: &scores,
        positives: &positives,
        positive_scores: &positive_scores,
        ..NewRow::empty(AnchorId(0))
    })
    .unwrap();
    b.finish()
}

/// Verdicts of the first row after this filter.
pub(crate) fn judge(filter: &dyn Filter, mut block: Block, world: &World) -> Result<Vec<Option<Verdict>>> {
    let mut verdicts = Verdicts::default();
    filter.judge(&block, &world.facts(), &mut verdicts)?;
    block.apply(verdicts);
    Ok(block.row(0).verdicts().to_vec())
}

/// Which candidates of the first row are dropped after this filter.
pub(crate) fn drops(filter: &dyn Filter, block: Block, world: &World) -> Result<Vec<bool>> {
    Ok(judge(filter, block, world)?.iter().map(Option::is_some).collect())
}
