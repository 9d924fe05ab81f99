//! One query's retrieved documents in order, and the formulas over them.
//!
//! The order is kept as groups: documents of one group could stand in any order among themselves. A tie policy that
//! orders documents makes groups of one; [`Ties::Expected`] makes a group of each tie. Every formula is the exact
//! expectation over the orders within groups, which for groups of one is the plain definition, in the same arithmetic.

use std::cmp::Ordering;
use std::ops::Range;

use super::{Kind, Metric, Rules, ScoreType, Ties};

/// A retrieved document, before ranking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retrieved<'a> {
    /// Document id; unique within a query's documents.
    pub doc: &'a str,
    /// Score, higher is better; any number but NaN.
    pub score: f64,
    /// Grade in this query's judgements; `None` = not named there. Negative = named, but neither relevant nor not.
    pub grade: Option<i32>,
    /// Some query's judgements name the document.
    pub judged_anywhere: bool,
}

/// A score that is not a number has no rank.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the score of document `{doc}` is not a number")]
pub struct NotANumber {
    /// The document's id.
    pub doc: String,
}

/// Documents that stand side by side; all counts of documents.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    size: usize,
    relevant: usize,
    non_relevant: usize,
    judged: usize,
    holes: usize,
    /// Sums over the documents.
    gain: f64,
    gain_exp: f64,
}

/// A query's documents, ranked.
#[derive(Debug, Clone)]
pub struct Ranking {
    groups: Vec<Group>,
    /// Ranks (from 0) of each run of two or more equal scores, and whether their gains differ.
    ties: Vec<(Range<usize>, bool)>,
    retrieved: usize,
    /// Judged relevant documents, retrieved or not.
    relevant: usize,
    /// Judged non-relevant documents, retrieved or not.
    non_relevant: usize,
    /// Positive gains of all judged documents, highest first.
    ideal: Vec<i32>,
    capped_map: bool,
}

impl Ranking {
    /// Ranks `retrieved` (in file order, ids unique) against the grades of all documents judged for the query.
    ///
    /// # Errors
    /// A score is NaN.
    pub fn new(retrieved: &[Retrieved<'_>], grades: &[i32], rules: &Rules) -> Result<Self, NotANumber> {
        if let Some(bad) = retrieved.iter().find(|r| r.score.is_nan()) {
            return Err(NotANumber { doc: bad.doc.to_owned() });
        }
        let gain = |grade: i32| if rules.binary { i32::from(grade >= rules.level) } else { grade.max(0) };
        let key = |r: &Retrieved<'_>| match rules.score_type {
            ScoreType::F32 => f64::from(r.score as f32),
            ScoreType::F64 => r.score,
        };
        let mut order: Vec<(f64, Retrieved<'_>)> = retrieved.iter().map(|r| (key(r), *r)).collect();
        let by_score = |a: f64, b: f64| b.partial_cmp(&a).unwrap_or(Ordering::Equal);
        // Stable sorts: `file` is what remains when only the score is compared.
        order.sort_by(|(a, x), (b, y)| {
            by_score(*a, *b).then_with(|| match rules.ties {
                Ties::DocidDesc => y.doc.cmp(x.doc),
                Ties::DocidAsc => x.doc.cmp(y.doc),
                Ties::Worst => x.grade.cmp(&y.grade),
                Ties::File | Ties::Expected => Ordering::Equal,
            })
        });

        let mut groups = Vec::with_capacity(order.len());
        let mut ties = Vec::new();
        let mut start = 0;
        for tied in order.chunk_by(|(a, _), (b, _)| a == b) {
            let part = if rules.ties == Ties::Expected { tied.len() } else { 1 };
            groups.extend(tied.chunks(part).map(|docs| Group::of(docs, rules.level, gain)));
            if let [(_, first), rest @ ..] = tied
                && !rest.is_empty()
            {
                let worth = |r: &Retrieved<'_>| gain(r.grade.unwrap_or(0));
                ties.push((start..start + tied.len(), rest.iter().any(|(_, r)| worth(r) != worth(first))));
            }
            start += tied.len();
        }
        let mut ideal: Vec<i32> = grades.iter().map(|&g| gain(g)).filter(|&g| g > 0).collect();
        ideal.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Self {
            groups,
            ties,
            retrieved: order.len(),
            relevant: grades.iter().filter(|&&g| g >= rules.level).count(),
            non_relevant: grades.iter().filter(|&&g| (0..rules.level).contains(&g)).count(),
            ideal,
            capped_map: rules.capped_map,
        })
    }

