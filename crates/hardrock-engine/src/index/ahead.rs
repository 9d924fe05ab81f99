//! Documents that do not fit into memory, chunk by chunk: the next one is read while the kernel works on the last.

use std::sync::mpsc::sync_channel;
use std::thread;

use super::flat::Watch;
use super::flat_f32::{fill, fill_here};
use super::rows::{Result, Rows};
use crate::kernel::{DOCUMENTS, Panels};

/// How documents pass through memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streaming {
    /// Documents of a chunk; two chunks are in memory at a time.
    pub documents: usize,
    /// Anchors that see a chunk before it goes; more of them make another pass over the documents.
    pub anchors: usize,
}

impl Streaming {
    /// Chunks for a budget of `bytes`: half of it for two of them, the other half for the anchors, of `per_anchor` bytes.
    pub(super) fn new(bytes: usize, dim: usize, per_anchor: usize, of_anchors: usize) -> Self {
        let half = bytes / 2;
        Self {
            documents: (half / 2 / (dim * DOCUMENTS * 4)).max(1) * DOCUMENTS,
            anchors: (half / per_anchor.max(1) / of_anchors).max(1) * of_anchors,
        }
    }

    /// Calls `work` with the number of its first document and the packed documents of each chunk, in order. A thread of
    /// its own reads and packs one chunk ahead.
    ///
    /// # Errors
    /// Those of reading and of `work`; the first one ends both.
    pub(super) fn run(
        self,
        rows: &dyn Rows,
        watch: Watch<'_>,
        mut work: impl FnMut(usize, &Panels) -> Result<()>,
    ) -> Result<()> {
        let (count, dim) = (rows.len(), rows.dim());
        let chunk = |first: usize| Panels::new(self.documents.min(count - first), dim, DOCUMENTS);
        // The first chunk has nothing to hide behind: all threads make it.
        let mut panels = chunk(0);
        fill(rows, 0, &mut panels, dim, watch)?;
        if self.documents >= count {
            return work(0, &panels);
        }
        thread::scope(|scope| {
            // Nothing waits in the channel: a chunk that is ready stays with its reader until it is asked for.
            let (give, take) = sync_channel::<Result<Panels>>(0);
            let read = move || {
                for first in (self.documents..count).step_by(self.documents) {
                    let mut panels = chunk(first);
                    let read = fill_here(rows, first, &mut panels, dim, watch).map(|()| panels);
                    let failed = read.is_err();
                    // Nobody takes it any more once the work has failed.
                    if give.send(read).is_err() || failed {
                        return;
                    }
                }
            };
            let reader = thread::Builder::new().name("read ahead".into()).spawn_scoped(scope, read);
            work(0, &panels)?;
            drop(panels);
            for first in (self.documents..count).step_by(self.documents) {
                let ready = if reader.is_ok() { take.recv().ok() } else { None };
                let panels = match ready {
                    Some(read) => read?,
                    // Where no thread could be had, the work waits for its documents.
                    None => {
                        let mut panels = chunk(first);
                        fill(rows, first, &mut panels, dim, watch)?;
                        panels
                    }
                };
                work(first, &panels)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::index::rows::{Error, Matrix};

    /// Counts the rows that were read, and fails at one of them.
    struct Counted {
        rows: Matrix,
        read: AtomicUsize,
        fails_at: usize,
    }

    impl Rows for Counted {
        fn len(&self) -> usize {
            self.rows.len()
        }

        fn dim(&self) -> usize {
            self.rows.dim()
        }

        fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
            let rows = start..start + out.len() / self.dim();
            if rows.contains(&self.fails_at) {
                return Err(Error::Read("the disk is gone".into()));
            }
            self.read.fetch_add(rows.len(), Ordering::SeqCst);
            self.rows.read(start, out)
        }
    }

    fn counted(rows: usize, fails_at: usize) -> Counted {
        let values = (0..rows * 2).map(|x| x as f32).collect();
        Counted { rows: Matrix::new(values, 2).unwrap(), read: AtomicUsize::new(0), fails_at }
    }

    #[test]
    fn the_next_chunk_is_read_while_the_work_is_on_and_no_further() {
        let rows = counted(200, usize::MAX);
        let streaming = Streaming { documents: 64, anchors: 12 };
        let mut seen = Vec::new();
        let work = |first: usize, panels: &Panels| {
            seen.push((first, panels.rows()));
            // Only a reader beside this work can bring the count there.
            let (wanted, start) = (200.min(first + 128), Instant::now());
            while rows.read.load(Ordering::SeqCst) < wanted {
                assert!(start.elapsed() < Duration::from_secs(20), "nobody reads ahead");
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(5));
            assert_eq!(rows.read.load(Ordering::SeqCst), wanted, "two chunks in memory, not three");
            Ok(())
        };
        streaming.run(&rows, Watch::default(), work).unwrap();
        assert_eq!(seen, [(0, 64), (64, 64), (128, 64), (192, 8)]);
    }

    #[test]
    fn an_error_of_either_side_ends_both() {
        let streaming = Streaming { documents: 32, anchors: 12 };
        let rows = counted(200, 100);
        let mut seen = Vec::new();
        let work = |first: usize, _: &Panels| {
            seen.push(first);
            Ok(())
        };
        let error = streaming.run(&rows, Watch::default(), work).unwrap_err();
        assert!(matches!(error, Error::Read(_)), "{error}");
        assert_eq!(seen, [0, 32, 64]);
        let error = streaming.run(&counted(200, usize::MAX), Watch::default(), |_, _| Err(Error::Cancelled));
        assert!(matches!(error, Err(Error::Cancelled)));
    }

    #[test]
    fn a_budget_is_two_chunks_and_the_anchors() {
        let streaming = Streaming::new(1 << 20, 128, 1024, 12);
        assert_eq!(streaming, Streaming { documents: 512, anchors: 504 });
        assert!(2 * streaming.documents * 128 * 4 + streaming.anchors * 1024 <= 1 << 20);
        assert_eq!(Streaming::new(0, 128, 1024, 12), Streaming { documents: DOCUMENTS, anchors: 12 });
    }
}
