//! Mining: from a specification to a training file.
//!
//! [`MineSpec`] is what was typed, [`plan::Plan`] what it means, [`run()`] does it. A run is a chain of stages (read, terms,
//! one per pool, judge), each a folder of chunks named by the hash of what it depends on; see [`crate::store`].

pub mod bench;
mod budget;
mod chunks;
pub mod command;
mod dense;
pub mod estimate;
mod facts;
pub mod flags;
pub mod judge;
mod keys;
mod likeness;
mod open;
pub mod opinions;
pub mod plan;
mod prepare;
mod progress;
mod promise;
mod run;
mod search;
mod selected;
pub mod spec;
mod tally;
mod taxonomy;
mod verdicts;
mod write;

pub use bench::bench;
pub use budget::Budget;
pub use estimate::{Estimate, estimate};
pub use plan::Plan;
pub(crate) use prepare::check;
pub use progress::{Progress, Silent};
pub(crate) use run::together;
pub use run::{Outcome, RunOptions, run};
pub use search::search;
pub(crate) use selected::{Selected, with_selected};
pub use spec::MineSpec;
