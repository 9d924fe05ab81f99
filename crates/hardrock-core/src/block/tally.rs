//! Counts that must add up: retrieved = kept + dropped, in every block and over all of them.

use serde::{Deserialize, Serialize};

use super::{Reason, Verdict};

/// Cells by fate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Cells that live.
    pub kept: u64,
    /// Cells dropped, by the reason's place in [`Reason::ALL`].
    dropped: Vec<u64>,
}

impl Tally {
    pub(super) fn of(verdicts: &[Option<Verdict>]) -> Self {
        let mut tally = Self { kept: 0, dropped: vec![0; Reason::ALL.len()] };
        for verdict in verdicts {
            match verdict {
                None => tally.kept += 1,
                Some(v) => tally.dropped[v.reason as usize] += 1,
            }
        }
        tally
    }

    /// All cells.
    pub fn retrieved(&self) -> u64 {
        self.kept + self.dropped.iter().sum::<u64>()
    }

    /// Cells that went for this reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    /// Adds the counts of another block.
    pub fn add(&mut self, other: &Self) {
        self.kept += other.kept;
        self.dropped.resize(self.dropped.len().max(other.dropped.len()), 0);
        for (sum, n) in self.dropped.iter_mut().zip(&other.dropped) {
            *sum += n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up_over_blocks() {
        let drop = |reason| Some(Verdict::new(reason, 1.0, 0.5));
        let mut sum = Tally::default();
        sum.add(&Tally::of(&[None, drop(Reason::Kin), drop(Reason::Known), drop(Reason::Kin)]));
        sum.add(&Tally::of(&[None, drop(Reason::Command)]));
        assert_eq!((sum.retrieved(), sum.kept), (6, 2));
        let counts = [Reason::Kin, Reason::Known, Reason::Command, Reason::Near].map(|r| sum.dropped(r));
        assert_eq!(counts, [2, 1, 1, 0]);
    }
}
