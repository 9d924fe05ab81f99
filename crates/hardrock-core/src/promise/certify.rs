//! What judged slots prove.

use serde::{Deserialize, Serialize};

use crate::stats::{binomial_at_most, upper_bound};

/// Slots up to which "how many more" is looked for.
const MOST: u64 = 1 << 20;

/// One slot at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nobody holds it.
    Empty,
    /// Its holder is a true negative.
    True,
    /// Its holder is a false negative, or the judge was not sure.
    False,
}

/// The kind of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// At the confidence asked for, the share is at most α (Learn-then-Test, exact binomial).
    Confident,
    /// The share is at most α on average over repetitions (conformal risk control): in a third of them it is above.
    Average,
}

/// A proved threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certificate {
    /// Place in the grid.
    pub threshold: usize,
    /// Filled slots judged at this threshold.
    pub slots: u64,
    /// False negatives among them, the running maximum over stricter thresholds included.
    pub hits: u64,
    /// Upper bound on the share at the confidence asked for (Clopper-Pearson).
    pub upper: f64,
}

/// Why nothing could be proved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refusal {
    /// Filled slots judged at the strictest threshold.
    pub slots: u64,
    /// False negatives among them.
    pub hits: u64,
    /// Slots still missing, at the rate seen so far; `None` where no number would do.
    pub more: Option<u64>,
}

/// The loosest threshold of an unbroken run from the strictest on that the verdicts prove. `slots[i]` holds one loss per
/// threshold, strict to loose.
///
/// # Errors
/// [`Refusal`] where not even the strictest threshold is proved.
pub fn certify(slots: &[Vec<Loss>], alpha: f64, confidence: f64, kind: Kind) -> Result<Certificate, Refusal> {
    let thresholds = slots.iter().map(Vec::len).min().unwrap_or(0);
    let level = 1.0 - confidence;
    let mut best = None;
    let mut hit = vec![false; slots.len()];
    let mut first = (0, 0);
    for g in 0..thresholds {
        let (mut n, mut hits) = (0, 0);
        for (seen, slot) in hit.iter_mut().zip(slots) {
            *seen |= slot[g] == Loss::False;
            n += u64::from(slot[g] != Loss::Empty);
            hits += u64::from(*seen);
        }
        if g == 0 {
            first = (n, hits);
        }
        let passes = n > 0
            && match kind {
                Kind::Confident => binomial_at_most(hits, n, alpha) <= level,
                Kind::Average => (hits + 1) as f64 / (n + 1) as f64 <= alpha,
            };
        if !passes {
            break;
        }
        best = Some(Certificate { threshold: g, slots: n, hits, upper: upper_bound(hits, n, level) });
    }
    best.ok_or_else(|| Refusal {
        slots: first.0,
        hits: first.1,
        more: more_needed(first.1, first.0, alpha, confidence, kind),
    })
}

/// The fewest slots that can prove α, when none of them is a false negative.
pub fn floor(alpha: f64, confidence: f64, kind: Kind) -> u64 {
    match kind {
        Kind::Confident => ((1.0 - confidence).ln() / (1.0 - alpha).ln()).ceil() as u64,
        Kind::Average => (1.0 / alpha - 1.0 - 1e-9).ceil() as u64,
    }
}

/// Slots missing until α is proved if false negatives go on at the rate seen; `None` where the rate is not below α.
pub fn more_needed(hits: u64, n: u64, alpha: f64, confidence: f64, kind: Kind) -> Option<u64> {
    if hits == 0 {
        return Some(floor(alpha, confidence, kind).saturating_sub(n));
    }
    let rate = hits as f64 / n.max(1) as f64;
    if rate >= alpha {
        return None;
    }
    let enough = |m: u64| {
        let expected = (rate * m as f64).ceil() as u64;
        match kind {
            Kind::Confident => binomial_at_most(expected, m, alpha) <= 1.0 - confidence,
            Kind::Average => (expected + 1) as f64 / (m + 1) as f64 <= alpha,
        }
    };
    let mut high = n.max(1);
    while high <= MOST && !enough(high) {
        high *= 2;
    }
    if high > MOST {
        return None;
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = (low + high) / 2;
        if enough(middle) { high = middle } else { low = middle }
    }
    Some(high.saturating_sub(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn the_floors_are_those_of_the_formulae() {
        let at = |alpha| (floor(alpha, 0.9, Kind::Confident), floor(alpha, 0.9, Kind::Average));
        assert_eq!([0.01, 0.02, 0.05, 0.1].map(at), [(230, 99), (114, 49), (45, 19), (22, 9)]);
    }

    #[test]
    fn a_false_negative_at_a_strict_threshold_counts_at_the_looser_ones() {
        // The same slot: its holder changes from a false negative to a true one.
        let mut slots = vec![vec![Loss::True, Loss::True]; 60];
        slots[0] = vec![Loss::False, Loss::True];
        let c = certify(&slots, 0.1, 0.9, Kind::Confident).unwrap();
        assert_eq!((c.threshold, c.slots, c.hits), (1, 60, 1));
        assert!(c.upper < 0.1 && c.upper > 1.0 / 60.0);
    }

    #[test]
    fn the_walk_stops_at_the_first_threshold_that_is_not_proved() {
        let mut slots = vec![vec![Loss::True, Loss::True, Loss::True]; 100];
        slots.iter_mut().take(20).for_each(|s| s[1] = Loss::False);
        assert_eq!(certify(&slots, 0.05, 0.9, Kind::Confident).unwrap().threshold, 0);
    }

    #[test]
    fn too_few_slots_are_refused_with_the_number_missing() {
        let refusal = certify(&vec![vec![Loss::True]; 30], 0.05, 0.9, Kind::Confident).unwrap_err();
        assert_eq!((refusal.slots, refusal.more), (30, Some(15)));
        assert!(certify(&vec![vec![Loss::True]; 30], 0.05, 0.9, Kind::Average).is_ok());
        let none = certify(&vec![vec![Loss::False]; 30], 0.05, 0.9, Kind::Confident).unwrap_err();
        assert_eq!(none.more, None);
        assert!(certify(&[], 0.05, 0.9, Kind::Average).is_err());
    }

    #[test]
    fn empty_slots_are_no_evidence() {
        let slots = [vec![vec![Loss::Empty]; 100], vec![vec![Loss::True]; 30]].concat();
        assert_eq!(certify(&slots, 0.05, 0.9, Kind::Confident).unwrap_err().slots, 30);
    }

    #[test]
    fn more_slots_at_the_rate_seen_are_enough() {
        let more = more_needed(1, 50, 0.05, 0.9, Kind::Confident).unwrap();
        let n = 50 + more;
        assert!(binomial_at_most((0.02 * n as f64).ceil() as u64, n, 0.05) <= 0.1, "{more}");
    }

    #[test]
    fn the_share_is_broken_in_at_most_one_of_ten_repetitions() {
        // True share at threshold g is g + 1 percent; 5 % is threshold 4.
        let mut broken = 0;
        for rep in 0..400 {
            let slots: Vec<Vec<Loss>> = (0..300)
                .map(|i| {
                    let u = Rng::at(rep, 0, i).unit();
                    (0..10)
                        .map(|g| if u < f64::from(g + 1) / 100.0 { Loss::False } else { Loss::True })
                        .collect()
                })
                .collect();
            broken += u32::from(certify(&slots, 0.05, 0.9, Kind::Confident).is_ok_and(|c| c.threshold > 4));
        }
        assert!(broken <= 55, "{broken} of 400");
    }
}
