//! The inner loops of exact search: a tile of scores that never leaves the registers unless it must.
//!
//! Why a module of its own: it is the only place of the workspace with `unsafe`, behind a safe API.
//!
//! ## What a score is
//! The chain of fused multiply-adds over the depth, `acc = a[d].mul_add(b[d], acc)` from `d = 0` and
//! `acc = 0.0`, and a negative zero at the end counts as zero. Vector lanes are documents, so each lane *is*
//! such a chain: every instruction set, tile, chunking and the scorer of single pairs agree bit by bit.
//! [`plain`] spells it out; the property tests below hold every other kernel to it.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod eight;
pub(crate) mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
mod plain;
#[cfg(test)]
mod plain_eight;
mod product;
mod product_eight;
#[cfg(target_arch = "x86_64")]
mod product_eight_x86;
pub(crate) mod slopes;
mod topk;
pub(crate) mod transpose;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub(crate) use eight::{Eight, tile as eight_tile};
pub(crate) use pack::{Panels, pack};
pub(crate) use product::{OUTPUTS, TOKENS, product};
pub(crate) use product_eight::{Codes, Multiplier, Scales, Weights, code, product_eight, words};
pub(crate) use topk::{Best, Scratch};

/// Anchors in a tile: with [`DOCUMENTS`] they fill 24 of the 32 AVX-512 registers.
pub(crate) const ANCHORS: usize = 12;
/// Documents in a tile, the vector lanes.
pub(crate) const DOCUMENTS: usize = 32;

/// An instruction set this machine has. Values exist only for what was detected, which is what makes the
/// calls into the vector kernels sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Plain,
}

impl Isa {
    /// All that this machine has, fastest first; the portable one is always the last.
    pub fn available() -> Vec<Isa> {
        let mut found = Vec::with_capacity(3);
        #[cfg(target_arch = "x86_64")]
        {
            let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if fma && is_x86_feature_detected!("avx512f") {
                found.push(Isa(Kind::Avx512));
            }
            if fma {
                found.push(Isa(Kind::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Isa(Kind::Neon));
        }
        found.push(Isa(Kind::Plain));
        found
    }

    /// The fastest of this machine.
    pub fn best() -> Isa {
        Isa::available().first().copied().unwrap_or(Isa(Kind::Plain))
    }

    /// `avx512`, `avx2`, `neon` or `plain`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            Kind::Plain => "plain",
        }
    }
}

/// The scores of [`ANCHORS`] x [`DOCUMENTS`] pairs and who passed its anchor's bar.
#[repr(C, align(64))]
pub(crate) struct Tile {
    /// `[anchor][document]`; only rows that [`tile`] names are written.
    pub(crate) scores: [[f32; DOCUMENTS]; ANCHORS],
    /// Bit `j` of row `i`: document `j` scored above `bars[i]`. Written for all rows.
    pub(crate) above: [u32; ANCHORS],
}

impl Tile {
    pub(crate) fn new() -> Self {
        Tile { scores: [[0.0; DOCUMENTS]; ANCHORS], above: [0; ANCHORS] }
    }
}

