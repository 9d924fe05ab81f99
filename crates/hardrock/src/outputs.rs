//! Where the files of a run lie: everything stands beside the mined file and is found by its name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::candidates::Candidates;
use crate::manifest::Manifest;
use crate::{Error, Result};

/// The files of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outputs {
    /// The mined file.
    pub mined: PathBuf,
    /// `OUT.candidates.parquet`.
    pub candidates: PathBuf,
    /// `OUT.manifest.json`.
    pub manifest: PathBuf,
}

impl Outputs {
    /// The names that belong to a mined file; touches no file.
    pub fn of(mined: &Path) -> Self {
        let beside = |ending: &str| {
            let mut name = OsString::from(mined.as_os_str());
            name.push(ending);
            PathBuf::from(name)
        };
        Self {
            mined: mined.to_owned(),
            candidates: beside(".candidates.parquet"),
            manifest: beside(".manifest.json"),
        }
    }

    /// Opens the candidates; a missing file is an error that says how it is made.
    pub fn open_candidates(&self) -> Result<Candidates> {
        if !self.candidates.is_file() {
            let problem = if self.mined.is_file() {
                format!(
                    "{} has no candidates beside it: {} is missing",
                    name(&self.mined),
                    name(&self.candidates)
                )
            } else {
                format!("neither {} nor {} is there", self.mined.display(), name(&self.candidates))
            };
            return Err(Error::usage(
                problem,
                "give the file that `hardrock mine -o` wrote; without --no-candidates it writes the candidates beside it",
            ));
        }
        Candidates::open(&self.candidates)
    }

    /// Reads the manifest; `None` where there is none, an error where it cannot be read.
    pub fn read_manifest(&self) -> Result<Option<Manifest>> {
        let bytes = match std::fs::read(&self.manifest) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", &self.manifest)(e)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            Error::input(
                &self.manifest,
                u64::try_from(e.line()).ok(),
                format!("not a manifest of this version: {e}"),
                "mine again with this version of hardrock",
            )
        })
    }
}

/// The last part of a path, for messages that already name the folder.
fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_appended_to_the_whole_file_name() {
        let outputs = Outputs::of(Path::new("runs/mined.jsonl.gz"));
        assert_eq!(outputs.candidates, Path::new("runs/mined.jsonl.gz.candidates.parquet"));
        assert_eq!(outputs.manifest, Path::new("runs/mined.jsonl.gz.manifest.json"));
    }

    #[test]
    fn a_missing_candidates_file_names_the_option_that_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let mined = folder.path().join("m.jsonl");
        std::fs::write(&mined, "").unwrap();
        let error = Outputs::of(&mined).open_candidates().unwrap_err();
        assert_eq!(
            error.to_string(),
            "m.jsonl has no candidates beside it: m.jsonl.candidates.parquet is missing"
        );
        assert!(error.help().unwrap().contains("--no-candidates"));
        assert_eq!(error.exit_code(), 2);
        assert!(Outputs::of(&mined).read_manifest().unwrap().is_none());
    }

    #[test]
    fn a_broken_manifest_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = Outputs::of(&folder.path().join("m.jsonl"));
        std::fs::write(&outputs.manifest, "{\n  \"version\": 3\n}").unwrap();
        let error = outputs.read_manifest().unwrap_err();
        assert!(error.to_string().contains("m.jsonl.manifest.json:2: "), "{error}");
    }
}
