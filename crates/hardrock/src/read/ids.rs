//! String ids outside, dense numbers inside: one arena of bytes and a table of numbers, no string per id.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Distinct ids in order of first appearance, `[len]`; looked up both ways.
#[derive(Default)]
pub struct Ids {
    bytes: String,
    /// Where each id ends in `bytes`, `[len]`.
    ends: Vec<u64>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Ids {
    /// No ids.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The id of a number; empty for a number out of range.
    pub fn get(&self, number: u32) -> &str {
        slice(&self.bytes, &self.ends, number)
    }

    /// The number of an id.
    pub fn find(&self, id: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        self.table.find(hash, |&n| slice(&self.bytes, &self.ends, n) == id).copied()
    }

    /// The number of an id, given now if it is new (`true`). At most `u32::MAX - 1` ids fit; the caller checks.
    pub fn intern(&mut self, id: &str) -> (u32, bool) {
        let Self { bytes, ends, table, hasher } = self;
        let hash = hasher.hash_one(id);
        if let Some(&n) = table.find(hash, |&n| slice(bytes, ends, n) == id) {
            return (n, false);
        }
        let number = ends.len() as u32;
        bytes.push_str(id);
        ends.push(bytes.len() as u64);
        table.insert_unique(hash, number, |&n| hasher.hash_one(slice(bytes, ends, n)));
        (number, true)
    }

    /// All ids in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        (0..self.len() as u32).map(|n| self.get(n))
    }

    /// Gives back memory that is not needed any more.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// The parts to store: all ids end to end, and where each ends.
    pub(crate) fn parts(&self) -> (&str, &[u64]) {
        (&self.bytes, &self.ends)
    }

    /// From stored parts; `None` when they do not fit together or an id stands twice.
    pub(crate) fn from_parts(bytes: String, ends: Vec<u64>) -> Option<Self> {
        let mut ids = Self { table: HashTable::with_capacity(ends.len()), ..Self::default() };
        let mut start = 0usize;
        for (n, &end) in ends.iter().enumerate() {
            let end = usize::try_from(end).ok()?;
            let id = bytes.get(start..end)?;
            let hash = ids.hasher.hash_one(id);
            if ids.table.find(hash, |&m| slice(&bytes, &ends, m) == id).is_some() {
                return None;
            }
            let hasher = &ids.hasher;
            ids.table.insert_unique(hash, n as u32, |&m| hasher.hash_one(slice(&bytes, &ends, m)));
            start = end;
        }
        if start != bytes.len() {
            return None;
        }
        ids.bytes = bytes;
        ids.ends = ends;
        Some(ids)
    }
}

fn slice<'a>(bytes: &'a str, ends: &[u64], number: u32) -> &'a str {
    let n = number as usize;
    let Some(&end) = ends.get(n) else { return "" };
    let start = if n == 0 { 0 } else { ends[n - 1] };
    bytes.get(start as usize..end as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_follow_first_appearance() {
        let mut ids = Ids::new();
        assert_eq!(ids.intern("b"), (0, true));
        assert_eq!(ids.intern("a"), (1, true));
        assert_eq!(ids.intern("b"), (0, false));
        assert_eq!((ids.get(0), ids.get(1), ids.get(2)), ("b", "a", ""));
        assert_eq!((ids.find("a"), ids.find("c")), (Some(1), None));
    }

    #[test]
    fn damaged_parts_are_refused() {
        assert!(Ids::from_parts("ab".into(), vec![1, 2]).is_some());
        assert!(Ids::from_parts("ab".into(), vec![2, 1]).is_none());
        assert!(Ids::from_parts("aa".into(), vec![1, 2]).is_none());
        assert!(Ids::from_parts("abc".into(), vec![1, 2]).is_none());
    }

    proptest! {
        #[test]
        fn interning_equals_a_map(list in proptest::collection::vec("[a-cé]{0,3}", 0..60)) {
            let mut ids = Ids::new();
            let mut map: HashMap<String, u32> = HashMap::new();
            for id in &list {
                let next = map.len() as u32;
                let expected = *map.entry(id.clone()).or_insert(next);
                prop_assert_eq!(ids.intern(id).0, expected);
            }
            let (bytes, ends) = ids.parts();
            let back = Ids::from_parts(bytes.to_owned(), ends.to_vec()).unwrap();
            for id in &list {
                prop_assert_eq!(back.find(id), map.get(id).copied());
            }
        }
    }
}
