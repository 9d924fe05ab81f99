//! The pure heart of hardrock: blocks of scores, the filters that judge them, the selectors that choose from them.
//!
//! Nothing here opens a file, starts a thread or reads a clock. A [`Block`] holds some anchors with their candidates; a
//! [`Filter`] answers which candidates must go and why ([`Verdict`]); a [`Selector`] picks from those that live. Training reads the same blocks, smaller and dense: a [`ScoreBlock`] is judged by the same
//! filters, and a [`losses::Loss`] turns it into a number with its slope.

pub mod batchers;
mod block;
mod error;
mod facts;
pub mod filters;
#[cfg(test)]
mod fixture;
mod ids;
pub mod losses;
pub mod metrics;
mod opinion;
pub mod p_fn;
pub mod promise;
mod rng;
pub mod selectors;
pub mod stats;

pub use block::{
    BestFirst, Block, BlockBuilder, Evidence, Items, Join, Judgeable, Layout, Mark, Mixed, NO_RANK, NewRow,
    NewSegment, Origin, PlainProducts, Products, Proposal, Queue, Reason, Row, Rows, ScoreBlock, Segment,
    Side, Sides, Signal, Tally, Verdict, Verdicts, mix, overlap,
};
pub use error::{Error, Result};
pub use facts::{ABSENT, Catalogue, Facts, Known, Likeness, Opinion, Outside, Overlap, Question, Taxonomy};
pub use filters::{Filter, FilterSpec};
pub use ids::{AnchorId, ItemId};
pub use opinion::Asking;
pub use rng::Rng;
pub use selectors::{Selector, SelectorSpec};
