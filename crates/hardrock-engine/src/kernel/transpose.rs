//! From panels of 32 tokens to the operands of a weight's slope, whose sum runs over the tokens.
//!
//! The product kernel sums over rows; for a slope the rows are tokens, so activations are turned to `[tokens][32 features]`
//! and the slopes of outputs to `[tokens][12 outputs]`.

use super::lanes::Lanes;
use super::product::{OUTPUTS, TOKENS};
use super::{Isa, Kind};

/// Turns up to 32 rows of a panel into `out` `[TOKENS][TOKENS]`: a row per token; missing rows are zero.
///
/// # Panics
/// If there are more rows or `out` has another length.
pub(crate) fn wide(isa: Isa, rows: &[Lanes], out: &mut [f32]) {
    assert!(rows.len() <= TOKENS && out.len() == TOKENS * TOKENS, "a panel's block");
    turn::<TOKENS>(isa, rows, out);
}

/// Turns up to 12 rows of a panel into `out` `[TOKENS][OUTPUTS]`: a row per token; missing rows are zero.
///
/// # Panics
/// If there are more rows or `out` has another length.
pub(crate) fn narrow(isa: Isa, rows: &[Lanes], out: &mut [f32]) {
    assert!(rows.len() <= OUTPUTS && out.len() == TOKENS * OUTPUTS, "a panel's tile");
    turn::<OUTPUTS>(isa, rows, out);
}

fn turn<const N: usize>(isa: Isa, rows: &[Lanes], out: &mut [f32]) {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            let mut block = [[0.0; TOKENS]; N];
            let rows = match <&[Lanes; N]>::try_from(rows) {
                Ok(rows) => rows,
                Err(_) => {
                    block[..rows.len()].copy_from_slice(rows);
                    &block
                }
            };
            // SAFETY: the value `Avx512` exists only where AVX-512F was detected; `out` holds a row of N per token
            // (asserted by both callers).
            unsafe { x86::turn::<N>(rows, out) }
        }
        _ => plain::<N>(rows, out),
    }
}

/// The definition.
fn plain<const N: usize>(rows: &[Lanes], out: &mut [f32]) {
    for (lane, out) in out.chunks_exact_mut(N).enumerate() {
        out.fill(0.0);
        for (out, row) in out.iter_mut().zip(rows) {
            *out = row[lane];
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Lanes, TOKENS};

    /// Blocks of 16 x 16 numbers, turned in registers.
    ///
    /// # Safety
    /// AVX-512F must be present; `out` holds `TOKENS * N` numbers, `N` is 12 or 32.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn turn<const N: usize>(rows: &[Lanes; N], out: &mut [f32]) {
        for first in (0..N).step_by(16) {
            let count = (N - first).min(16);
            let mask = u16::MAX >> (16 - count);
            for half in [0, TOKENS / 2] {
                let mut block = [_mm512_setzero_ps(); 16];
                for (register, row) in block.iter_mut().zip(&rows[first..first + count]) {
                    // SAFETY: a row holds 32 floats and `half` is 0 or 16.
                    *register = unsafe { _mm512_loadu_ps(row.as_ptr().add(half)) };
                }
                for (token, register) in square(block).into_iter().enumerate() {
                    let to = out[(half + token) * N + first..][..count].as_mut_ptr();
                    // SAFETY: the slice holds `count` floats, and the mask lets only as many through.
                    unsafe { _mm512_mask_storeu_ps(to, mask, register) };
                }
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn square(r: [__m512; 16]) -> [__m512; 16] {
        let zero = _mm512_setzero_ps();
        let (mut t, mut u, mut v, mut o) = ([zero; 16], [zero; 16], [zero; 16], [zero; 16]);
        for i in 0..8 {
            t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
        }
        for i in 0..4 {
            for j in 0..2 {
                let (a, b) = (_mm512_castps_pd(t[4 * i + j]), _mm512_castps_pd(t[4 * i + 2 + j]));
                u[4 * i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                u[4 * i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
            }
        }
        for i in 0..4 {
            v[i] = _mm512_shuffle_f32x4::<0x88>(u[i], u[i + 4]);
            v[i + 4] = _mm512_shuffle_f32x4::<0xdd>(u[i], u[i + 4]);
            v[i + 8] = _mm512_shuffle_f32x4::<0x88>(u[i + 8], u[i + 12]);
            v[i + 12] = _mm512_shuffle_f32x4::<0xdd>(u[i + 8], u[i + 12]);
        }
        for i in 0..8 {
            o[i] = _mm512_shuffle_f32x4::<0x88>(v[i], v[i + 8]);
            o[i + 8] = _mm512_shuffle_f32x4::<0xdd>(v[i], v[i + 8]);
        }
        o
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_and_missing_rows_zeros() {
        for count in [0, 1, 7, 12, 16, 31, 32] {
            let rows: Vec<Lanes> =
                (0..count).map(|r| std::array::from_fn(|l| (1 + r * TOKENS + l) as f32)).collect();
            let want = |l: usize, r: usize| if r < count { (1 + r * TOKENS + l) as f32 } else { 0.0 };
            for isa in Isa::available() {
                let mut out = vec![f32::NAN; TOKENS * TOKENS];
                wide(isa, &rows, &mut out);
                for (at, &x) in out.iter().enumerate() {
                    assert_eq!(x, want(at / TOKENS, at % TOKENS), "{}", isa.name());
                }
                if count <= OUTPUTS {
                    let mut out = vec![f32::NAN; TOKENS * OUTPUTS];
                    narrow(isa, &rows, &mut out);
                    for (at, &x) in out.iter().enumerate() {
                        assert_eq!(x, want(at / OUTPUTS, at % OUTPUTS), "{}", isa.name());
                    }
                }
            }
        }
    }
}
