//! Opens text files as they come: plain, gzip or zstd by content, with or without a byte order mark, Unix or Windows line ends.
//!
//! Every reader of text goes through here, so that a cut-off download, a stray byte or a UTF-16 export is told in the same
//! words everywhere, with the line where it happened.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use super::files::missing;
use crate::{Error, Result};

/// Bytes read at a time.
const BUFFER: usize = 1 << 18;
/// Longest line accepted: a longer one means that the file is not made of lines.
const LONGEST_LINE: u64 = 1 << 28;

/// How a file is packed, told by its first bytes and not by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not packed.
    Plain,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard, one frame or several.
    Zstd,
}

/// An open text file, unpacked, behind its byte order mark.
pub struct Input {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    compression: Compression,
    bom: bool,
}

/// Opens a text file and unpacks it by content. A missing, unreadable or empty file, a folder and a UTF-16 file are errors.
pub fn open(path: &Path) -> Result<Input> {
    let mut file = BufReader::with_capacity(BUFFER, open_file(path)?);
    let magic = prefix(&mut file, 4).map_err(Error::io("read", path))?;
    let compression = compression_of(&magic);
    if magic == b"PAR1" {
        return Err(Error::input(
            path,
            None,
            "is a Parquet file where text is wanted",
            "give the file a name that ends in .parquet, or write it as JSON lines",
        ));
    }
    let whole = Cursor::new(magic).chain(file);
    let mut reader: Box<dyn BufRead + Send> = match compression {
        Compression::Plain => Box::new(whole),
        Compression::Gzip => {
            Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(whole)))
        }
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(whole).map_err(Error::io("read", path))?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
    };
    let head = prefix(&mut reader, 3).map_err(|e| broken_stream(path, compression, 0, e))?;
    if head.is_empty() {
        return Err(Error::input(path, None, "the file is empty", "check how it was made or fetched"));
    }
    if head.starts_with(&[0xFF, 0xFE]) || head.starts_with(&[0xFE, 0xFF]) {
        return Err(Error::input(
            path,
            None,
            "the text is UTF-16, UTF-8 is wanted",
            "convert it: iconv -f UTF-16 -t UTF-8",
        ));
    }
    let bom = head == [0xEF, 0xBB, 0xBF];
    let head = if bom { Vec::new() } else { head };
    Ok(Input { path: path.to_owned(), reader: Box::new(Cursor::new(head).chain(reader)), compression, bom })
}

impl Input {
    /// The file's path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the file is packed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Whether the text began with a UTF-8 byte order mark (accepted and left out).
    pub fn bom(&self) -> bool {
        self.bom
    }

    /// The text line by line.
    pub fn lines(self) -> Lines {
        Lines { input: self, buffer: Vec::new(), number: 0, crlf: 0, ended: false }
    }

    /// A failed read of this file in the crate's words; `line` = lines read before it.
    pub(crate) fn broken(&self, line: u64, error: io::Error) -> Error {
        broken_stream(&self.path, self.compression, line, error)
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

/// The lines of a text file with their numbers; line ends (`\n`, `\r\n`) are left out.
pub struct Lines {
    input: Input,
    buffer: Vec<u8>,
    number: u64,
    crlf: u64,
    ended: bool,
}

impl Lines {
    /// The next line with its number, from 1. After a line that is no clean UTF-8 the next call goes on behind it; after a
    /// failed read nothing more comes.
    pub fn next_line(&mut self) -> Option<Result<(u64, &str)>> {
        if self.ended {
            return None;
        }
        self.buffer.clear();
        let read = (&mut self.input.reader).take(LONGEST_LINE).read_until(b'\n', &mut self.buffer);
        match read {
            Ok(0) => {
                self.ended = true;
                return None;
            }
            Err(e) => {
                self.ended = true;
                return Some(Err(self.input.broken(self.number, e)));
            }
            Ok(_) => self.number += 1,
        }
        if self.buffer.len() as u64 == LONGEST_LINE {
            self.ended = true;
            return Some(Err(Error::input(
                &self.input.path,
                None,
                format!("line {} is longer than {} MiB", self.number, LONGEST_LINE >> 20),
                "one record per line is wanted; is this a text file?",
            )));
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        }
        if self.buffer.last() == Some(&b'\r') {
            self.buffer.pop();
            self.crlf += 1;
        }
        Some(clean_text(&self.input.path, self.number, &self.buffer).map(|line| (self.number, line)))
    }

    /// The bytes of the line that the last call read, without its end.
    pub fn raw(&self) -> &[u8] {
        &self.buffer
    }

    /// Lines so far that ended in `\r\n` (accepted, the `\r` is left out).
    pub fn crlf(&self) -> u64 {
        self.crlf
    }

    /// Whether the text began with a UTF-8 byte order mark.
    pub fn bom(&self) -> bool {
        self.input.bom
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.input.path
    }
}

/// `bytes` as text; invalid UTF-8 and NUL bytes are errors at `line`.
pub(crate) fn clean_text<'a>(path: &Path, line: u64, bytes: &'a [u8]) -> Result<&'a str> {
    if let Some(at) = memchr::memchr(0, bytes) {
        return Err(Error::input(
            path,
            line,
            format!("NUL byte at byte {}", at + 1),
            "remove it, or fetch the file again: text files hold no NUL bytes",
        ));
    }
    std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        let byte = bytes.get(at).copied().unwrap_or_default();
        Error::input(
            path,
            line,
            format!("byte {} (0x{byte:02X}) is no valid UTF-8", at + 1),
            "convert the file to UTF-8, for example: iconv -f LATIN1 -t UTF-8",
        )
    })
}

