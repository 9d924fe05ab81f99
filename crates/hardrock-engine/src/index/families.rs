//! Clusters of near-duplicate documents over the whole corpus.
//!
//! MinHash proposes pairs (128 hashes cut into bands; equal bands meet in a bucket), the exact Jaccard of their
//! shingles decides, and pairs that pass are joined. A pair at the threshold is overlooked with a chance of at most 1 in
//! 1,000, a closer pair far less often; no pair below the threshold is ever joined directly.

use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::forward::batches;
use super::shingles::mix;
use super::{IndexError, Result, Shingler, Shingles, Texts, Watch};

const HASHES: usize = 128;
/// Chance that a pair exactly at the threshold shares no band.
const MISS: f64 = 1e-3;
/// Texts per task.
const BATCH: usize = 1024;

/// What counts as a near-duplicate, and the memory to find it with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FamilyOptions {
    /// Least Jaccard of the shingles, in `[0.2, 1]`. Below about 0.5 buckets get large and the job slow.
    pub threshold: f64,
    /// Bytes for the bands (24 per document and band; 25 bands at 0.8). With less, the texts are read several times.
    pub budget: u64,
}

impl Default for FamilyOptions {
    fn default() -> Self {
        Self { threshold: 0.8, budget: 1 << 30 }
    }
}

impl FamilyOptions {
    /// Says whether the threshold is in range.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self) -> Result<()> {
        if (0.2..=1.0).contains(&self.threshold) {
            return Ok(());
        }
        Err(IndexError::Option {
            stage: "family",
            field: "threshold",
            must: "in [0.2, 1]".into(),
            got: self.threshold.to_string(),
            hint: String::new(),
        })
    }

    /// Hashes per band: as many as the chance of a miss allows, because longer bands propose fewer pairs in vain.
    fn rows(&self) -> usize {
        let miss = |rows: usize| (1.0 - self.threshold.powi(rows as i32)).powi((HASHES / rows) as i32);
        (1..=HASHES).rev().find(|&rows| miss(rows) <= MISS).unwrap_or(1)
    }
}

/// The family of each text: the lowest number among the texts that it is joined with, directly or through others.
/// Texts without words stay alone. The same for any number of threads and any budget.
///
/// # Errors
/// A bad threshold, more than 2^32 - 1 texts, those of the texts, or `Cancelled`.
pub fn families(
    texts: &dyn Texts,
    shingler: &Shingler,
    options: &FamilyOptions,
    watch: &Watch<'_>,
) -> Result<Vec<u32>> {
    options.check()?;
    let len = texts.len();
    if len >= u32::MAX as usize {
        return Err(IndexError::TooMany { what: "documents", got: len, most: u32::MAX as usize - 1 });
    }
    let rows = options.rows();
    let bands = HASHES / rows;
    let mut joined = Joined((0..len as u32).collect());
    join_equals(texts, shingler, &mut joined, watch)?;
    // Of texts with equal shingles one stands for all from here on.
    let copy_of = joined.roots();
    let held = (options.budget / (24 * len.max(1) as u64)).clamp(1, bands as u64) as usize;
    for pass in batches(0..bands, held) {
        for mut band in sign(texts, shingler, pass, rows, &copy_of, watch)? {
            band.par_sort_unstable();
            join_band(&band, texts, shingler, options.threshold, &mut joined, watch)?;
        }
    }
    Ok(joined.roots())
}

/// Calls `f(document, shingles)` for all texts in parallel; the answers come back in document order.
fn over_texts<T: Send>(
    texts: &dyn Texts,
    shingler: &Shingler,
    watch: &Watch<'_>,
    f: impl Fn(u32, Shingles) -> Option<T> + Sync,
) -> Result<Vec<T>> {
    let parts: Vec<Vec<T>> = batches(0..texts.len(), BATCH)
        .into_par_iter()
        .map(|range| {
            watch.check()?;
            let mut found = Vec::with_capacity(range.len());
            texts.for_each(range, &mut |doc, text| found.extend(f(doc as u32, shingler.shingles(text))))?;
            Ok(found)
        })
        .collect::<Result<_>>()?;
    Ok(parts.into_iter().flatten().collect())
}

