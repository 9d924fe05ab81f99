//! Vectors as 8-bit codes, with a proof of how far a product of codes can be from the score.
//!
//! ## The codes
//! Documents are centred on their mean `c`, both sides are turned by one orthogonal map `T` (signs, then Hadamard transforms
//! of the first and of the last `2^p` coordinates), and each vector is rounded to `scale * b` with whole `b` in -127..=127.
//! `<q, d> = <q, c> + <Tq, T(d - c)>`: the first term is the same for all documents of an anchor, so it changes no rank. Centring
//! and turning prove nothing by themselves; they make the rounding errors small where cosines are compressed or a few
//! dimensions dominate.
//!
//! ## The bound
//! Let `x = Tq`, `y = T(d - c)` without rounding and `x^`, `y^` the decoded vectors. By Cauchy-Schwarz
//! `|<x, y> - <x^, y^>| <= |x - x^| |y| + |x^| |y - y^|`. `T` is computed in f32; each of its at most 42 steps errs by at most
//! one rounding of the vector's length, which [`TURN`] covers. A score of f32 search is a chain of `n` fused products: it is
//! within `n u / (1 - n u) |q| |d|` of `<q, d>` (Higham, Accuracy and Stability, 3.1). [`Bound`] and [`Reach`] add all of it up, plus
//! slack for their own rounding.

use crate::kernel::{ANCHORS, DOCUMENTS, Panels, pack};

/// Unit of rounding of f32.
const U: f64 = 1.0 / (1 << 24) as f64;
/// Relative error of the turned vector, in length.
const TURN: f64 = 64.0 * U;
/// Relative error of a decoded product, of its bar and of the sums around them.
const DECODE: f64 = 16.0 * U;
/// Scales below are taken as 0: their reciprocal would overflow.
const LEAST_SCALE: f32 = 1e-30;
/// Lengths above might overflow a product.
pub(super) const GREATEST_NORM: f64 = 1e18;

/// Rounds a bound up, never down.
fn up(x: f64) -> f32 {
    (x * (1.0 + 1e-4)) as f32 + f32::MIN_POSITIVE
}

/// The map that both sides go through.
pub(super) struct Turn {
    centre: Vec<f32>,
    signs: Vec<f32>,
    block: usize,
    scale: f32,
}

impl Turn {
    /// Around `centre` `[dim]`.
    pub(super) fn new(centre: Vec<f32>) -> Self {
        let dim = centre.len();
        let block = if dim.is_power_of_two() { dim } else { dim.next_power_of_two() / 2 };
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let signs = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if state >> 63 == 0 { 1.0 } else { -1.0 }
        });
        Turn { signs: signs.take(dim).collect(), centre, block, scale: 1.0 / (block as f32).sqrt() }
    }

    /// Columns of both sides.
    pub(super) fn dim(&self) -> usize {
        self.centre.len()
    }

    /// Turns a panel `[dim][W]` in place.
    fn turn<const W: usize>(&self, panel: &mut [[f32; W]]) {
        for (row, &sign) in panel.iter_mut().zip(&self.signs) {
            row.iter_mut().for_each(|x| *x *= sign);
        }
        let rest = panel.len() - self.block;
        self.hadamard(&mut panel[..self.block]);
        if rest > 0 {
            self.hadamard(&mut panel[rest..]);
        }
    }

    fn hadamard<const W: usize>(&self, rows: &mut [[f32; W]]) {
        let mut half = 1;
        while half < rows.len() {
            for pair in rows.chunks_exact_mut(2 * half) {
                let (low, high) = pair.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    for (a, b) in a.iter_mut().zip(b) {
                        (*a, *b) = (*a + *b, *a - *b);
                    }
                }
            }
            half *= 2;
        }
        for row in rows {
            row.iter_mut().for_each(|x| *x *= self.scale);
        }
    }
}

/// What holds for every document of a panel.
#[derive(Clone, Copy, Default)]
pub(super) struct Bound {
    /// At least `|y - y^|` and what decoding adds.
    residue: f32,
    /// At least `|y|`.
    length: f32,
    /// At least `|d|`.
    original: f32,
}

/// What holds for the anchors of a panel, lane by lane; zeros where no bound can be given.
#[derive(Clone, Copy, Default)]
pub(super) struct Reach {
    decoded: [f32; ANCHORS],
    residue: [f32; ANCHORS],
    chain: [f32; ANCHORS],
}

impl Reach {
    /// How far the decoded products with a document of the panel can be from the scores, up to each anchor's
    /// constant.
    pub(super) fn errors(&self, bound: Bound) -> [f32; ANCHORS] {
        std::array::from_fn(|lane| self.error(lane, bound))
    }

