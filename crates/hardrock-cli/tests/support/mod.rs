//! What the end-to-end tests share: the binary, the data, a folder to work in.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The shared data sets, or the folder that `HARDROCK_DATA` names.
pub fn data(name: &str) -> PathBuf {
    let folder = match std::env::var_os("HARDROCK_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    };
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not there; set HARDROCK_DATA to the folder of the shared data",
        path.display()
    );
    path
}

/// The example that ships with the repository.
pub fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/cwe")
}

/// The binary with these arguments.
pub fn hardrock<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hardrock"));
    command.args(arguments);
    command
}

/// Runs to the end; stdout and stderr as text.
pub fn run<S: AsRef<std::ffi::OsStr>>(
    arguments: impl IntoIterator<Item = S>,
) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = hardrock(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Runs to the end; anything but exit code 0 is a failure.
pub fn succeed<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> (String, String) {
    let (code, stdout, stderr) = run(arguments);
    assert_eq!(code, Some(0), "{stderr}");
    (stdout, stderr)
}

/// Makes a file with these lines.
pub fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

/// The manifest of an output, as JSON.
pub fn manifest(out: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(format!("{}.manifest.json", out.display())).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Training file and candidates file, byte for byte.
pub fn bytes(out: &Path) -> (Vec<u8>, Vec<u8>) {
    (std::fs::read(out).unwrap(), std::fs::read(format!("{}.candidates.parquet", out.display())).unwrap())
}

/// (query, document) pairs of a packed BEIR qrels file with at least this grade.
pub fn oracle(path: &Path, level: i32) -> std::collections::BTreeSet<(String, String)> {
    use std::io::Read;
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let fields = text.lines().skip(1).map(|l| l.split('\t').collect::<Vec<_>>());
    fields.filter(|f| f[2].parse::<i32>().unwrap() >= level).map(|f| (f[0].into(), f[1].into())).collect()
}

/// Whether any file below a folder holds the text.
pub fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, text),
            false => String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(text),
        }
    })
}