/// Joins texts with the same set of shingles (known by a 64-bit hash of the whole set).
fn join_equals(texts: &dyn Texts, shingler: &Shingler, joined: &mut Joined, watch: &Watch<'_>) -> Result<()> {
    let mut sets = over_texts(texts, shingler, watch, |doc, shingles| {
        let hashes = shingles.as_slice();
        let whole = hashes.iter().fold(hashes.len() as u64, |hash, &x| mix(hash.rotate_left(25) ^ x));
        (!hashes.is_empty()).then_some((whole, doc))
    })?;
    sets.par_sort_unstable();
    for same in sets.chunk_by(|a, b| a.0 == b.0) {
        same.iter().for_each(|&(_, doc)| joined.join(same[0].1, doc));
    }
    Ok(())
}

/// `(key, document)` of each text for each band of `bands`.
fn sign(
    texts: &dyn Texts,
    shingler: &Shingler,
    bands: Range<usize>,
    rows: usize,
    copy_of: &[u32],
    watch: &Watch<'_>,
) -> Result<Vec<Vec<(u64, u32)>>> {
    let functions: Vec<(u64, u64)> = (bands.start * rows..bands.end * rows)
        .map(|i| (mix(2 * i as u64 + 1), mix(2 * i as u64 + 2) | 1))
        .collect();
    let signed = over_texts(texts, shingler, watch, |doc, shingles| {
        if shingles.as_slice().is_empty() || copy_of[doc as usize] != doc {
            return None;
        }
        let mut least = vec![u32::MAX; functions.len()];
        for &hash in shingles.as_slice() {
            for (least, &(flip, spread)) in least.iter_mut().zip(&functions) {
                *least = (*least).min(((hash ^ flip).wrapping_mul(spread) >> 32) as u32);
            }
        }
        let key = |band: &[u32]| band.iter().fold(0u64, |key, &x| mix(key.rotate_left(25) ^ u64::from(x)));
        Some((doc, least.chunks_exact(rows).map(key).collect::<Box<[u64]>>()))
    })?;
    Ok((0..bands.len()).map(|band| signed.iter().map(|(doc, keys)| (keys[band], *doc)).collect()).collect())
}

/// Compares the texts that share a bucket of one band, unless they are joined already.
fn join_band(
    band: &[(u64, u32)],
    texts: &dyn Texts,
    shingler: &Shingler,
    threshold: f64,
    joined: &mut Joined,
    watch: &Watch<'_>,
) -> Result<()> {
    let roots = joined.roots();
    let root = |member: &(u64, u32)| roots[member.1 as usize];
    let buckets: Vec<&[(u64, u32)]> = band
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|bucket| bucket.iter().any(|member| root(member) != root(&bucket[0])))
        .collect();
    let pairs: Vec<Vec<(u32, u32)>> = buckets
        .into_par_iter()
        .map(|bucket| {
            let mut sets = Vec::with_capacity(bucket.len());
            for &(_, doc) in bucket {
                let doc = doc as usize;
                texts.for_each(doc..doc + 1, &mut |_, text| sets.push(shingler.shingles(text)))?;
            }
            // Which texts of the bucket are one family so far; skipping them leaves the result as it is.
            let mut group: Vec<u32> = bucket.iter().map(root).collect();
            let mut found = Vec::new();
            for (b, &(_, doc)) in bucket.iter().enumerate() {
                watch.check()?;
                for (a, &(_, earlier)) in bucket[..b].iter().enumerate() {
                    if group[a] != group[b] && sets[a].jaccard(&sets[b]) >= threshold {
                        found.push((earlier, doc));
                        let (from, to) = (group[b], group[a]);
                        group.iter_mut().filter(|g| **g == from).for_each(|g| *g = to);
                    }
                }
            }
            Ok(found)
        })
        .collect::<Result<_>>()?;
    pairs.into_iter().flatten().for_each(|(a, b)| joined.join(a, b));
    Ok(())
}

/// The groups that `pairs` of the numbers below `count` connect: per number the lowest one of its group. Pairs with a number
/// of `count` or more join nothing.
pub fn connected(count: usize, pairs: &[(u32, u32)]) -> Vec<u32> {
    let mut joined = Joined((0..count as u32).collect());
    for &(a, b) in pairs.iter().filter(|(a, b)| (*a.max(b) as usize) < count) {
        joined.join(a, b);
    }
    joined.roots()
}

/// Union-find whose root is always the lowest member.
struct Joined(Vec<u32>);

