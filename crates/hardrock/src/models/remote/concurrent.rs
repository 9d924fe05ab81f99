//! Several requests at once, each from a thread of its own.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::{Error, Result};

/// How requests are shared out.
pub(super) struct Concurrent<'a> {
    /// Whom they go to, for errors.
    pub(super) url: &'a str,
    /// Requests under way at once.
    pub(super) threads: usize,
    /// Ends the work early.
    pub(super) cancel: &'a AtomicBool,
}

impl Concurrent<'_> {
    /// Asks `count` times, and hands each answer to `take` with its number, in no order.
    ///
    /// # Errors
    /// The first that any request gives; [`Error::Interrupted`] soon after the flag is set.
    pub(super) fn run<T: Send + 'static>(
        &self,
        count: usize,
        ask: impl Fn(usize, &AtomicBool) -> Result<T> + Send + Sync + 'static,
        mut take: impl FnMut(usize, T),
    ) -> Result<()> {
        /// Between two looks at the flag.
        const LOOK: Duration = Duration::from_millis(100);
        let ask = Arc::new(ask);
        let (next, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (answers, answered) = mpsc::channel();
        // Threads of their own, so that a request that hangs holds nobody when the run is stopped.
        for _ in 0..self.threads.min(count) {
            let (ask, answers, next, stop) = (ask.clone(), answers.clone(), next.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count || answers.send((at, ask(at, &stop))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(answers);
        let end = |e: Error| {
            stop.store(true, Ordering::Relaxed);
            Err(e)
        };
        let mut left = count;
        while left > 0 {
            if self.cancel.load(Ordering::Relaxed) {
                return end(Error::Interrupted);
            }
            match answered.recv_timeout(LOOK) {
                Ok((at, Ok(answer))) => {
                    take(at, answer);
                    left -= 1;
                }
                Ok((_, Err(e))) => return end(e),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let problem = format!("{}: the threads that ask it have ended", self.url);
                    return end(Error::Server { problem, help: "run the command again".to_owned() });
                }
            }
        }
        Ok(())
    }
}
