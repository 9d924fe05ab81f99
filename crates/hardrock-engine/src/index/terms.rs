//! The vocabulary: each distinct term once, numbered by first occurrence.

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;

use super::{IndexError, Result};

/// Terms with dense ids `0..len`, in the order in which they were first interned.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    bytes: String,
    /// End of each term in `bytes`.
    ends: Vec<usize>,
    ids: HashTable<u32>,
}

fn hash(term: &str) -> u64 {
    FxBuildHasher.hash_one(term)
}

#[inline]
fn span(ends: &[usize], id: u32) -> std::ops::Range<usize> {
    let id = id as usize;
    let from = if id == 0 { 0 } else { ends[id - 1] };
    from..ends[id]
}

fn slice<'a>(bytes: &'a str, ends: &[usize], id: u32) -> &'a str {
    &bytes[span(ends, id)]
}

/// Compares bytes: slicing the text itself would look for character boundaries each time.
#[inline]
fn is(bytes: &str, ends: &[usize], id: u32, term: &str) -> bool {
    bytes.as_bytes()[span(ends, id)] == *term.as_bytes()
}

impl Terms {
    /// Number of terms.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no term.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The id of `term`, if it was interned.
    pub fn get(&self, term: &str) -> Option<u32> {
        self.ids.find(hash(term), |&id| is(&self.bytes, &self.ends, id, term)).copied()
    }

    /// The term with this id; `None` outside `0..len`.
    pub fn term(&self, id: u32) -> Option<&str> {
        ((id as usize) < self.len()).then(|| slice(&self.bytes, &self.ends, id))
    }

    /// All terms in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len() as u32).map(|id| slice(&self.bytes, &self.ends, id))
    }

    /// The id of `term`, which is the next free one when the term is new.
    ///
    /// # Errors
    /// When 2^32 - 1 terms are there already.
    pub fn intern(&mut self, term: &str) -> Result<u32> {
        let Self { bytes, ends, ids } = self;
        let next = ends.len() as u32;
        if next == u32::MAX {
            return Err(IndexError::TooMany { what: "terms", got: ends.len() + 1, most: u32::MAX as usize });
        }
        let entry =
            ids.entry(hash(term), |&id| is(bytes, ends, id, term), |&id| hash(slice(bytes, ends, id)));
        match entry {
            hashbrown::hash_table::Entry::Occupied(found) => Ok(*found.get()),
            hashbrown::hash_table::Entry::Vacant(free) => {
                free.insert(next);
                bytes.push_str(term);
                ends.push(bytes.len());
                Ok(next)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_by_first_occurrence() {
        let mut terms = Terms::default();
        let ids: Vec<u32> = ["b", "", "a", "b", "a", "c"].iter().map(|t| terms.intern(t).unwrap()).collect();
        assert_eq!(ids, [0, 1, 2, 0, 2, 3]);
        assert_eq!(terms.get("c"), Some(3));
        assert_eq!(terms.get("d"), None);
        assert_eq!(terms.term(1), Some(""));
        assert_eq!(terms.term(4), None);
        assert_eq!(terms.iter().collect::<Vec<_>>(), ["b", "", "a", "c"]);
    }

    #[test]
    fn many_terms_survive_growth() {
        let mut terms = Terms::default();
        for i in 0..10_000u32 {
            assert_eq!(terms.intern(&i.to_string()).unwrap(), i);
        }
        assert!((0..10_000u32).all(|i| terms.get(&i.to_string()) == Some(i)));
    }
}
