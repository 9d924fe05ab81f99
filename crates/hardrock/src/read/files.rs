//! Which files are meant: packed neighbours, shards in a folder, and the nearest name when there is none.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Endings that a text file may carry for packing.
const PACKED: [&str; 2] = [".gz", ".zst"];

/// The file at `path`, or else what stands there under the same name packed (`.gz`, `.zst`) or as `.parquet`.
pub fn locate(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        return Ok(path.to_owned());
    }
    let mut other = PACKED.map(|end| with_suffix(path, end)).to_vec();
    other.push(path.with_extension("parquet"));
    only(path, other)?.ok_or_else(|| missing(path))
}

/// The files of a table in a folder: `stem.jsonl`, `.tsv`, `.csv` (each also packed), `stem.parquet`, or, as on the Hugging
/// Face hub, every data file in the folder `stem/`, by name. `None` when there is nothing; two candidates are an error.
pub fn find(folder: &Path, stem: &str) -> Result<Option<Vec<PathBuf>>> {
    let mut candidates = Vec::new();
    for end in [".jsonl", ".tsv", ".csv"] {
        let plain = folder.join(format!("{stem}{end}"));
        candidates.extend(PACKED.map(|p| with_suffix(&plain, p)));
        candidates.push(plain);
    }
    candidates.push(folder.join(format!("{stem}.parquet")));
    if let Some(file) = only(&folder.join(stem), candidates)? {
        return Ok(Some(vec![file]));
    }
    let inside = folder.join(stem);
    let shards = if inside.is_dir() { data_files(&inside)? } else { Vec::new() };
    Ok(if shards.is_empty() { None } else { Some(shards) })
}

/// The data files (`.jsonl`, `.tsv`, `.csv`, packed or not, `.parquet`) directly in a folder, sorted by name.
pub fn data_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if path.is_file() && stem_of(&path).is_some() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The name of a data file without its endings; `None` where the ending is not one of a data file.
pub(crate) fn stem_of(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    if let Some(stem) = name.strip_suffix(".parquet") {
        return Some(stem);
    }
    let plain = unpacked_name(name);
    [".jsonl", ".tsv", ".csv"].iter().find_map(|end| plain.strip_suffix(end))
}

/// The file name without the ending of its packing.
pub(crate) fn unpacked_name(name: &str) -> &str {
    PACKED.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The one of `candidates` that exists; two of them are an error, since nobody can know which one is meant.
fn only(wanted: &Path, candidates: Vec<PathBuf>) -> Result<Option<PathBuf>> {
    let mut there = candidates.into_iter().filter(|p| p.is_file());
    let first = there.next();
    if let (Some(a), Some(b)) = (&first, there.next()) {
        return Err(Error::input(
            wanted,
            None,
            format!("both {} and {} are here", name_of(a), name_of(&b)),
            "remove one of them, or give the file that you mean by its full name",
        ));
    }
    Ok(first)
}

/// The error for a file that is not there, with the nearest name beside it.
pub(crate) fn missing(path: &Path) -> Error {
    let wanted = name_of(path);
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut names: Vec<String> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect(),
        Err(_) => {
            let help = format!("there is no folder {}", folder.display());
            return Error::input(path, None, "there is no such file", help);
        }
    };
    names.sort();
    let help = match nearest(&wanted, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean {name}?"),
        None => "check the path".to_owned(),
    };
    Error::input(path, None, "there is no such file", help)
}

/// The name most like `wanted`, if one is near enough to be a slip of the pen; the first of equals.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wanted.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for name in names {
        let likeness = strsim::jaro_winkler(&lower, &name.to_lowercase());
        if likeness >= 0.8 && best.is_none_or(|(b, _)| likeness > b) {
            best = Some((likeness, name));
        }
    }
    best.map(|(_, name)| name)
}

/// The last part of a path, for messages.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_neighbour_is_found_and_two_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("corpus.jsonl");
        assert!(find(dir.path(), "corpus").unwrap().is_none());
        std::fs::write(dir.path().join("corpus.jsonl.gz"), "x").unwrap();
        assert_eq!(locate(&plain).unwrap(), dir.path().join("corpus.jsonl.gz"));
        assert_eq!(find(dir.path(), "corpus").unwrap().unwrap(), [dir.path().join("corpus.jsonl.gz")]);
        std::fs::write(dir.path().join("corpus.parquet"), "x").unwrap();
        let problem = find(dir.path(), "corpus").unwrap_err().to_string();
        assert!(problem.ends_with("both corpus.jsonl.gz and corpus.parquet are here"), "{problem}");
    }

    #[test]
    fn shards_in_a_folder_come_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("corpus");
        std::fs::create_dir(&inside).unwrap();
        for name in ["b-1.parquet", "a-0.parquet", "README.md"] {
            std::fs::write(inside.join(name), "x").unwrap();
        }
        let found = find(dir.path(), "corpus").unwrap().unwrap();
        assert_eq!(found, [inside.join("a-0.parquet"), inside.join("b-1.parquet")]);
    }
}