    /// The same for one anchor.
    pub(super) fn error(&self, lane: usize, bound: Bound) -> f32 {
        let sum = self.decoded[lane] * bound.residue
            + self.residue[lane] * bound.length
            + self.chain[lane] * bound.original;
        sum * 1.0001 + f32::MIN_POSITIVE
    }
}

/// Lane sums of a coded panel, in double precision.
struct Coded<const W: usize> {
    scales: [f32; W],
    /// Squared length of the turned vector, of what rounding took away, and sum and squared sum of the codes.
    length: [f64; W],
    residue: [f64; W],
    sums: [i32; W],
    squares: [i64; W],
}

/// Rounds a turned panel `[dim][W]` to codes, stored as `code + shift` in bytes.
fn code<const W: usize>(panel: &[[f32; W]], shift: i32, out: &mut [u32]) -> Coded<W> {
    let mut greatest = [0.0f32; W];
    let mut length = [0.0f64; W];
    for row in panel {
        for ((&x, g), l) in row.iter().zip(&mut greatest).zip(&mut length) {
            *g = if x.abs() > *g { x.abs() } else { *g };
            *l += f64::from(x) * f64::from(x);
        }
    }
    let scales = greatest.map(|g| if g / 127.0 > LEAST_SCALE { g / 127.0 } else { 0.0 });
    let inverses = scales.map(|s| if s > 0.0 { 1.0 / s } else { 0.0 });
    let mut coded = Coded { scales, length, residue: [0.0; W], sums: [0; W], squares: [0; W] };
    // Adding and taking away 1.5 x 2^23 rounds to the nearest whole number without a library call.
    const ROUND: f32 = 12_582_912.0;
    for (rows, words) in panel.chunks(4).zip(out.chunks_exact_mut(W)) {
        let mut bytes = [(shift as u32 & 0xff) * 0x0101_0101; W];
        for (k, row) in rows.iter().enumerate() {
            for lane in 0..W {
                let whole = (row[lane] * inverses[lane]).clamp(-127.0, 127.0) + ROUND - ROUND;
                let left = f64::from(row[lane]) - f64::from(whole) * f64::from(coded.scales[lane]);
                coded.residue[lane] += left * left;
                let whole = whole as i32;
                coded.sums[lane] += whole;
                coded.squares[lane] += i64::from(whole * whole);
                let mask = 0xffu32 << (8 * k);
                let byte = ((whole + shift) as u32 & 0xff) << (8 * k);
                bytes[lane] = bytes[lane] & !mask | byte;
            }
        }
        words.copy_from_slice(&bytes);
    }
    coded
}

/// Reused space of coding.
#[derive(Default)]
pub(super) struct Space(Vec<f32>);

/// Squared lengths of rows.
fn squares(rows: &[f32], dim: usize) -> impl Iterator<Item = f64> + '_ {
    rows.chunks(dim).map(|row| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum())
}

/// Codes of one panel of documents `[n][dim]`, `n <= 32`; none if one is not finite or too long.
pub(super) fn code_documents(
    turn: &Turn,
    rows: &[f32],
    words: &mut [u32],
    scales: &mut [f32; DOCUMENTS],
    space: &mut Space,
) -> Option<Bound> {
    let dim = turn.centre.len();
    let count = rows.len() / dim;
    let original = squares(rows, dim).fold(0.0f64, |m, x| if x > m || x.is_nan() { x } else { m }).sqrt();
    if original.is_nan() || original > GREATEST_NORM {
        return None;
    }
    space.0.resize(dim * DOCUMENTS, 0.0);
    pack(rows, dim, DOCUMENTS, &mut space.0);
    let panel = space.0.as_chunks_mut::<DOCUMENTS>().0;
    for (row, &c) in panel.iter_mut().zip(&turn.centre) {
        row.iter_mut().for_each(|x| *x -= c);
    }
    turn.turn(panel);
    let coded = code(panel, 128, words);
    *scales = coded.scales;
    let mut bound = Bound { original: up(original), ..Bound::default() };
    for lane in 0..count {
        let length = coded.length[lane].sqrt() * (1.0 + TURN);
        bound.length = bound.length.max(up(length));
        bound.residue = bound.residue.max(up(coded.residue[lane].sqrt() + (TURN + DECODE) * length));
    }
    Some(bound)
}

/// A coded panel of anchors.
pub(super) struct AnchorPanel {
    /// What a sum of products starts with.
    pub(super) starts: [i32; ANCHORS],
    /// A decoded product is the tile's score times this; 0 where no bound can be given.
    pub(super) scales: [f32; ANCHORS],
    /// One divided by them; 1 where no bound can be given.
    pub(super) inverses: [f32; ANCHORS],
    pub(super) reach: Reach,
}

