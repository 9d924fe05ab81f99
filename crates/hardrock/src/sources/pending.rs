//! A dense source before its vectors are made: for plans only.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use hardrock_core::{AnchorId, ItemId};
use hardrock_engine::index::Neighbours;

use super::Source;
use crate::Result;

/// Proposes nothing and scores nothing.
#[derive(Debug)]
pub struct PendingSource;

impl Source for PendingSource {
    fn propose(&self, anchors: Range<usize>, _: usize, _: &AtomicBool) -> Result<Neighbours> {
        Ok(Neighbours { starts: vec![0; anchors.len() + 1], ..Neighbours::default() })
    }

    fn score(&self, _: AnchorId, _: &[ItemId], out: &mut [f32]) -> Result<()> {
        out.fill(f32::NAN);
        Ok(())
    }

    fn exactness(&self) -> String {
        "exact, once its texts are encoded".into()
    }
}
