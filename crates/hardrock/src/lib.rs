//! Hard-negative mining from files to files.

pub mod atomic;
pub mod candidates;
pub mod convert;
pub mod embed;
pub mod error;
pub mod eval;
pub mod explain;
pub mod listing;
pub mod manifest;
pub mod mine;
pub mod models;
pub mod outputs;
pub mod p_fn;
pub mod presets;
pub mod read;
pub mod report;
pub mod rows;
pub mod schema;
pub mod sources;
pub mod store;
pub mod texts;
pub mod train;
pub mod validate;
pub mod verdicts;

pub use error::{Error, Result};
