//! How much of their wording two texts share: exact Jaccard of word shingles.
//!
//! Words are those of the tokenizer; a shingle is `size` words in a row, kept as a 64-bit hash that is the same on every
//! machine. A text with fewer words than `size` falls back to single words.

use super::Tokenizer;

/// Makes shingles of texts.
#[derive(Debug)]
pub struct Shingler {
    tokenizer: Tokenizer,
    size: usize,
}

/// A set of shingles: distinct hashes, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shingles(Vec<u64>);

impl Shingler {
    /// `size` words in a row; 0 counts as 1.
    pub fn new(tokenizer: Tokenizer, size: usize) -> Self {
        Self { tokenizer, size: size.max(1) }
    }

    /// Shingles of one text; single words where it has fewer than `size` words.
    pub fn shingles(&self, text: &str) -> Shingles {
        let words = self.hashes(text);
        let size = if words.len() < self.size { 1 } else { self.size };
        join(&words, size)
    }

    /// Jaccard of two texts, in `[0, 1]`: shared shingles / all shingles; single words where either text is short.
    /// 0 where either has no words.
    pub fn jaccard(&self, a: &str, b: &str) -> f64 {
        let (a, b) = (self.hashes(a), self.hashes(b));
        let size = if a.len().min(b.len()) < self.size { 1 } else { self.size };
        join(&a, size).jaccard(&join(&b, size))
    }

    /// Jaccard of the two texts' words, in `[0, 1]`.
    pub fn word_jaccard(&self, a: &str, b: &str) -> f64 {
        join(&self.hashes(a), 1).jaccard(&join(&self.hashes(b), 1))
    }

    fn hashes(&self, text: &str) -> Vec<u64> {
        let mut words = Vec::new();
        self.tokenizer.tokens(text, |word| words.push(hash_word(word)));
        words
    }
}

impl Shingles {
    /// The hashes, ascending.
    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }

    /// Shared / all, in `[0, 1]`; 0 where either set is empty.
    pub fn jaccard(&self, other: &Self) -> f64 {
        let (a, b) = (&self.0, &other.0);
        if a.is_empty() || b.is_empty() {
            return 0.0;
        }
        let (mut i, mut j, mut shared) = (0, 0, 0usize);
        while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
            i += usize::from(x <= y);
            j += usize::from(y <= x);
            shared += usize::from(x == y);
        }
        shared as f64 / (a.len() + b.len() - shared) as f64
    }
}

fn join(words: &[u64], size: usize) -> Shingles {
    let mut hashes: Vec<u64> = words
        .windows(size)
        .map(|window| window.iter().fold(size as u64, |hash, &word| mix(hash.rotate_left(25) ^ word)))
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    Shingles(hashes)
}

/// FNV-1a with a final mix.
fn hash_word(word: &str) -> u64 {
    let fnv = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(word.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// The finaliser of splitmix64: a bijection that spreads every bit.
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::TokenOptions;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn shingler(size: usize) -> Shingler {
        Shingler::new(Tokenizer::new(TokenOptions::plain()).unwrap(), size)
    }

    #[test]
    fn one_changed_word_costs_three_shingles() {
        // 8 words: 6 shingles each; the changed word sits in three of them.
        let (a, b) = ("a b c d e f g h", "a b c d X f g h");
        assert_eq!(shingler(3).jaccard(a, b), 3.0 / 9.0);
        assert_eq!(shingler(3).word_jaccard(a, b), 7.0 / 9.0);
    }

    #[test]
    fn short_texts_fall_back_to_words() {
        assert_eq!(shingler(3).jaccard("red fox", "fox Red"), 1.0);
        assert_eq!(shingler(3).jaccard("red fox", "the red fox"), 2.0 / 3.0);
        assert_eq!(shingler(3).shingles("red fox").as_slice().len(), 2);
    }

    #[test]
    fn texts_without_words_are_like_nothing() {
        assert_eq!(shingler(3).jaccard("", ""), 0.0);
        assert_eq!(shingler(3).jaccard("...", "word"), 0.0);
    }

    #[test]
    fn hashes_are_the_same_on_every_machine() {
        assert_eq!(hash_word("hardrock"), 9_780_450_462_831_052_723);
    }

    proptest! {
        #[test]
        fn jaccard_equals_the_naive_one(a in "[a-d ]{0,30}", b in "[a-d ]{0,30}", size in 1usize..5) {
            let words = |t: &str| t.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            let (wa, wb) = (words(&a), words(&b));
            let size_used = if wa.len().min(wb.len()) < size { 1 } else { size };
            let sets = [&wa, &wb].map(|w| w.windows(size_used).map(<[String]>::to_vec).collect::<BTreeSet<_>>());
            let shared = sets[0].intersection(&sets[1]).count() as f64;
            let all = sets[0].union(&sets[1]).count() as f64;
            let naive = if sets[0].is_empty() || sets[1].is_empty() { 0.0 } else { shared / all };
            prop_assert_eq!(shingler(size).jaccard(&a, &b), naive);
        }
    }
}