/// Codes of one panel of anchors `[n][dim]`, `n <= 12`.
pub(super) fn code_anchors(turn: &Turn, rows: &[f32], words: &mut [u32], space: &mut Space) -> AnchorPanel {
    let dim = turn.centre.len();
    space.0.resize(dim * ANCHORS, 0.0);
    pack(rows, dim, ANCHORS, &mut space.0);
    let panel = space.0.as_chunks_mut::<ANCHORS>().0;
    turn.turn(panel);
    let coded = code(panel, 0, words);
    let mut out = AnchorPanel {
        starts: coded.sums.map(|s| -128 * s),
        scales: [0.0; ANCHORS],
        inverses: [1.0; ANCHORS],
        reach: Reach::default(),
    };
    let roundings = (dim as f64 + 2.0) * U;
    let chain = roundings / (1.0 - roundings);
    for (lane, square) in squares(rows, dim).enumerate() {
        let original = square.sqrt();
        if original <= GREATEST_NORM && coded.scales[lane] > 0.0 {
            let scale = coded.scales[lane];
            out.scales[lane] = scale;
            out.inverses[lane] = 1.0 / scale;
            out.reach.decoded[lane] = up((coded.squares[lane] as f64).sqrt() * f64::from(scale));
            out.reach.residue[lane] = up(coded.residue[lane].sqrt() + TURN * original);
            out.reach.chain[lane] = up(chain * original);
        }
    }
    out
}

/// Words of a coded row.
pub(super) fn words(dim: usize) -> usize {
    dim.div_ceil(4)
}

/// Bytes of `rows` coded documents.
pub(super) fn bytes(rows: usize, dim: usize) -> usize {
    Panels::<u32>::bytes(rows, words(dim), DOCUMENTS)
        .saturating_add(rows.div_ceil(DOCUMENTS).saturating_mul(4 * DOCUMENTS + 12))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Decoded product plus the anchor's constant, against the f32 chain, on values of very different sizes.
        #[test]
        fn no_score_is_further_away_than_the_bound(
            (q, d, c) in (1usize..80).prop_flat_map(|dim| {
                let value = || prop_oneof![4 => -1.0f32..1.0, 1 => -300.0f32..300.0, 1 => Just(0.0), 1 => Just(1e-38f32)];
                (
                    proptest::collection::vec(value(), dim * ANCHORS),
                    proptest::collection::vec(value(), dim * DOCUMENTS),
                    proptest::collection::vec(-1.0f32..1.0, dim),
                )
            }),
        ) {
            let dim = c.len();
            let turn = Turn::new(c.clone());
            let (mut qw, mut dw) = (vec![0; words(dim) * ANCHORS], vec![0; words(dim) * DOCUMENTS]);
            let mut scales = [0.0; DOCUMENTS];
            let mut space = Space::default();
            let bound = code_documents(&turn, &d, &mut dw, &mut scales, &mut space).unwrap();
            let panel = code_anchors(&turn, &q, &mut qw, &mut space);
            for (i, a) in q.chunks(dim).enumerate().filter(|&(i, _)| panel.scales[i] > 0.0) {
                for (j, b) in d.chunks(dim).enumerate() {
                    let products = (0..words(dim)).map(|w| {
                        let (x, y) = (qw[w * ANCHORS + i].to_le_bytes(), dw[w * DOCUMENTS + j].to_le_bytes());
                        x.into_iter().zip(y).map(|(x, y)| i32::from(x as i8) * i32::from(y)).sum::<i32>()
                    });
                    let sum = panel.starts[i] + products.sum::<i32>();
                    let decoded = f64::from(sum as f32 * scales[j] * panel.scales[i]);
                    let score = a.iter().zip(b).fold(0.0f32, |acc, (&x, &y)| x.mul_add(y, acc));
                    let error = (f64::from(score) - decoded - exact(a, &c)).abs();
                    let allowed = f64::from(panel.reach.error(i, bound));
                    prop_assert!(error <= allowed, "{error} beyond {allowed}");
                }
            }
        }
    }

    #[test]
    fn turning_keeps_inner_products() {
        for dim in [1, 3, 12, 384, 100] {
            let turn = Turn::new(vec![0.0; dim]);
            let mut rows: Vec<[f32; 2]> =
                (0..dim).map(|k| [(k as f32).sin(), (k as f32 * 1.7).cos() + 0.1]).collect();
            let product = |rows: &[[f32; 2]]| rows.iter().map(|r| r[0] * r[1]).sum::<f32>();
            let before = product(&rows);
            turn.turn(&mut rows);
            assert!((product(&rows) - before).abs() < 1e-4, "{dim}: {before} became {}", product(&rows));
        }
    }
}
