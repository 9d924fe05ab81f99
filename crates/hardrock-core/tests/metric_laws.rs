//! Metrics against a second implementation, written from the definitions over a plain sorted list, and expectations
//! over ties against all orders.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use hardrock_core::metrics::{Metric, Profile, Ranking, Retrieved, Rules, Ties};
use proptest::prelude::*;

/// A retrieved document: id, score, grade.
type Doc = (String, f64, Option<i32>);

/// Values of a list in final order, `grades` = all judged documents; the definitions of the specification, term by
/// term.
fn naive(name: &str, k: usize, list: &[Option<i32>], grades: &[i32], level: i32) -> f64 {
    let rel: Vec<i32> = list.iter().map(|g| g.unwrap_or(-1)).collect();
    let hit: Vec<bool> = rel.iter().map(|&g| g >= level).collect();
    let relevant = grades.iter().filter(|&&g| g >= level).count();
    let non_relevant = grades.iter().filter(|&&g| g >= 0 && g < level).count();
    let hits = |n: usize| hit.iter().take(n).filter(|h| **h).count() as f64;
    let dcg = |gains: Vec<i32>, worth: fn(i32) -> f64| -> f64 {
        let gain = |g: i32| if g > 0 { worth(g) } else { 0.0 };
        gains.iter().take(k).enumerate().map(|(i, &g)| gain(g) / ((i + 2) as f64).log2()).sum()
    };
    let ndcg = |worth: fn(i32) -> f64| {
        let mut best = grades.to_vec();
        best.sort_by_key(|&g| -g);
        dcg(rel.clone(), worth) / dcg(best, worth)
    };
    let value = match name {
        "ndcg" => ndcg(f64::from),
        "ndcg_exp" => ndcg(|g| 2f64.powi(g) - 1.0),
        "map" => {
            let places = (0..hit.len().min(k)).filter(|&i| hit[i]);
            places.map(|i| hits(i + 1) / (i + 1) as f64).sum::<f64>() / relevant as f64
        }
        "mrr" => hit.iter().take(k).position(|h| *h).map_or(0.0, |i| 1.0 / (i + 1) as f64),
        "recall" => hits(k) / relevant as f64,
        "p" => hits(k) / k as f64,
        "hit" => f64::from(hits(k) > 0.0),
        "rprec" => hits(relevant) / relevant as f64,
        "recall_cap" => hits(k) / k.min(relevant) as f64,
        "judged" => list.iter().take(k).filter(|g| g.is_some()).count() as f64 / k.min(list.len()) as f64,
        "bpref" => {
            let above = |i: usize| rel[..i].iter().filter(|&&g| g >= 0 && g < level).count();
            let lost = |n: usize| n.min(relevant) as f64 / relevant.min(non_relevant) as f64;
            let places = (0..hit.len()).filter(|&i| hit[i]);
            places.map(|i| if above(i) == 0 { 1.0 } else { 1.0 - lost(above(i)) }).sum::<f64>()
                / relevant as f64
        }
        other => unreachable!("{other}"),
    };
    if value.is_nan() { 0.0 } else { value }
}

const NAMES: [(&str, bool); 11] = [
    ("ndcg", true),
    ("ndcg_exp", true),
    ("map", true),
    ("mrr", true),
    ("recall", true),
    ("p", true),
    ("hit", true),
    ("rprec", false),
    ("recall_cap", true),
    ("judged", true),
    ("bpref", false),
];

fn metric(name: &str, has_cut: bool, k: usize) -> Metric {
    let text = if has_cut { format!("{name}@{k}") } else { name.to_owned() };
    text.parse().unwrap_or_else(|e| unreachable!("{e}"))
}

/// A query full of ties: documents with few distinct scores, plus grades of judged documents not retrieved.
fn query(most: usize) -> impl Strategy<Value = (Vec<Doc>, Vec<i32>)> {
    let grade = prop_oneof![3 => Just(None), 5 => (-1..4).prop_map(Some)];
    let doc = ("[a-cZé0-9]{1,3}", (0_u8..4).prop_map(f64::from), grade);
    let unique = |docs: Vec<Doc>| {
        let mut seen: Vec<String> = Vec::new();
        let mut fresh = |id: &String| {
            let new = !seen.contains(id);
            seen.push(id.clone());
            new
        };
        docs.into_iter().filter(|(id, ..)| fresh(id)).collect::<Vec<Doc>>()
    };
    (prop::collection::vec(doc, 0..most).prop_map(unique), prop::collection::vec(-1..4, 0..4)).prop_map(
        |(docs, unseen)| {
            let grades = docs.iter().filter_map(|d| d.2).chain(unseen).collect();
            (docs, grades)
        },
    )
}