impl Joined {
    fn root(&mut self, mut doc: u32) -> u32 {
        while self.0[doc as usize] != doc {
            let up = self.0[doc as usize];
            self.0[doc as usize] = self.0[up as usize];
            doc = self.0[doc as usize];
        }
        doc
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b) as usize] = a.min(b);
    }

    fn roots(&mut self) -> Vec<u32> {
        (0..self.0.len() as u32).map(|doc| self.root(doc)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{TokenOptions, Tokenizer};
    use proptest::prelude::*;

    fn shingler() -> Shingler {
        Shingler::new(Tokenizer::new(TokenOptions::plain()).unwrap(), 3)
    }

    fn found(texts: &Vec<String>, options: FamilyOptions) -> Vec<u32> {
        families(texts, &shingler(), &options, &Watch::default()).unwrap()
    }

    fn at(threshold: f64) -> FamilyOptions {
        FamilyOptions { threshold, ..Default::default() }
    }

    /// A text of `words` words that no other seed shares.
    fn text(seed: usize, words: usize) -> Vec<String> {
        (0..words).map(|i| format!("s{seed}w{i}")).collect()
    }

    #[test]
    fn planted_near_copies_are_found_and_the_rest_stays_alone() {
        let mut texts = Vec::new();
        for seed in 0..300 {
            texts.push(text(seed, 40).join(" "));
        }
        // Text 300 + i copies text i with its last word changed: 37 of 39 shingles shared.
        for seed in 0..100 {
            let mut copy = text(seed, 40);
            copy[39] = "changed".into();
            texts.push(copy.join(" "));
        }
        let families = found(&texts, at(0.8));
        let expected: Vec<u32> = (0..300).chain(0..100).collect();
        assert_eq!(families, expected);
    }

    #[test]
    fn a_chain_is_one_family_with_the_lowest_id() {
        let mut words = text(1, 60);
        let mut texts = vec![text(2, 60).join(" ")];
        for step in 0..5 {
            texts.push(words.join(" "));
            words[step * 12] = "new".into();
        }
        assert!(shingler().jaccard(&texts[1], &texts[5]) < 0.8);
        assert_eq!(found(&texts, at(0.8)), [0, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn pairs_connect_groups_named_by_their_lowest_number() {
        assert_eq!(connected(6, &[(4, 2), (5, 4), (0, 1), (9, 3)]), [0, 0, 2, 3, 2, 2]);
    }

    #[test]
    fn texts_without_words_stay_alone() {
        let texts = vec![String::new(), "...".into(), "same".into(), "Same!".into(), String::new()];
        assert_eq!(found(&texts, at(0.8)), [0, 1, 2, 2, 4]);
    }

    #[test]
    fn bands_are_as_long_as_the_miss_allows() {
        assert_eq!([0.5, 0.8, 0.9, 1.0].map(|t| at(t).rows()), [2, 5, 8, 128]);
        assert_eq!(at(1.5).check().unwrap_err().to_string(), "family.threshold must be in [0.2, 1], got 1.5");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn families_join_what_is_close_and_nothing_else(
            texts in proptest::collection::vec("[a-c]( [a-c]){0,9}|", 1..40),
            threshold in 0.3f64..1.0,
            threads in 1usize..4,
        ) {
            let families = found(&texts, at(threshold));
            // Components of the exact graph, by the definition.
            let shingler = shingler();
            let sets: Vec<_> = texts.iter().map(|t| shingler.shingles(t)).collect();
            let mut exact = Joined((0..texts.len() as u32).collect());
            let mut sure = Joined((0..texts.len() as u32).collect());
            for a in 0..texts.len() {
                for b in 0..a {
                    let jaccard = sets[a].jaccard(&sets[b]);
                    if jaccard >= threshold {
                        exact.join(a as u32, b as u32);
                    }
                    // So far above the threshold that no band is missed.
                    if jaccard >= 0.5 + threshold / 2.0 {
                        sure.join(a as u32, b as u32);
                    }
                }
            }
            let (exact, sure) = (exact.roots(), sure.roots());
            for doc in 0..texts.len() {
                prop_assert_eq!(exact[doc], exact[families[doc] as usize]);
                prop_assert_eq!(families[doc], families[sure[doc] as usize]);
            }
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let tight = FamilyOptions { threshold, budget: 0 };
            prop_assert_eq!(pool.install(|| found(&texts, tight)), families);
        }
    }
}
