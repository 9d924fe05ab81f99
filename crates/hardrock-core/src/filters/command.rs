//! Lets an outside program judge what every other filter let live.
//!
//! ## Rule
//! The program gets each anchor with its positives and its live candidates with their judging scores, and answers per
//! candidate: keep, or drop with a value. All rows of a block go in one call, so that the program can batch.
//!
//! ## Seen in
//! Cross-encoder and LLM relabelling (RLHN, ARHN) run as scripts between mining and training.

use serde::{Deserialize, Serialize};

use super::{given, positives};
use crate::{Error, Facts, Filter, Question, Reason, Result, Rows, Verdict, Verdicts};

/// Parameters as written in TOML: `{ command = { program = "./judge.py" } }`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Command {
    /// The program, as a shell would run it; must be given.
    pub program: String,
}

impl Command {
    /// Runs once, when the plan is made.
    pub fn check(self) -> Result<Self> {
        given(&self.program, "command", "program", "a program that reads and writes JSON lines")?;
        Ok(self)
    }
}

impl Filter for Command {
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        let outside = facts.outside.ok_or(Error::Missing { stage: "command", what: "a running program" })?;
        let mut questions = Vec::new();
        let mut asked = Vec::new();
        for row in block.iter() {
            let live: Vec<usize> = row.live().collect();
            if live.is_empty() {
                continue;
            }
            questions.push(Question {
                anchor: row.anchor(),
                positives: positives(&row, facts).into_owned(),
                candidates: live.iter().map(|&p| row.items()[p]).collect(),
                scores: live.iter().map(|&p| row.scores()[p]).collect(),
            });
            asked.push((row, live));
        }
        if questions.is_empty() {
            return Ok(());
        }
        let answers = outside.judge(&questions)?;
        fits("answers of the outside program", questions.len(), answers.len())?;
        for ((row, live), answer) in asked.iter().zip(&answers) {
            fits("verdicts of the outside program on one anchor", live.len(), answer.len())?;
            for (&position, value) in live.iter().zip(answer) {
                if let Some(value) = *value {
                    out.drop(row, position, Verdict::new(Reason::Command, value, f32::NAN));
                }
            }
        }
        Ok(())
    }
}

fn fits(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, judge, row};

    #[test]
    fn only_live_candidates_are_asked_about_and_the_answers_find_their_cells() -> Result<()> {
        let mut block = row(&[(1, 0.9), (2, 0.8), (3, 0.7)], &[(9, 1.0)]);
        let mut first = Verdicts::default();
        first.drop(&block.row(0), 0, Verdict::new(Reason::Known, 1.0, 1.0));
        block.apply(first);
        // The program of the fixture drops odd items, with their number as value.
        let world = World { program: true, ..World::default() };
        let verdicts = judge(&Command { program: "x".into() }, block, &world)?;
        let got: Vec<_> = verdicts.iter().map(|v| v.map(|v| (v.reason, v.value))).collect();
        assert_eq!(got, [Some((Reason::Known, 1.0)), None, Some((Reason::Command, 3.0))]);
        Ok(())
    }

    #[test]
    fn a_program_that_answers_too_little_is_an_error() {
        let world = World { program: true, ..World::default() };
        // The program of the fixture forgets the answer for item 13.
        let got = judge(&Command { program: "x".into() }, row(&[(13, 0.9)], &[]), &world);
        assert!(matches!(got, Err(Error::Shape { expected: 1, got: 0, .. })), "{got:?}");
    }
}
