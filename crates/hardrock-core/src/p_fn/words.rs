//! What a model saw in a candidate, in words.

use super::{FEATURES, Measured, Model, Standing, features};

/// Sentences that a person reads at once.
const MOST: usize = 3;
/// Log-odds below which a contribution is not worth a word.
const SMALL: f64 = 0.05;

/// One contribution.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// What was seen, e.g. `shares 71 % of the shorter text's words with the positive`.
    pub words: String,
    /// What it adds to the log-odds; below 0 it speaks for a true negative.
    pub adds: f64,
}

/// What speaks most for and against a false negative, strongest first, at most three.
pub fn say(model: &Model, m: &Measured, s: &Standing) -> Vec<Said> {
    let parts = model.contributions(&features(m, s));
    let mut order: Vec<usize> = (0..FEATURES).filter(|&i| parts[i].abs() >= SMALL).collect();
    order.sort_by(|&a, &b| parts[b].abs().total_cmp(&parts[a].abs()).then(a.cmp(&b)));
    let told = order.into_iter().filter_map(|i| Some(Said { words: words(i, m, s)?, adds: parts[i] }));
    told.take(MOST).collect()
}

fn ordinal(n: usize) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

fn words(feature: usize, m: &Measured, s: &Standing) -> Option<String> {
    let percent = |x: f32| format!("{:.0} %", x * 100.0);
    Some(match feature {
        0 => format!("tf-idf cosine {:.2} to the positive", m.cosine),
        1 => format!("{} of the words of both are shared with the positive", percent(m.jaccard)),
        2 => format!("shares {} of the shorter text's words with the positive", percent(m.containment)),
        3 => format!("vector cosine {:.2} to the positive", m.vectors),
        4 => format!("{} nearest of the candidates to the positive", ordinal(m.neighbour as usize + 1)),
        5 => format!("its score is {} of the row's best", percent(s.score / s.best)),
        6 => format!("its score is {:.2} times the positive's", s.score / s.positive),
        7 => format!(
            "vector cosine to the anchor {:+.2} against the positive's",
            s.vectors - s.positive_vectors
        ),
        8 => format!("rank {}", s.rank),
        9 => format!("covers {} of the anchor's weighted words", percent(m.covered)),
        10 => format!("vector cosine {:.2} to the anchor", s.vectors),
        11 => format!("positive of a query with cosine {:.2} to the anchor", m.query),
        12 if m.query.is_nan() => "is the positive of no other query".into(),
        12 => "is the positive of another query".into(),
        13 => format!("proposed by {} of the sources", percent(s.agreement)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Logistic;

    #[test]
    fn the_strongest_come_first_and_speak_of_the_positive() {
        let logistic = Logistic {
            center: vec![0.1, 2.0, 0.5],
            scale: vec![0.1, 1.0, 1.0],
            weights: vec![1.0, -2.0, 0.01],
            bias: 0.0,
        };
        let model = Model::plain(vec![2, 4, 9], logistic);
        let m = Measured { containment: 0.71, neighbour: 1.0, covered: 0.4, ..Measured::NOTHING };
        let s = Standing {
            score: 1.0,
            best: 1.0,
            positive: 1.0,
            rank: 3,
            vectors: f32::NAN,
            positive_vectors: f32::NAN,
            agreement: 1.0,
        };
        let said = say(&model, &m, &s);
        assert_eq!(said.len(), 2);
        assert_eq!(said[0].words, "shares 71 % of the shorter text's words with the positive");
        assert_eq!(said[1].words, "2nd nearest of the candidates to the positive");
        assert!(said[0].adds > 6.0 && said[1].adds > 2.0);
    }

    #[test]
    fn ordinals_of_the_teens_end_in_th() {
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 13, 21, 112].map(ordinal),
            ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"]
        );
    }
}