    /// Number of judged relevant documents, retrieved or not.
    pub fn relevant(&self) -> usize {
        self.relevant
    }

    /// Whether documents of equal score stand on both sides of the cut after rank `cut`.
    pub fn tied_at(&self, cut: usize) -> bool {
        self.ties.iter().any(|(ranks, _)| ranks.start < cut && cut < ranks.end)
    }

    /// Whether equal scores join documents of different gain: then the order of ties can change a metric.
    pub fn ties_matter(&self) -> bool {
        self.ties.iter().any(|(_, differ)| *differ)
    }

    /// The metric's value for this query. 0/0 is 0: no relevant document, nothing retrieved.
    pub fn value(&self, metric: Metric) -> f64 {
        let cut = metric.cut().unwrap_or(usize::MAX);
        let found = |k| self.sum(k, |g| g.relevant as f64);
        match metric.kind() {
            Kind::Ndcg => ratio(
                self.dcg(cut, |g| g.gain),
                discounted(self.ideal.iter().take(cut).map(|&g| f64::from(g))),
            ),
            Kind::NdcgExp => ratio(
                self.dcg(cut, |g| g.gain_exp),
                discounted(self.ideal.iter().take(cut).map(|&g| exponential(g))),
            ),
            Kind::Map => {
                let capped = if self.capped_map { cut.min(self.relevant) } else { self.relevant };
                ratio(self.precision_at_hits(cut), capped as f64)
            }
            Kind::Mrr => self.first_relevant(cut).0,
            Kind::Hit => self.first_relevant(cut).1,
            Kind::Recall => ratio(found(cut), self.relevant as f64),
            Kind::Precision => ratio(found(cut), cut as f64),
            Kind::RPrecision => ratio(found(self.relevant), self.relevant as f64),
            Kind::RecallCap => ratio(found(cut), cut.min(self.relevant) as f64),
            Kind::Bpref => self.bpref(),
            Kind::Judged => ratio(self.sum(cut, |g| g.judged as f64), cut.min(self.retrieved) as f64),
            Kind::Hole => ratio(self.sum(cut, |g| g.holes as f64), cut as f64),
            Kind::NumRel => self.relevant as f64,
            Kind::NumRet => self.retrieved as f64,
            Kind::NumRelRet => found(cut),
        }
    }

    /// Groups that reach into the first `cut` ranks: rank of the first document (from 0), documents within, group.
    fn within(&self, cut: usize) -> impl Iterator<Item = (usize, usize, &Group)> {
        let mut next = 0;
        self.groups.iter().map_while(move |group| {
            let start = next;
            next += group.size;
            (start < cut).then(|| (start, group.size.min(cut - start), group))
        })
    }

    /// Expected sum of a per-document quantity over the first `cut` ranks.
    fn sum(&self, cut: usize, of: impl Fn(&Group) -> f64) -> f64 {
        self.within(cut).map(|(_, taken, g)| of(g) * (taken as f64 / g.size as f64)).sum()
    }

    fn dcg(&self, cut: usize, gain: impl Fn(&Group) -> f64) -> f64 {
        let mut total = 0.0;
        for (start, taken, group) in self.within(cut) {
            let mean = gain(group) / group.size as f64;
            if mean > 0.0 {
                for rank in start..start + taken {
                    total += mean / discount(rank);
                }
            }
        }
        total
    }

    /// Expected sum of the precision at each relevant document of the first `cut` ranks.
    fn precision_at_hits(&self, cut: usize) -> f64 {
        let (mut above, mut total) = (0.0, 0.0);
        for (start, taken, group) in self.within(cut) {
            let (size, relevant) = (group.size as f64, group.relevant as f64);
            if group.relevant > 0 {
                // Given a hit here, each document of the group above it is one of the other hits with this chance.
                let other = if group.size > 1 { (relevant - 1.0) / (size - 1.0) } else { 0.0 };
                for place in 0..taken {
                    let hits = above + 1.0 + place as f64 * other;
                    total += relevant / size * (hits / (start + place + 1) as f64);
                }
            }
            above += relevant;
        }
        total
    }

    /// Expected reciprocal rank and probability of a relevant document within `cut`.
    fn first_relevant(&self, cut: usize) -> (f64, f64) {
        let Some((start, taken, group)) = self.within(cut).find(|(_, _, g)| g.relevant > 0) else {
            return (0.0, 0.0);
        };
        let (mut reciprocal, mut none_yet) = (0.0, 1.0);
        for place in 0..taken {
            let left = (group.size - place) as f64;
            let here = group.relevant as f64 / left;
            reciprocal += none_yet * here / (start + place + 1) as f64;
            none_yet *= (1.0 - here).max(0.0);
        }
        (reciprocal, 1.0 - none_yet)
    }

