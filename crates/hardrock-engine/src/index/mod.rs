//! Indexes over the corpus: what finds candidates, and what compares two documents.
//!
//! A corpus is read once into a [`Forward`] index (terms and counts per document). [`Bm25`] retrieves from it,
//! [`TfIdf`] compares documents with it; [`Shingler`] says how much wording two texts share.

mod block;
mod blocks;
mod bm25;
mod codes;
mod error;
mod families;
mod flat_eight;
mod flat_f32;
mod forward;
mod forward_build;
mod forward_file;
mod hits;
mod kmeans;
mod neighbours;
mod shingles;
mod sparse;
mod terms;
mod texts;
mod tfidf;
mod tokens;
mod watch;

pub mod clustered;
pub mod flat;
pub mod rows;

pub use bm25::{Bm25, Bm25Options};
pub use error::{IndexError, Result};
pub use families::{FamilyOptions, families};

pub use forward::{Forward, QueryTerms, Row, RowBuffer, Rows};
pub use neighbours::Neighbours;
pub use shingles::{Shingler, Shingles};
pub use sparse::{SparseIndex, SparseRows, SparseVector};
pub use terms::Terms;
pub use texts::Texts;
pub use tfidf::{TfIdf, TfIdfRow};
pub use tokens::{TokenOptions, Tokenizer, Words};
pub use watch::Watch;
