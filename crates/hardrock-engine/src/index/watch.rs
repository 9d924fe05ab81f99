//! How a long job is watched and stopped from outside.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{IndexError, Result};

/// Looks at a stop flag and reports progress. The default does neither.
#[derive(Clone, Copy, Default)]
pub struct Watch<'a> {
    /// Set to `true` by whoever wants the job to end; looked at per query or per batch of documents.
    pub cancel: Option<&'a AtomicBool>,
    /// Called with the number of documents or queries done since the last call, from any thread.
    pub progress: Option<&'a (dyn Fn(usize) + Sync)>,
}

impl Watch<'_> {
    /// `Err(Cancelled)` once the flag is set.
    pub fn check(&self) -> Result<()> {
        match self.cancel {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(IndexError::Cancelled),
            _ => Ok(()),
        }
    }

    /// Reports `count` more documents or queries.
    pub fn advance(&self, count: usize) {
        if let Some(progress) = self.progress {
            progress(count);
        }
    }
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("cancel", &self.cancel)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}
