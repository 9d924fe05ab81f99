//! One file of the hub into the cache: continued where it stopped, named when it is whole.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::HubId;
use super::client::{Client, Failure, Head, Try, passing};
use crate::mine::Progress;
use crate::models::remote::pause;
use crate::{Error, Result};

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;

/// Between two looks at a file that another process fetches.
const TURN: Duration = Duration::from_millis(200);

/// A file that is wanted.
pub(super) struct Wanted<'a> {
    pub(super) id: &'a HubId,
    pub(super) url: String,
    pub(super) head: Head,
}

/// Brings a file into the folder `blobs` under its tag, unless it is there.
///
/// # Errors
/// As [`Client::listing`]; [`Error::Io`].
pub(super) fn fetch(
    client: &Client<'_>,
    wanted: &Wanted<'_>,
    blobs: &Path,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<PathBuf> {
    let Head { tag, size } = &wanted.head;
    let (blob, part) = (blobs.join(tag), blobs.join(format!("{tag}.part")));
    std::fs::create_dir_all(blobs).map_err(Error::io("create", blobs))?;
    // A name is given once, and only to what is whole: the one who holds the lock after that finds it.
    while !blob.is_file() {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&part)
            .map_err(Error::io("create", &part))?;
        if let Err(e) = file.try_lock() {
            match e {
                std::fs::TryLockError::WouldBlock => {
                    pause(TURN, cancel)?;
                    continue;
                }
                // Some network file systems have no locks; then two processes must not fetch at once.
                std::fs::TryLockError::Error(e) => tracing::warn!(%e, "the cache cannot be locked"),
            }
        }
        if blob.is_file() {
            // Another process had it. `part` may be its leftover or a new, empty one of ours.
            break;
        }
        let mut download = Download { client, wanted, file: &mut file, path: &part, progress, cancel };
        download.run(*size)?;
        file.sync_all().map_err(Error::io("write", &part))?;
        std::fs::rename(&part, &blob).map_err(Error::io("rename", &part))?;
    }
    Ok(blob)
}

/// A file on its way.
struct Download<'a, 'b> {
    client: &'a Client<'a>,
    wanted: &'a Wanted<'b>,
    file: &'a mut File,
    path: &'a Path,
    progress: &'a dyn Progress,
    cancel: &'a AtomicBool,
}

impl Download<'_, '_> {
    fn run(&mut self, size: u64) -> Result<()> {
        let at = self.length()?;
        if at > size {
            self.restart()?;
        } else {
            self.progress.advance(at);
        }
        let (client, url) = (self.client, self.wanted.url.clone());
        // Both closures look at the place that was reached.
        let reached = std::cell::Cell::new(self.length()?);
        let before = std::cell::Cell::new(reached.get());
        let moved = || before.replace(reached.get()) < reached.get();
        client.persist(&url, moved, || {
            let result = self.once(size);
            reached.set(self.length()?);
            result
        })
    }

    fn length(&self) -> Result<u64> {
        self.file.metadata().map(|m| m.len()).map_err(Error::io("read", self.path))
    }

    fn restart(&self) -> Result<()> {
        self.file.set_len(0).map_err(Error::io("write", self.path))
    }

    /// Fetches what is missing.
    fn once(&mut self, size: u64) -> Try<()> {
        let from = self.length()?;
        if from == size {
            return Ok(());
        }
        let mut response = self.client.open(self.wanted.id, &self.wanted.url, from)?;
        let range = response.headers().get("content-range").and_then(|v| v.to_str().ok());
        let start: Option<u64> =
            range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
        match (response.status().as_u16(), start) {
            (206, Some(start)) if start == from => {}
            // Not every hub continues a file; it then sends the whole.
            (200, _) => self.restart()?,
            (status, _) => {
                self.restart()?;
                return Err(passing(format!("status {status} for the bytes from {from}")));
            }
        }
        let end = SeekFrom::End(0);
        let mut at = self.file.seek(end).map_err(Error::io("write", self.path))?;
        let mut piece = vec![0; PIECE];
        let mut body = response.body_mut().as_reader();
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Failure::Final(Error::Interrupted));
            }
            let n = body.read(&mut piece).map_err(|e| passing(format!("broken off at byte {at}: {e}")))?;
            if n == 0 {
                break;
            }
            at += n as u64;
            if at > size {
                self.restart()?;
                return Err(passing(format!("more than the {size} bytes that were announced")));
            }
            self.file.write_all(&piece[..n]).map_err(Error::io("write", self.path))?;
            self.progress.advance(n as u64);
        }
        match at == size {
            true => Ok(()),
            false => Err(passing(format!("broken off at byte {at} of {size}"))),
        }
    }
}
