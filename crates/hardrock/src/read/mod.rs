//! From files to a [`Dataset`]: every shape of retrieval data, streamed, with the texts left on the disk.

mod bad_rows;
mod blob;
mod column;
mod columnar;
mod dataset;
mod delimited;
mod files;
mod from_rows;
mod gather;
mod ids;
pub mod input;
mod json;
mod judged;
mod judgements;
mod memory;
pub mod notice;
mod record;
mod spec;
mod store;
mod table;
pub mod text;
mod texts;
pub mod trec;
pub mod vectors;

pub use bad_rows::{OnBadRow, Reject};
pub use blob::Blob;
pub use column::{Column, ColumnKind, ColumnSpec, time};
pub use dataset::{Dataset, LoadOptions, load_table};
pub use files::{data_files, find, locate};
pub use ids::Ids;
pub use input::{Compression, Input, Lines, content_hash, is_parquet, open};
pub use judgements::{Given, Judgements};
pub use spec::DataSpec;
pub use table::{NO_TEXT, Table};
pub use text::{normalise, text_hash};
