//! Which numbers a pass drops out: a function of seed, step, place in the network, text and token, so that activations
//! computed a second time are the same.

use std::ops::Range;

use hardrock_core::Rng;

use crate::kernel::slopes::STEP;
use crate::kernel::{Isa, TOKENS, lanes::Lanes, slopes};

/// Keys of a pass over a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mask {
    pub(super) seed: u64,
    /// The pass's number.
    pub(super) pass: u64,
    /// Number of the chunk's first token among those of the pass.
    pub(super) first: u64,
    /// Share of dropped numbers of vectors, in `[0, 1)`.
    pub(super) rate: f32,
    /// Share of dropped attention weights, in `[0, 1)`.
    pub(super) attention: f32,
}

/// What a place of the network drops out of a chunk.
#[derive(Debug)]
pub(super) struct Site {
    /// A key per token of the chunk, its last panel filled up.
    keys: Vec<u32>,
    /// Hashes below are dropped.
    pub(super) bar: u32,
    /// What the others are multiplied with.
    pub(super) by: f32,
}

impl Mask {
    /// The site `number` for a chunk of `panels`; none if nothing is dropped there.
    pub(super) fn site(&self, number: usize, rate: f32, panels: usize) -> Option<Site> {
        if rate <= 0.0 {
            return None;
        }
        let key = |token: usize| {
            // One generator per site and token; passes are 2^40 tokens apart.
            let row = (self.pass << 40) ^ (self.first + token as u64);
            Rng::at(self.seed, 0xD0_0000 + number as u64, row).next_u64() as u32
        };
        let bar = (f64::from(rate) * 4_294_967_296.0) as u32;
        Some(Site { keys: (0..panels * TOKENS).map(key).collect(), bar, by: 1.0 / (1.0 - rate) })
    }
}

impl Site {
    /// The keys of a panel.
    pub(super) fn lanes(&self, panel: usize) -> &[u32; TOKENS] {
        // Sites are made for whole panels, so there is always one.
        static NONE: [u32; TOKENS] = [0; TOKENS];
        self.keys[panel * TOKENS..].first_chunk().unwrap_or(&NONE)
    }

    /// The keys of some tokens.
    pub(super) fn tokens(&self, tokens: Range<usize>) -> &[u32] {
        &self.keys[tokens]
    }

    /// Drops numbers of the first `features` rows of each panel of `x` `[panels][stride]`.
    pub(super) fn apply(&self, isa: Isa, features: usize, stride: usize, x: &mut [Lanes]) {
        let rows: Vec<u32> = (0..features as u32).map(|k| k.wrapping_mul(STEP)).collect();
        for (panel, x) in x.chunks_exact_mut(stride).enumerate() {
            slopes::drop_out(isa, &mut x[..features], &rows, self.lanes(panel), self.bar, self.by);
        }
    }
}
