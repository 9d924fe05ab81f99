//! What happens to a record that cannot be read: the run stops, or the record is counted and set aside.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What to do with a record that cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRow {
    /// End with an error that names file, line and field.
    #[default]
    Stop,
    /// Leave the record out, count it, and write it to the rejects file.
    Skip,
}

/// One line of the rejects file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// The file.
    pub file: String,
    /// Line (text) or row (Parquet), from 1.
    pub line: u64,
    /// The field, where one is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// The record as it stands in the file; for Parquet the fields that were read, as JSON.
    pub raw: String,
}

/// Judge of bad records during one load.
pub(crate) struct BadRows {
    mode: OnBadRow,
    path: Option<PathBuf>,
    out: Option<BufWriter<File>>,
    skipped: u64,
    first: Option<String>,
}

impl BadRows {
    /// `rejects` is where skipped records go; a file left there by an earlier run is removed.
    pub(crate) fn new(mode: OnBadRow, rejects: Option<&Path>) -> Result<Self> {
        if let Some(path) = rejects {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("replace", path)(e));
                }
                _ => {}
            }
        }
        Ok(Self { mode, path: rejects.map(Path::to_owned), out: None, skipped: 0, first: None })
    }

    /// Passes a result on; an error about one record becomes a counted reject where that was asked for. `Ok(true)` = the
    /// record was read, `Ok(false)` = it was set aside.
    pub(crate) fn settle(&mut self, result: Result<()>, raw: impl FnOnce() -> String) -> Result<bool> {
        let error = match result {
            Ok(()) => return Ok(true),
            Err(Error::Input(e)) if self.mode == OnBadRow::Skip && e.line.is_some() => e,
            Err(e) => return Err(e),
        };
        self.skipped += 1;
        self.first.get_or_insert_with(|| error.to_string());
        let Some(path) = &self.path else { return Ok(false) };
        let out = match &mut self.out {
            Some(out) => out,
            None => {
                let file = File::create(path).map_err(Error::io("create", path))?;
                self.out.insert(BufWriter::new(file))
            }
        };
        let reject = Reject {
            file: error.path.display().to_string(),
            line: error.line.unwrap_or_default(),
            field: error.field.clone(),
            problem: error.problem.clone(),
            raw: raw(),
        };
        let mut line = serde_json::to_vec(&reject).map_err(Error::format(path))?;
        line.push(b'\n');
        out.write_all(&line).map_err(Error::io("write", path))?;
        Ok(false)
    }

    /// The first record set aside, for the message when nothing is left.
    pub(crate) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// Writes the rejects out and returns how many there were.
    pub(crate) fn finish(&mut self) -> Result<u64> {
        if let (Some(out), Some(path)) = (&mut self.out, &self.path) {
            out.flush().map_err(Error::io("write", path))?;
        }
        Ok(self.skipped)
    }
}
