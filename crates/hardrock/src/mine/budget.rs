//! How a ceiling on memory is shared out, and how much was used.

use serde::Serialize;

use crate::{Error, Result};

/// Memory that a process takes before it holds anything of the data's: code, allocator, threads' stacks and buffers.
const BASE: u64 = 64 << 20;

/// Least memory for indexes that a run goes on with.
const LEAST: u64 = 16 << 20;

/// How memory is shared out, in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Budget {
    /// The ceiling; none = half of what is free for indexes.
    pub ceiling: Option<u64>,
    /// What the program and the data's ids, offsets and hashes take in any case.
    pub fixed: u64,
    /// Postings or packed vectors of one source.
    pub index: u64,
    /// Shingle sets that are kept.
    pub shingles: u64,
    /// Documents as terms, which stay in their file where this is too little.
    pub rows: u64,
}

impl Budget {
    /// Shares what the ceiling leaves beside the data's own tables; without a ceiling, half of the machine's free memory.
    pub(super) fn new(ceiling: Option<u64>, tables: u64, sources: u64) -> Result<Self> {
        let fixed = BASE + tables;
        let Some(ceiling) = ceiling else {
            let free = available_memory().unwrap_or(4 << 30) / 2;
            let (index, shingles) = (free / sources.max(1), (free / 8).min(1 << 30));
            return Ok(Self { ceiling: None, fixed, index, shingles, rows: free / 8 });
        };
        let left = ceiling.saturating_sub(fixed);
        if left < LEAST {
            return Err(Error::usage(
                format!("--memory {} MiB is too little for this data", ceiling >> 20),
                format!(
                    "ids, offsets and hashes alone need {} MiB; give at least {} MiB",
                    fixed >> 20,
                    (fixed + LEAST) >> 20
                ),
            ));
        }
        let (index, shingles) = (left / 2 / sources.max(1), left / 8);
        Ok(Self { ceiling: Some(ceiling), fixed, index, shingles, rows: left / 8 })
    }
}

/// Free memory of the machine in bytes, where the system says it.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Highest resident memory of this process so far, in bytes; 0 where the system does not say.
pub(super) fn peak_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("VmHWM:"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}
