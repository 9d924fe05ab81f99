//! Drops candidates that say word for word what the anchor or one of its positives says.
//!
//! ## Rule
//! A cell goes when the hash of its normalised text equals that of the anchor, or of a positive of the anchor (or of an
//! anchor with the same text). The verdict names the positive; where it names none, the anchor itself was meant.
//!
//! ## Seen in
//! FlagEmbedding's `hn_mine.py` drops texts equal to the query or a positive; sentence-transformers only those equal to a
//! positive, so that in Quora-like sets an anchor can be its own negative.

use serde::{Deserialize, Serialize};

use super::{needed, positives};
use crate::{Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// No parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {}

impl Text {
    /// Nothing can be wrong.
    pub fn check(self) -> Result<Self> {
        Ok(self)
    }
}

impl Filter for Text {
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        let texts = needed(Some(&facts.items.text), "text", "the texts of the documents")?;
        let anchors = needed(Some(&facts.anchors.text), "text", "the texts of the anchors")?;
        for row in block.iter() {
            let anchor = anchors.get(row.anchor().index());
            let positives = positives(&row, facts);
            for position in row.live() {
                let text = texts.get(row.items()[position].index()).filter(|&&text| text != 0);
                let Some(text) = text else { continue };
                let verdict = Verdict::new(Reason::Text, 1.0, 1.0);
                if Some(text) == anchor {
                    out.drop(&row, position, verdict);
                } else if let Some(&p) = positives.iter().find(|p| texts.get(p.index()) == Some(text)) {
                    out.drop(&row, position, verdict.against(p));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, judge, row};
    use crate::{Error, ItemId};

    #[test]
    fn the_verdict_tells_the_anchor_from_a_positive() -> Result<()> {
        let mut world = World::default();
        world.anchors.text = vec![7];
        world.items.text = vec![5, 7, 9, 5];
        let verdicts = judge(&Text {}, row(&[(1, 0.9), (2, 0.8), (3, 0.7)], &[(0, 1.0)]), &world)?;
        let against: Vec<_> = verdicts.iter().map(|v| v.map(|v| v.against)).collect();
        assert_eq!(against, [Some(None), None, Some(Some(ItemId(0)))]);
        Ok(())
    }

    #[test]
    fn without_texts_it_says_what_is_missing() {
        let got = judge(&Text {}, row(&[(1, 0.9)], &[]), &World::default());
        assert_eq!(got, Err(Error::Missing { stage: "text", what: "the texts of the documents" }));
    }
}
