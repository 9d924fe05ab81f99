//! Encoders that learn: vectors out, gradients of the vectors in, a step of the optimiser.
//!
//! No framework and no graph: a batch goes forward once, the loss gives the gradient of each vector, and it goes back by
//! hand-derived rules. All sums run in an order that neither threads nor the machine's width change, so a run repeated is
//! the same run.

mod adam;
mod bags;
mod products;
mod static_table;

pub use adam::Adam;
pub use products::{View, add_product};
pub use static_table::{State, StaticTable};

use crate::encoders::Result;

/// An encoder that learns.
pub trait Trainable: Send + Sync {
    /// Columns of a vector.
    fn dim(&self) -> usize;

    /// Writes the vector of each text, given as token ids, into `out` `[texts][dim]`, and keeps what
    /// [`Trainable::backward`] needs of them. What a former batch kept is forgotten.
    ///
    /// # Errors
    /// As [`crate::encoders::Encoder::encode`].
    fn forward(&mut self, texts: &[&[u32]], out: &mut [f32]) -> Result<()>;

    /// Takes the gradient of the loss by each vector of the last [`Trainable::forward`], `[texts][dim]`, and adds what
    /// follows from it to the gradients of the parameters. Forward and backward may alternate before a step.
    ///
    /// # Panics
    /// If the gradients are not those of the last forward pass.
    fn backward(&mut self, slopes: &[f32]);

    /// Moves the parameters against their gradients at this learning rate and forgets the gradients.
    fn step(&mut self, rate: f32);
}
