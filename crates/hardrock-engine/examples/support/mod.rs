//! What the measuring programs share.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use hardrock_engine::index::rows::{Result, Rows};

/// A `.npy` file of `<f4`, C order, version 1: what `benches/search_peers.py` writes.
pub struct Npy {
    file: File,
    offset: u64,
    pub rows: usize,
    pub dim: usize,
}

impl Npy {
    /// Opens it.
    pub fn open(path: &str) -> Npy {
        let file = File::open(path).expect("the file opens");
        let mut head = [0u8; 128];
        file.read_exact_at(&mut head, 0).expect("a header of 128 bytes");
        let text = String::from_utf8_lossy(&head);
        let (_, shape) = text.split_once("'shape': (").expect("a shape");
        let (shape, _) = shape.split_once(')').expect("a shape");
        let (rows, dim) = shape.split_once(", ").expect("two axes");
        Npy { offset: 128, rows: rows.parse().unwrap(), dim: dim.parse().unwrap(), file }
    }
}

impl Rows for Npy {
    fn len(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let mut bytes = vec![0u8; out.len() * 4];
        self.file
            .read_exact_at(&mut bytes, self.offset + (start * self.dim * 4) as u64)
            .map_err(|e| hardrock_engine::index::rows::Error::Read(e.into()))?;
        for (x, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *x = f32::from_le_bytes(*b);
        }
        Ok(())
    }
}

/// Seconds that this process has been on a processor, and its peak memory in bytes.
pub fn usage() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("VmHWM");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    (ticks / 100.0, peak << 10)
}

/// Writes ids `[n][k]` as `.npy`.
pub fn write_ids(path: &str, ids: &[u32], k: usize) {
    let mut out = std::io::BufWriter::new(File::create(path).expect("the ids file"));
    let shape = format!("({}, {k})", ids.len() / k);
    let head = format!("{{'descr': '<u4', 'fortran_order': False, 'shape': {shape}, }}");
    out.write_all(b"\x93NUMPY\x01\x00\x76\x00").unwrap();
    out.write_all(format!("{head:<117}\n").as_bytes()).unwrap();
    for id in ids {
        out.write_all(&id.to_le_bytes()).unwrap();
    }
}
