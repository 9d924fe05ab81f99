//! Where an index gets its texts from.

use std::ops::Range;

use super::Result;

/// Numbered texts that can be walked from several threads at once.
pub trait Texts: Sync {
    /// Number of texts.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f(number, text)` for each text of `range`, in order.
    ///
    /// # Errors
    /// When a text cannot be read: wrap the cause in [`super::IndexError::Texts`].
    fn for_each(&self, range: Range<usize>, f: &mut dyn FnMut(usize, &str)) -> Result<()>;
}

impl<S: AsRef<str> + Sync> Texts for Vec<S> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn for_each(&self, range: Range<usize>, f: &mut dyn FnMut(usize, &str)) -> Result<()> {
        self.as_slice().for_each(range, f)
    }
}

impl<S: AsRef<str> + Sync> Texts for &[S] {
    fn len(&self) -> usize {
        <[S]>::len(self)
    }

    fn for_each(&self, range: Range<usize>, f: &mut dyn FnMut(usize, &str)) -> Result<()> {
        for (i, text) in self.iter().enumerate().take(range.end).skip(range.start) {
            f(i, text.as_ref());
        }
        Ok(())
    }
}
