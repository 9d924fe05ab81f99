//! The tile of scores in 8-bit integers: exact products of rounded vectors, which only choose whom to look at.
//!
//! Anchors are signed codes `a` in -127..=127, documents the unsigned codes `b + 128`, because that is the pair of
//! types the instruction multiplies. `sum a (b + 128) = sum a b + 128 sum a`: the second term is one constant per
//! anchor, with which its sum starts. Integers do not round, so all implementations agree.

#[cfg(test)]
use super::plain_eight;
use super::{ANCHORS, DOCUMENTS, Tile};

/// How this machine multiplies 8-bit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Eight(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Vnni,
    #[cfg(test)]
    Plain,
}

impl Eight {
    /// The 8-bit instructions of this machine; none where they would not be faster than f32.
    pub(crate) fn best() -> Option<Eight> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            return Some(Eight(Kind::Vnni));
        }
        None
    }

    /// All that can be tested here.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Eight> {
        Eight::best().into_iter().chain([Eight(Kind::Plain)]).collect()
    }
}

/// Four codes in the bytes of one word, lowest first.
pub(crate) type Codes = u32;

/// Scores one panel of anchor codes `[dim / 4][ANCHORS]` against one panel of document codes
/// `[dim / 4][DOCUMENTS]`: `out.scores[i][j] = scales[j] * (starts[i] + sum of products)`, rounded twice.
///
/// `starts[i]` is `-128` times the sum of the codes of anchor `i`. Everything else is as in [`super::tile`], except that all
/// rows of `out.scores` are written.
///
/// # Panics
/// If the panels differ in depth.
#[allow(clippy::too_many_arguments)]
pub(crate) fn tile(
    eight: Eight,
    anchors: &[Codes],
    documents: &[Codes],
    ahead: [&[Codes]; 2],
    starts: &[i32; ANCHORS],
    scales: &[f32; DOCUMENTS],
    bars: &[f32; ANCHORS],
    live: u32,
    out: &mut Tile,
) -> u16 {
    let steps = documents.len() / DOCUMENTS;
    assert!(documents.len() == steps * DOCUMENTS && anchors.len() == steps * ANCHORS, "panels of one depth");
    match eight.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value `Vnni` exists only where both features were detected; the lengths are asserted above.
        Kind::Vnni => unsafe {
            super::vnni::tile(anchors, documents, ahead, starts, scales, bars, live, out)
        },
        #[cfg(test)]
        Kind::Plain => {
            let _ = ahead;
            plain_eight::tile(anchors, documents, starts, scales, bars, live, out)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_vector_tile_is_the_plain_tile(
            (a, d) in (1usize..40).prop_flat_map(|steps| (
                proptest::collection::vec(any::<u32>(), steps * ANCHORS),
                proptest::collection::vec(any::<u32>(), steps * DOCUMENTS),
            )),
            start in -1_000_000i32..1_000_000,
            scale in 1e-6f32..1e-2,
            bar in -1.0f32..1.0,
            live in any::<u32>(),
        ) {
            let mut bars = [bar; ANCHORS];
            bars[3] = f32::NEG_INFINITY;
            bars[7] = f32::INFINITY;
            let (starts, scales) = ([start; ANCHORS], [scale; DOCUMENTS]);
            let run = |eight| {
                let mut out = Tile::new();
                let rows = tile(eight, &a, &d, [&a, &d], &starts, &scales, &bars, live, &mut out);
                (rows, out.above, out.scores)
            };
            let want = run(Eight(Kind::Plain));
            for eight in Eight::available() {
                prop_assert_eq!(run(eight), want);
            }
        }
    }
}
