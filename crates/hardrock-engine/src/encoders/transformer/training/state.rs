//! What a learner remembers between steps, so that an interrupted training goes on as if it had not been.

use crate::encoders::{Error, Result};

use super::Learner;
use super::optimizer::Moments;
use super::parameters::{Parameter, Slope};

/// Everything that decides the steps to come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Steps of the optimiser so far.
    pub steps: u64,
    /// Forward passes so far; they number what is dropped out.
    pub passes: u64,
    /// Trained numbers and the optimiser's means, by names of their own; in a fixed order.
    pub numbers: Vec<(String, Vec<f32>)>,
}

/// The trained numbers of a parameter: its own, or its adapter's two.
fn trained(parameter: &mut Parameter) -> Vec<&mut Vec<f32>> {
    match (&mut parameter.adapter, &parameter.slope) {
        (Some(adapter), _) => vec![&mut adapter.a, &mut adapter.b],
        (None, Slope::Fixed) => Vec::new(),
        (None, _) => vec![&mut parameter.values],
    }
}

impl Learner {
    /// What the learner remembers. Slopes of a batch that was not stepped yet are not part of it.
    pub fn state(&mut self) -> State {
        self.memory.moments.resize_with(self.parameters.all.len(), Default::default);
        let mut numbers = Vec::new();
        for (parameter, moments) in self.parameters.all.iter_mut().zip(&self.memory.moments) {
            let name = format!("{}:{}", parameter.part, parameter.name);
            for ((values, moments), number) in trained(parameter).into_iter().zip(moments).zip(0..) {
                numbers.push((format!("{name}:{number}"), values.clone()));
                numbers.push((format!("{name}:{number}:mean"), moments.mean.clone()));
                numbers.push((format!("{name}:{number}:square"), moments.square.clone()));
            }
        }
        State { steps: self.memory.steps, passes: self.passes, numbers }
    }

    /// Goes back to what was remembered by a learner of the same model and options.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Missing`] for the state of another model, which leaves this one half changed.
    pub fn restore(&mut self, state: State) -> Result<()> {
        self.memory.moments.resize_with(self.parameters.all.len(), Default::default);
        let mut numbers = state.numbers.into_iter();
        let mut next = |name: String, lengths: [usize; 2]| match numbers.next() {
            Some((own, _)) if own != name => Err(Error::Missing(name)),
            Some((_, values)) if lengths.contains(&values.len()) => Ok(values),
            Some((_, values)) => {
                Err(Error::Shape { name, expected: vec![lengths[0]], got: vec![values.len()] })
            }
            None => Err(Error::Missing(name)),
        };
        for (parameter, moments) in self.parameters.all.iter_mut().zip(&mut self.memory.moments) {
            let name = format!("{}:{}", parameter.part, parameter.name);
            for ((values, moments), number) in trained(parameter).into_iter().zip(moments).zip(0..) {
                let length = values.len();
                *values = next(format!("{name}:{number}"), [length; 2])?;
                // Empty until the first step.
                let mean = next(format!("{name}:{number}:mean"), [length, 0])?;
                let square = next(format!("{name}:{number}:square"), [length, 0])?;
                *moments = Moments { mean, square };
            }
        }
        (self.memory.steps, self.passes) = (state.steps, state.passes);
        self.parameters.clear_slopes();
        self.refresh();
        Ok(())
    }
}
