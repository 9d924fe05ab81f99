//! Output files that are there whole or not at all.
//!
//! Bytes go to a temporary file in the output's folder, which is synced and renamed at the end. A file that is dropped
//! before that is removed, so an error midway leaves nothing behind; what a killed process leaves, [`remove_partial`] finds.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// Ending of files that are not whole yet: `.NAME.*.partial`.
const PARTIAL: &str = ".partial";

/// A file that appears under its name only when [`AtomicFile::seal`] and [`Sealed::publish`] went well.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    force: bool,
    body: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Opens a temporary file beside `path`.
    ///
    /// # Errors
    /// [`Error::Exists`] when `path` is there and `force` is not set; a folder that is missing or refuses.
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        if !force && path.exists() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        let prefix = partial_prefix(path)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(PARTIAL);
        // Without this the file would keep the private mode of temporary files; the umask still applies.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder_of(path)).map_err(Error::io("create", path))?;
        Ok(Self { path: path.to_owned(), force, body: BufWriter::with_capacity(1 << 18, file) })
    }

    /// Flushes and syncs; the file is whole but still under its temporary name.
    pub fn seal(mut self) -> Result<Sealed> {
        self.body.flush().map_err(Error::io("write", &self.path))?;
        let file = self.body.into_inner().map_err(|e| Error::io("write", &self.path)(e.into_error()))?;
        file.as_file().sync_all().map_err(Error::io("write", &self.path))?;
        Ok(Sealed { path: self.path, force: self.force, file })
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.body.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.body.flush()
    }
}

/// A whole file under its temporary name.
#[derive(Debug)]
pub struct Sealed {
    path: PathBuf,
    force: bool,
    file: NamedTempFile,
}

impl Sealed {
    /// Gives it its name and returns that.
    ///
    /// # Errors
    /// [`Error::Exists`] when somebody made the file meanwhile and `force` is not set.
    pub fn publish(self) -> Result<PathBuf> {
        let Self { path, force, file } = self;
        let done = if force { file.persist(&path) } else { file.persist_noclobber(&path) };
        match done {
            Ok(_) => {}
            Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists { path });
            }
            Err(e) => return Err(Error::io("create", &path)(e.error)),
        }
        // Makes the rename itself durable. Some file systems cannot sync folders; the data is safe either way.
        if let Ok(folder) = File::open(folder_of(&path)) {
            let _ = folder.sync_all();
        }
        Ok(path)
    }
}

/// The folder of `path`; `.` for a bare name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What the names of unfinished files of `path` begin with.
fn partial_prefix(path: &Path) -> Result<String> {
    let name = path.file_name().ok_or_else(|| {
        Error::usage(format!("{} is not the name of a file", path.display()), "name a file")
    })?;
    Ok(format!(".{}.", name.to_string_lossy()))
}

/// Writes the parts one after another as one file, replacing what is there.
pub fn write_atomically(path: &Path, parts: &[&[u8]]) -> Result<()> {
    let mut file = AtomicFile::create(path, true)?;
    for part in parts {
        file.write_all(part).map_err(Error::io("write", path))?;
    }
    file.seal()?.publish()?;
    Ok(())
}

/// Removes what a killed run left of `path` and of the files that stand beside it under longer names.
pub fn remove_partial(path: &Path) -> Result<()> {
    let (folder, prefix) = (folder_of(path), partial_prefix(path)?);
    let entries = std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(PARTIAL) {
            std::fs::remove_file(entry.path()).map_err(Error::io("remove", &entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stands_under_the_name_before_it_is_published() -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let mut file = AtomicFile::create(&path, false)?;
        file.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        write_atomically(&path, &[b"a", b"b"])?;
        assert_eq!(std::fs::read(&path).unwrap(), b"ab");
        assert!(matches!(AtomicFile::create(&path, false), Err(Error::Exists { .. })));
        Ok(())
    }

    #[test]
    fn what_a_killed_run_left_goes_and_nothing_else() -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            ".out.jsonl.a1.partial",
            ".out.jsonl.manifest.json.b2.partial",
            ".other.c3.partial",
            "out.jsonl",
        ];
        for name in names {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        remove_partial(&folder.path().join("out.jsonl"))?;
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".other.c3.partial", "out.jsonl"]);
        Ok(())
    }
}