fn ranking(docs: &[Doc], grades: &[i32], rules: Rules) -> Ranking {
    let retrieved: Vec<Retrieved<'_>> = docs
        .iter()
        .map(|(doc, score, grade)| Retrieved { doc, score: *score, grade: *grade, judged_anywhere: true })
        .collect();
    Ranking::new(&retrieved, grades, &rules).unwrap_or_else(|e| unreachable!("{e}"))
}

fn rules(ties: Ties, level: i32) -> Rules {
    Rules { ties, ..Profile::Trec.rules(metric("map", false, 0), level) }
}

/// All orders in which documents of equal score may stand.
fn orders(docs: &[Doc]) -> Vec<Vec<Option<i32>>> {
    let Some(top) = docs.iter().map(|d| d.1).reduce(f64::max) else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for first in (0..docs.len()).filter(|&i| docs[i].1 == top) {
        let mut rest = docs.to_vec();
        let grade = rest.remove(first).2;
        all.extend(orders(&rest).into_iter().map(|tail| [vec![grade], tail].concat()));
    }
    all
}

proptest! {
    #[test]
    fn values_equal_the_definitions((docs, grades) in query(14), k in 1_usize..8, level in 1..3) {
        for ties in [Ties::DocidDesc, Ties::DocidAsc, Ties::File, Ties::Worst] {
            let mut sorted = docs.clone();
            match ties {
                Ties::DocidDesc => sorted.sort_by(|a, b| b.0.as_bytes().cmp(a.0.as_bytes())),
                Ties::DocidAsc => sorted.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes())),
                Ties::Worst => sorted.sort_by_key(|d| d.2.map_or(-9, |g| g)),
                _ => {}
            }
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
            let list: Vec<Option<i32>> = sorted.iter().map(|d| d.2).collect();
            let ranking = ranking(&docs, &grades, rules(ties, level));
            for (name, has_cut) in NAMES {
                let (ours, theirs) = (ranking.value(metric(name, has_cut, k)), naive(name, k, &list, &grades, level));
                prop_assert!((ours - theirs).abs() < 1e-12, "{name}@{k} {ties}: {ours} {theirs}");
            }
        }
    }

    #[test]
    fn expected_is_the_mean_over_all_orders_of_ties((docs, grades) in query(7), k in 1_usize..7, level in 1..3) {
        let all = orders(&docs);
        let ranking = ranking(&docs, &grades, rules(Ties::Expected, level));
        for (name, has_cut) in NAMES {
            let mean = all.iter().map(|list| naive(name, k, list, &grades, level)).sum::<f64>() / all.len() as f64;
            let ours = ranking.value(metric(name, has_cut, k));
            prop_assert!((ours - mean).abs() < 1e-12, "{name}@{k}: {ours} {mean}");
        }
    }

    #[test]
    fn worst_is_the_least_over_all_orders_of_ties((docs, grades) in query(7), k in 1_usize..7, level in 1..3) {
        let all = orders(&docs);
        let ranking = ranking(&docs, &grades, rules(Ties::Worst, level));
        for (name, has_cut) in NAMES {
            let least = all.iter().map(|list| naive(name, k, list, &grades, level)).fold(f64::MAX, f64::min);
            let ours = ranking.value(metric(name, has_cut, k));
            prop_assert!((ours - least).abs() < 1e-12, "{name}@{k}: {ours} {least}");
        }
    }

    #[test]
    fn the_order_of_the_file_changes_nothing_but_file_ties((docs, grades) in query(14), k in 1_usize..8) {
        let mut turned = docs.clone();
        turned.reverse();
        for ties in [Ties::DocidDesc, Ties::DocidAsc, Ties::Worst, Ties::Expected] {
            let (one, two) = (ranking(&docs, &grades, rules(ties, 1)), ranking(&turned, &grades, rules(ties, 1)));
            for (name, has_cut) in NAMES {
                let metric = metric(name, has_cut, k);
                prop_assert!((one.value(metric) - two.value(metric)).abs() < 1e-15, "{metric} {ties}");
            }
        }
    }
}
