//! Training: from pairs to a model folder.
//!
//! [`TrainSpec`] is what was typed, [`run()`] does it: read, split off validation anchors, mine, learn, evaluate, keep the
//! best. What was learned so far lies in a stage of the work folder ([`crate::store`]), so that a killed run goes on and ends
//! with the same weights.

mod batches;
mod card;
mod checkpoint;
mod curves;
mod evaluate;
mod examples;
mod fit;
mod folder;
mod health;
mod objective;
mod run;
mod source;
mod spec;
mod start;
mod tokens;
mod vocabulary;

pub use evaluate::Measured;
pub use fit::Losses;
pub use health::Health;
pub use run::{Epoch, Trained, run};
pub(crate) use source::train_source;
pub use spec::{
    BatchTable, LossTable, MineTable, ModelTable, OptimiserTable, StaticSpec, TrainSpec, TrainWrite,
    ValidateTable,
};
