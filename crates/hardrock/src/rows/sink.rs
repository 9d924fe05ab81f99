//! Text lines into files, packed as the name says.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;

use crate::atomic::{AtomicFile, Sealed};
use crate::{Error, Result};

/// Text lines into a file, compressed as its name's ending says (`.gz`, `.zst`). Same lines, same bytes.
pub struct TextSink {
    path: PathBuf,
    body: Body,
}

enum Body {
    Plain(AtomicFile),
    Gzip(GzEncoder<AtomicFile>),
    Zstd(zstd::stream::write::Encoder<'static, AtomicFile>),
}

impl TextSink {
    /// Opens a temporary file beside `path`; see [`AtomicFile::create`] for the errors.
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        let file = AtomicFile::create(path, force)?;
        let body = match path.extension().and_then(|e| e.to_str()) {
            // flate2's header holds no time, so equal lines give equal bytes.
            Some("gz") => Body::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Some("zst") => {
                Body::Zstd(zstd::stream::write::Encoder::new(file, 3).map_err(Error::io("create", path))?)
            }
            _ => Body::Plain(file),
        };
        Ok(Self { path: path.to_owned(), body })
    }

    /// Writes `line` and a line feed.
    pub fn line(&mut self, line: &[u8]) -> Result<()> {
        self.write_all(line).and_then(|()| self.write_all(b"\n")).map_err(Error::io("write", &self.path))
    }

    /// Writes `value` as one line of JSON.
    pub fn json<T: serde::Serialize>(&mut self, value: &T) -> Result<()> {
        let failed = |path: &Path, e: serde_json::Error| Error::io("write", path)(e.into());
        if let Err(e) = serde_json::to_writer(&mut *self, value) {
            return Err(failed(&self.path, e));
        }
        self.write_all(b"\n").map_err(Error::io("write", &self.path))
    }

    /// Ends the compressed stream, flushes and syncs.
    pub fn seal(self) -> Result<Sealed> {
        let path = self.path;
        let file = match self.body {
            Body::Plain(file) => file,
            Body::Gzip(encoder) => encoder.finish().map_err(Error::io("write", &path))?,
            Body::Zstd(encoder) => encoder.finish().map_err(Error::io("write", &path))?,
        };
        file.seal()
    }
}

impl Write for TextSink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.body {
            Body::Plain(w) => w.write(bytes),
            Body::Gzip(w) => w.write(bytes),
            Body::Zstd(w) => w.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.body {
            Body::Plain(w) => w.flush(),
            Body::Gzip(w) => w.flush(),
            Body::Zstd(w) => w.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_sink_that_is_dropped_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
            let mut sink = TextSink::create(&folder.path().join(name), false).unwrap();
            sink.line(&[b'x'; 1 << 20]).unwrap();
            assert_eq!(names(folder.path()).len(), 1, "the temporary file");
            drop(sink);
            assert!(names(folder.path()).is_empty());
        }
    }

    #[test]
    fn an_existing_output_is_kept_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "old").unwrap();
        assert!(matches!(TextSink::create(&path, false), Err(Error::Exists { .. })));
        let mut sink = TextSink::create(&path, true).unwrap();
        sink.line(b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old", "until published");
        sink.seal().unwrap().publish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn an_output_that_appears_meanwhile_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let sink = TextSink::create(&path, false).unwrap();
        std::fs::write(&path, "other").unwrap();
        assert!(matches!(sink.seal().unwrap().publish(), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "other");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = TextSink::create(Path::new("/no/such/folder/a.txt"), false).err().unwrap();
        assert!(error.to_string().contains("/no/such/folder/a.txt"), "{error}");
    }
}