/// BLAKE3 hash of the file's bytes as they lie on the disk, in hex; reads by blocks.
pub fn content_hash(path: &Path) -> Result<String> {
    let mut file = open_file(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().to_hex().to_string()),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("read", path)(e)),
        };
    }
}

/// Whether the file begins like a Parquet file.
pub fn is_parquet(path: &Path) -> Result<bool> {
    let mut file = open_file(path)?;
    Ok(prefix(&mut file, 4).map_err(Error::io("read", path))? == b"PAR1")
}

/// Opens a file; a folder or a missing file is told with what lies nearby.
pub(crate) fn open_file(path: &Path) -> Result<File> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(missing(path)),
        Err(e) => return Err(Error::io("read", path)(e)),
    };
    if file.metadata().map_err(Error::io("read", path))?.is_dir() {
        return Err(Error::input(path, None, "is a folder, a file is wanted", "name a file in it"));
    }
    Ok(file)
}

/// The first `n` bytes, or all there are.
fn prefix(reader: &mut impl Read, n: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(n);
    reader.take(n as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn compression_of(magic: &[u8]) -> Compression {
    match magic {
        [0x1F, 0x8B, ..] => Compression::Gzip,
        // A frame, or a skippable frame as parallel packers put in front.
        [0x28, 0xB5, 0x2F, 0xFD] | [0x50..=0x5F, 0x2A, 0x4D, 0x18] => Compression::Zstd,
        _ => Compression::Plain,
    }
}

/// A failed read in the crate's words; `line` = lines read before it.
pub(crate) fn broken_stream(path: &Path, compression: Compression, line: u64, error: io::Error) -> Error {
    let packing = match compression {
        Compression::Plain => return Error::io("read", path)(error),
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    };
    Error::input(
        path,
        None,
        format!("the {packing} data breaks off or is damaged after line {line} ({error})"),
        "fetch or pack the file again; it may have been cut short on the way",
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn write(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<String>> {
        let file = write(bytes);
        let mut lines = open(file.path())?.lines();
        let mut out = Vec::new();
        while let Some(line) = lines.next_line() {
            out.push(line?.1.to_owned());
        }
        Ok(out)
    }

    /// The problem without the path, and the help.
    fn told<T>(result: Result<T>) -> (String, String) {
        match result.err().unwrap() {
            Error::Input(e) => {
                let line = e.line.map(|l| format!("{l}: ")).unwrap_or_default();
                (format!("{line}{}", e.problem), e.help)
            }
            e => (e.to_string(), e.help().unwrap_or_default()),
        }
    }

    #[test]
    fn two_gzip_members_are_one_text() {
        let bytes = [gzip(b"a\nb"), gzip(b"c\nd\n")].concat();
        assert_eq!(read(&bytes).unwrap(), ["a", "bc", "d"]);
    }

    #[test]
    fn two_zstd_frames_are_one_text() {
        let bytes =
            [zstd::encode_all(&b"a\nb"[..], 1).unwrap(), zstd::encode_all(&b"c"[..], 1).unwrap()].concat();
        assert_eq!(read(&bytes).unwrap(), ["a", "bc"]);
    }

    #[test]
    fn byte_order_mark_is_left_out_and_reported() {
        let file = write("\u{FEFF}a\r\nb".as_bytes());
        let mut lines = open(file.path()).unwrap().lines();
        assert!(lines.bom());
        assert_eq!(lines.next_line().unwrap().unwrap(), (1, "a"));
        assert_eq!(lines.crlf(), 1);
        assert_eq!(lines.next_line().unwrap().unwrap(), (2, "b"));
        assert!(lines.next_line().is_none());
    }

    #[test]
    fn a_mark_inside_gzip_counts_too() {
        assert_eq!(read(&gzip("\u{FEFF}a".as_bytes())).unwrap(), ["a"]);
    }

    #[test]
    fn invalid_utf8_names_line_and_byte_and_reading_goes_on() {
        let file = write(b"good\nb\xE9d\nlast\n");
        let mut lines = open(file.path()).unwrap().lines();
        assert!(lines.next_line().unwrap().is_ok());
        let (problem, help) = told(lines.next_line().unwrap());
        assert_eq!(problem, "2: byte 2 (0xE9) is no valid UTF-8");
        assert_eq!(help, "convert the file to UTF-8, for example: iconv -f LATIN1 -t UTF-8");
        assert_eq!(lines.raw(), b"b\xE9d");
        assert_eq!(lines.next_line().unwrap().unwrap(), (3, "last"));
    }

    #[test]
    fn nul_bytes_name_line_and_byte() {
        assert_eq!(told(read(b"ok\nab\0c\n")).0, "2: NUL byte at byte 3");
    }

    #[test]
    fn an_empty_file_is_an_error_packed_or_not() {
        assert_eq!(told(read(b"")).0, "the file is empty");
        assert_eq!(told(read(&gzip(b""))).0, "the file is empty");
    }

    #[test]
    fn a_folder_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(told(open(dir.path())).0, "is a folder, a file is wanted");
    }

    #[test]
    fn a_missing_file_suggests_its_neighbour() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("corpus.jsonl"), "x").unwrap();
        let (problem, help) = told(open(&dir.path().join("corpu.jsonl")));
        assert_eq!(
            (problem.as_str(), help.as_str()),
            ("there is no such file", "did you mean corpus.jsonl?")
        );
        let (_, help) = told(open(Path::new("/no-such-folder/x.jsonl")));
        assert_eq!(help, "there is no folder /no-such-folder");
    }

    #[test]
    fn utf16_is_named() {
        assert_eq!(told(read(b"\xFF\xFEa\0")).0, "the text is UTF-16, UTF-8 is wanted");
    }

    #[test]
    fn cut_off_gzip_tells_how_far_it_came() {
        // Random-looking text, so that the cut falls behind whole blocks of lines.
        let text: String =
            (0..50_000u64).map(|i| format!("{}\n", i.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
        let packed = gzip(text.as_bytes());
        let (problem, _) = told(read(&packed[..packed.len() / 2]));
        assert!(problem.starts_with("the gzip data breaks off or is damaged after line "), "{problem}");
        let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
        let (problem, _) = told(read(&packed[..packed.len() / 2]));
        assert!(problem.starts_with("the zstd data breaks off or is damaged after line "), "{problem}");
    }

    #[test]
    fn content_hash_is_that_of_the_raw_bytes() {
        let file = write(b"abc");
        let expected = blake3::hash(b"abc").to_hex().to_string();
        assert_eq!(content_hash(file.path()).unwrap(), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), magic in 0usize..4) {
            let head: &[u8] = [&b""[..], &b"\x1F\x8B\x08\0"[..], &b"\x28\xB5\x2F\xFD"[..], &b"\xEF\xBB\xBF"[..]][magic];
            let _ = read(&[head, &bytes].concat());
        }

        #[test]
        fn lines_survive_every_packing(lines in proptest::collection::vec("[^\\x00\r\n]{0,20}", 1..10), crlf: bool, bom: bool, packing in 0u8..3) {
            let end = if crlf { "\r\n" } else { "\n" };
            let mut text = if bom { "\u{FEFF}".to_owned() } else { String::new() };
            // A text that begins with a mark of its own would lose it: that is what the mark means.
            prop_assume!(!lines[0].starts_with('\u{FEFF}'));
            for line in &lines { text.push_str(line); text.push_str(end); }
            let bytes = match packing {
                0 => text.into_bytes(),
                1 => gzip(text.as_bytes()),
                _ => zstd::encode_all(text.as_bytes(), 1).unwrap(),
            };
            prop_assert_eq!(read(&bytes).unwrap(), lines);
        }
    }
}