    fn bpref(&self) -> f64 {
        let bound = self.relevant.min(self.non_relevant) as f64;
        let term =
            |above: usize| if above == 0 { 1.0 } else { 1.0 - above.min(self.relevant) as f64 / bound };
        let (mut above, mut total) = (0, 0.0);
        for group in &self.groups {
            if group.relevant > 0 {
                // A relevant document is equally likely to have 0, 1, ... of its group's non-relevant above it.
                let mean = (above..=above + group.non_relevant).map(term).sum::<f64>()
                    / (group.non_relevant + 1) as f64;
                total += group.relevant as f64 * mean;
            }
            above += group.non_relevant;
        }
        ratio(total, self.relevant as f64)
    }
}

impl Group {
    fn of(docs: &[(f64, Retrieved<'_>)], level: i32, gain: impl Fn(i32) -> i32) -> Self {
        let mut group = Self { size: docs.len(), ..Self::default() };
        for (_, doc) in docs {
            group.holes += usize::from(!doc.judged_anywhere);
            if let Some(grade) = doc.grade {
                group.judged += 1;
                group.relevant += usize::from(grade >= level);
                group.non_relevant += usize::from((0..level).contains(&grade));
                group.gain += f64::from(gain(grade));
                group.gain_exp += exponential(gain(grade));
            }
        }
        group
    }
}

/// 0 where there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn exponential(gain: i32) -> f64 {
    f64::from(gain).exp2() - 1.0
}

/// log2(rank + 1) for ranks from 1; here they start at 0.
fn discount(rank: usize) -> f64 {
    (rank as f64 + 2.0).log2()
}

fn discounted(gains: impl Iterator<Item = f64>) -> f64 {
    gains.enumerate().map(|(rank, gain)| gain / discount(rank)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Profile;

    fn rules(ties: Ties) -> Rules {
        Rules { ties, ..Profile::Trec.rules("ndcg@10".parse().unwrap(), 1) }
    }

    fn docs<'a>(of: &[(&'a str, f64, Option<i32>)]) -> Vec<Retrieved<'a>> {
        of.iter()
            .map(|&(doc, score, grade)| Retrieved { doc, score, grade, judged_anywhere: grade.is_some() })
            .collect()
    }

    fn value(of: &[(&str, f64, Option<i32>)], grades: &[i32], ties: Ties, metric: &str) -> f64 {
        Ranking::new(&docs(of), grades, &rules(ties)).unwrap().value(metric.parse().unwrap())
    }

    #[test]
    fn a_constant_scorer_does_not_get_a_perfect_mrr() {
        // The relevant document stands first in the file, as it does when positives are scored first.
        let run: Vec<(String, f64, Option<i32>)> =
            (0..10).map(|i| (format!("d{i}"), 0.5, (i == 0).then_some(1))).collect();
        let run: Vec<(&str, f64, Option<i32>)> = run.iter().map(|(d, s, g)| (&**d, *s, *g)).collect();
        assert_eq!(value(&run, &[1], Ties::DocidDesc, "mrr@10"), 0.1);
        assert_eq!(value(&run, &[1], Ties::Worst, "mrr@10"), 0.1);
        let harmonic: f64 = (1..=10).map(|r| 1.0 / f64::from(r)).sum();
        assert!((value(&run, &[1], Ties::Expected, "mrr@10") - harmonic / 10.0).abs() < 1e-15);
        assert_eq!(value(&run, &[1], Ties::File, "mrr@10"), 1.0, "what the file order would claim");
    }

    #[test]
    fn ties_go_by_bytes_with_the_higher_id_first() {
        // Bytes, not numbers or letters: "9" before "10", "é" before "z".
        assert_eq!(value(&[("10", 1.0, Some(1)), ("9", 1.0, None)], &[1], Ties::DocidDesc, "mrr"), 0.5);
        assert_eq!(value(&[("z", 1.0, Some(1)), ("é", 1.0, None)], &[1], Ties::DocidDesc, "mrr"), 0.5);
        assert_eq!(value(&[("z", 1.0, Some(1)), ("é", 1.0, None)], &[1], Ties::DocidAsc, "mrr"), 1.0);
    }

    #[test]
    fn scores_that_differ_beyond_f32_tie_unless_f64_is_asked_for() {
        let run = docs(&[("a", 0.5 + 1e-12, Some(1)), ("b", 0.5, None)]);
        let mrr = "mrr".parse().unwrap();
        let narrow = rules(Ties::DocidDesc);
        let wide = Rules { score_type: ScoreType::F64, ..narrow };
        assert_eq!(Ranking::new(&run, &[1], &narrow).unwrap().value(mrr), 0.5);
        assert_eq!(Ranking::new(&run, &[1], &wide).unwrap().value(mrr), 1.0);
    }

    #[test]
    fn nan_has_no_rank() {
        let e = Ranking::new(&docs(&[("a", f64::NAN, None)]), &[1], &rules(Ties::DocidDesc)).unwrap_err();
        assert_eq!(e.to_string(), "the score of document `a` is not a number");
    }

    #[test]
    fn zero_by_zero_is_zero() {
        for metric in Metric::examples() {
            let empty = Ranking::new(&[], &[], &rules(Ties::DocidDesc)).unwrap();
            assert_eq!(empty.value(metric), 0.0, "{metric}");
        }
    }

    #[test]
    fn the_audit_sees_ties_across_the_cut_and_ties_that_matter() {
        let run = docs(&[("a", 3.0, Some(1)), ("b", 2.0, None), ("c", 2.0, Some(0)), ("d", 1.0, Some(2))]);
        let ranking = Ranking::new(&run, &[1, 0, 2], &rules(Ties::DocidDesc)).unwrap();
        assert_eq!([1, 2, 3, 4].map(|k| ranking.tied_at(k)), [false, true, false, false]);
        assert!(!ranking.ties_matter(), "an unjudged and a non-relevant document gain the same");
        let run = docs(&[("a", 2.0, Some(1)), ("b", 2.0, None)]);
        assert!(Ranking::new(&run, &[1], &rules(Ties::Expected)).unwrap().ties_matter());
    }

    #[test]
    fn recall_cap_judged_and_hole_by_hand() {
        // Three relevant, cut 2, one of them found; one document is judged for another query only.
        let run = [
            Retrieved { doc: "a", score: 3.0, grade: Some(1), judged_anywhere: true },
            Retrieved { doc: "b", score: 2.0, grade: None, judged_anywhere: true },
            Retrieved { doc: "c", score: 1.0, grade: None, judged_anywhere: false },
        ];
        let ranking = Ranking::new(&run, &[1, 1, 1], &rules(Ties::DocidDesc)).unwrap();
        let value = |m: &str| ranking.value(m.parse().unwrap());
        assert_eq!(value("recall_cap@2"), 0.5);
        assert_eq!(value("recall@2"), 1.0 / 3.0);
        assert_eq!(value("judged@2"), 0.5);
        assert_eq!(value("judged@10"), 1.0 / 3.0, "divided by what was retrieved");
        assert_eq!(value("hole@2"), 0.0);
        assert_eq!(value("hole@10"), 0.1, "divided by the cut");
    }

    #[test]
    fn exponential_gains_and_binary_gains_by_hand() {
        let run = docs(&[("b", 2.0, Some(1)), ("a", 1.0, Some(3))]);
        let plain = Ranking::new(&run, &[1, 3], &rules(Ties::DocidDesc)).unwrap();
        let log3 = 3f64.log2();
        assert_eq!(plain.value("ndcg@2".parse().unwrap()), (1.0 + 3.0 / log3) / (3.0 + 1.0 / log3));
        assert_eq!(plain.value("ndcg_exp@2".parse().unwrap()), (1.0 + 7.0 / log3) / (7.0 + 1.0 / log3));
        let binary = Rules { binary: true, ..rules(Ties::DocidDesc) };
        assert_eq!(Ranking::new(&run, &[1, 3], &binary).unwrap().value("ndcg@2".parse().unwrap()), 1.0);
    }

    #[test]
    fn capped_map_divides_by_the_smaller_of_cut_and_relevant() {
        let run = docs(&[("a", 2.0, Some(1)), ("b", 1.0, None)]);
        let capped = Rules { capped_map: true, ..rules(Ties::DocidDesc) };
        let map = |r: &Rules, m: &str| Ranking::new(&run, &[1; 4], r).unwrap().value(m.parse().unwrap());
        assert_eq!(map(&rules(Ties::DocidDesc), "map@2"), 0.25);
        assert_eq!(map(&capped, "map@2"), 0.5);
        assert_eq!(map(&capped, "map"), 0.25);
    }
}