/// Scores one panel of anchors `[dim][ANCHORS]` against one panel of documents `[dim][DOCUMENTS]`.
///
/// Bit `i` of the answer: row `i` has a document above `bars[i]` among the lanes set in `live`; the scores of
/// such rows are in `out`. NaN is above nothing. `ahead` is memory worth having in the cache soon.
///
/// # Panics
/// If a panel does not hold exactly `dim` steps.
pub(crate) fn tile(
    isa: Isa,
    anchors: &[f32],
    documents: &[f32],
    ahead: [&[f32]; 2],
    bars: &[f32; ANCHORS],
    live: u32,
    out: &mut Tile,
) -> u16 {
    let dim = documents.len() / DOCUMENTS;
    assert!(documents.len() == dim * DOCUMENTS && anchors.len() == dim * ANCHORS, "panels of one depth");
    #[cfg(not(target_arch = "x86_64"))]
    let _ = ahead; // Only AVX-512 is fast enough to wait for memory here.
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value `Avx512` exists only where AVX-512F was detected; the lengths are asserted above.
        Kind::Avx512 => unsafe { avx512::tile(anchors, documents, ahead, bars, live, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value `Avx2` exists only where AVX2 and FMA were detected; the lengths are asserted above.
        Kind::Avx2 => unsafe { avx2::tile(anchors, documents, bars, live, out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the value `Neon` exists only where NEON was detected; the lengths are asserted above.
        Kind::Neon => unsafe { neon::tile(anchors, documents, bars, live, out) },
        Kind::Plain => plain::tile(anchors, documents, bars, live, out),
    }
}

/// Scores one anchor `[dim]` against the rows of `documents` `[out.len()][dim]`, with the bits that a search
/// gives the same pairs.
///
/// # Panics
/// If the lengths do not fit.
pub fn dots(isa: Isa, anchor: &[f32], documents: &[f32], out: &mut [f32]) {
    assert!(documents.len() == anchor.len() * out.len(), "rows of one dimension");
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both values exist only where FMA was detected.
        Kind::Avx512 | Kind::Avx2 => unsafe { avx2::dots(anchor, documents, out) },
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => plain::dots(anchor, documents, out),
        Kind::Plain => plain::dots(anchor, documents, out),
    }
}

/// Scores one pair; many at once go faster through [`dots`].
///
/// # Panics
/// If the lengths differ.
pub fn dot(isa: Isa, a: &[f32], b: &[f32]) -> f32 {
    let mut out = [0.0];
    dots(isa, a, b, &mut out);
    out[0]
}

/// Runs `rounds` of independent fused multiply-adds that stay in registers and returns how many floating
/// point operations that was: the ceiling which benchmarks divide by.
pub fn fma_rounds(isa: Isa, rounds: usize) -> f64 {
    let (lanes, sum) = match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value `Avx512` exists only where AVX-512F was detected.
        Kind::Avx512 => unsafe { avx512::fma_rounds(rounds) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value `Avx2` exists only where AVX2 and FMA were detected.
        Kind::Avx2 => unsafe { avx2::fma_rounds(rounds) },
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => plain::fma_rounds(rounds),
        Kind::Plain => plain::fma_rounds(rounds),
    };
    std::hint::black_box(sum);
    2.0 * lanes as f64 * rounds as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f32> {
        // Few small values make ties, zeros of both signs and products that vanish likely.
        prop_oneof![4 => -2.0f32..2.0, 1 => Just(0.0), 1 => Just(-0.0), 1 => Just(1e-30), 1 => Just(-1e-30)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_kernel_gives_the_bits_of_the_plain_tile(
            (a, d) in (1usize..70).prop_flat_map(|dim| (
                proptest::collection::vec(value(), dim * ANCHORS),
                proptest::collection::vec(value(), dim * DOCUMENTS),
            )),
            bar in -1.0f32..1.0,
            live in any::<u32>(),
        ) {
            let mut bars = [bar; ANCHORS];
            bars[3] = f32::NEG_INFINITY;
            bars[7] = f32::INFINITY;
            let mut want = Tile::new();
            let rows = plain::tile(&a, &d, &bars, live, &mut want);
            for isa in Isa::available() {
                let mut got = Tile::new();
                prop_assert_eq!(tile(isa, &a, &d, [&a, &d], &bars, live, &mut got), rows, "{}", isa.name());
                prop_assert_eq!(got.above, want.above);
                for i in (0..ANCHORS).filter(|i| rows >> i & 1 == 1) {
                    prop_assert_eq!(got.scores[i].map(f32::to_bits), want.scores[i].map(f32::to_bits));
                }
            }
        }

        #[test]
        fn pairs_get_the_bits_of_the_tile(
            (dim, a, d) in (1usize..70).prop_flat_map(|dim| (
                Just(dim),
                proptest::collection::vec(value(), dim),
                proptest::collection::vec(value(), dim * 19),
            )),
        ) {
            let mut anchors = vec![0.0; dim * ANCHORS];
            let mut documents = vec![0.0; dim * DOCUMENTS];
            for k in 0..dim {
                anchors[k * ANCHORS + 5] = a[k];
                for j in 0..19 {
                    documents[k * DOCUMENTS + j] = d[j * dim + k];
                }
            }
            let mut want = Tile::new();
            plain::tile(&anchors, &documents, &[f32::NEG_INFINITY; ANCHORS], u32::MAX, &mut want);
            for isa in Isa::available() {
                let mut got = [0.0; 19];
                dots(isa, &a, &d, &mut got);
                for j in 0..19 {
                    // Adding zero turns a negative zero positive and leaves all else alone.
                    prop_assert_eq!(got[j].to_bits(), (want.scores[5][j] + 0.0).to_bits());
                    prop_assert_eq!(dot(isa, &a, &d[j * dim..][..dim]).to_bits(), got[j].to_bits());
                }
            }
        }
    }

    #[test]
    fn nan_is_above_no_bar() {
        let (a, d) = ([f32::NAN; ANCHORS], [1.0; DOCUMENTS]);
        for isa in Isa::available() {
            let mut out = Tile::new();
            assert_eq!(tile(isa, &a, &d, [&[]; 2], &[f32::NEG_INFINITY; ANCHORS], u32::MAX, &mut out), 0);
            assert_eq!(out.above, [0; ANCHORS]);
        }
    }

    #[test]
    fn a_score_is_fused_not_rounded_twice() {
        // (1 + e)^2 - 1 with e = 2^-12 keeps the e^2 only if the product is not rounded first.
        let e = 1.0 + f32::EPSILON * 2048.0;
        let want = e.mul_add(e, -1.0);
        assert_ne!(want, e * e - 1.0);
        for isa in Isa::available() {
            assert_eq!(dot(isa, &[-1.0, e], &[1.0, e]), want, "{}", isa.name());
        }
    }
}
