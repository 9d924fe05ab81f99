//! Batchers: which training examples share a step, and so are each other's negatives.
//!
//! A batcher turns the examples of an epoch into batches of example numbers. The order depends on the seed and the epoch
//! alone. Every example stands in exactly one batch of an epoch, unless a batcher says otherwise.

mod by_task;
mod clusters;
mod groups;
mod no_collision;
mod random;
mod rotation;
mod seeds;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::losses::fits;
use crate::{AnchorId, Error, ItemId, Known, Result, Rng};
pub use by_task::ByTask;
pub use clusters::Clusters;
pub use groups::Groups;
pub use no_collision::NoCollision;
pub use random::Random;
pub use rotation::Rotation;
pub use seeds::Seeds;

/// What batchers may know of the examples; every present column is `[examples]`. A batcher whose column is absent reports
/// [`Error::Missing`].
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// The anchor of each example.
    pub anchors: &'a [AnchorId],
    /// Its positive.
    pub positives: &'a [ItemId],
    /// Labelled positives of the anchors (`no_collision`).
    pub known: Option<&'a Known>,
    /// The task of each example, numbered from 0 (`by_task`).
    pub tasks: Option<&'a [u32]>,
    /// The group of each example, [`crate::ABSENT`] for one without (`groups`).
    pub groups: Option<&'a [u32]>,
    /// One vector per example, row-major `[examples, dim]` (`clusters`).
    pub vectors: Option<&'a [f32]>,
    /// Each example's nearest others, nearest first (`seeds`).
    pub neighbours: Option<&'a [Vec<u32>]>,
}

impl<'a> Examples<'a> {
    /// Pairs without further columns.
    ///
    /// # Errors
    /// [`Error::Shape`] where the two differ in length.
    pub fn new(anchors: &'a [AnchorId], positives: &'a [ItemId]) -> Result<Self> {
        fits("positives of the examples", anchors.len(), positives.len())?;
        let (known, tasks, groups, vectors, neighbours) = (None, None, None, None, None);
        Ok(Self { anchors, positives, known, tasks, groups, vectors, neighbours })
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Numbers of the examples in random order.
    fn shuffled(&self, draw: Draw) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        shuffle(&mut order, &mut draw.rng(0));
        order
    }
}

/// Where an epoch's random numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
}

impl Draw {
    /// Keeps batching's draws apart from those of other stages of one seed.
    const STAGE: u64 = 0xBA7C;

    fn rng(self, part: u64) -> Rng {
        Rng::at(self.seed, Self::STAGE.wrapping_add(self.epoch << 16), part)
    }
}

/// Puts examples together.
pub trait Batcher: Debug + Send + Sync {
    /// The batches of one epoch, each a list of example numbers.
    ///
    /// # Errors
    /// [`Error::Missing`] for a column that the examples do not have; [`Error::Shape`] for one of another length.
    fn epoch(&self, examples: &Examples<'_>, draw: Draw) -> Result<Vec<Vec<u32>>>;
}

macro_rules! components {
    ($($name:ident => $kind:ident),* $(,)?) => {
        /// A batcher as written in TOML: `{ no_collision = { size = 256 } }`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum BatcherSpec { $(
            #[doc = concat!("See [`", stringify!($kind), "`].")]
            $kind($kind)),* }
        impl BatcherSpec {
            /// The batchers' names, as in TOML.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];
            /// The name in TOML.
            pub fn name(&self) -> &'static str { match self { $(BatcherSpec::$kind(_) => stringify!($name)),* } }
            /// Checks the parameters and makes the batcher.
            pub fn build(self) -> Result<Box<dyn Batcher>> {
                Ok(match self { $(BatcherSpec::$kind(b) => Box::new(b.check()?)),* })
            }
            /// Every batcher with its default parameters.
            pub fn all() -> Vec<Self> { vec![$(BatcherSpec::$kind($kind::default())),*] }
        }
    };
}

components! {
    random => Random,
    no_collision => NoCollision,
    by_task => ByTask,
    clusters => Clusters,
    seeds => Seeds,
    groups => Groups,
}

/// Rows of a batch where nothing else is said.
const SIZE: u32 = 256;

fn at_least(least: u32, stage: &'static str, field: &'static str, got: u32) -> Result<()> {
    let must = match least {
        0 | 1 => "at least 1",
        _ => "at least 2: a row needs another as its negative",
    };
    if got >= least { Ok(()) } else { Err(Error::Parameter { stage, field, must, got: got.to_string() }) }
}

fn needed<'a, T>(
    column: Option<&'a [T]>,
    examples: usize,
    stage: &'static str,
    what: &'static str,
) -> Result<&'a [T]> {
    let column = column.ok_or(Error::Missing { stage, what })?;
    fits(what, examples, column.len()).map(|()| column)
}

fn shuffle<T>(list: &mut [T], rng: &mut Rng) {
    for at in (1..list.len()).rev() {
        list.swap(at, rng.below(at as u64 + 1) as usize);
    }
}

fn cut(order: &[u32], size: u32) -> Vec<Vec<u32>> {
    order.chunks(size.max(1) as usize).map(<[u32]>::to_vec).collect()
}

#[cfg(test)]
mod tests;
