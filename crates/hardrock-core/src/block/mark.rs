//! What a cell of a training block is, in one byte.

use super::Reason;

/// What a cell is, in one byte. Dropped is a reason, never a score of 0 or -inf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark(u8);

impl Mark {
    /// Counts as a negative.
    pub const LIVE: Self = Self(0);
    /// A positive of the row.
    pub const POSITIVE: Self = Self(u8::MAX);
    /// No cell at all: fills rows that have fewer cells of their own than others.
    pub const ABSENT: Self = Self(u8::MAX - 1);

    /// A cell that no longer counts, and why.
    pub fn dropped(reason: Reason) -> Self {
        Self(reason as u8 + 1)
    }

    /// Why it was dropped, if it was.
    pub fn reason(self) -> Option<Reason> {
        self.0.checked_sub(1).and_then(|at| Reason::ALL.get(usize::from(at)).copied())
    }

    /// Whether losses read the cell: a positive, or a live negative.
    #[inline]
    pub fn is_kept(self) -> bool {
        self.0.wrapping_add(1) <= 1
    }

    /// Whether it counts as a negative.
    pub fn is_live(self) -> bool {
        self == Self::LIVE
    }

    /// Whether it is a positive of the row.
    pub fn is_positive(self) -> bool {
        self == Self::POSITIVE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_into_a_mark_and_comes_back() {
        for &reason in Reason::ALL {
            let mark = Mark::dropped(reason);
            assert_eq!(mark.reason(), Some(reason));
            assert!(!mark.is_kept() && mark != Mark::ABSENT);
        }
        assert_eq!([Mark::LIVE, Mark::POSITIVE, Mark::ABSENT].map(Mark::reason), [None; 3]);
        assert_eq!([Mark::LIVE, Mark::POSITIVE, Mark::ABSENT].map(Mark::is_kept), [true, true, false]);
    }
}
