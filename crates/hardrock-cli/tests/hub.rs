//! A model of the hub, from end to end: a real server on this machine that answers like the hub, then no network at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{hardrock, holds};

const TOKEN: &str = "hf_sesame_open_7391";
const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardrock/tests/fixtures/models/bert")
}

/// Answers one connection: the model `acme/tiny`, for those who have the token.
fn serve(mut stream: TcpStream, asked: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut first, mut allowed) = (String::new(), false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            allowed |= line.trim().ends_with(&format!("Bearer {TOKEN}"));
            if line.trim().is_empty() {
                break;
            }
            if first.is_empty() {
                first = line;
            }
        }
        asked.fetch_add(1, Ordering::Relaxed);
        let (method, path) = (first.split(' ').next().unwrap(), first.split(' ').nth(1).unwrap());
        let file = path.strip_prefix(&format!("/acme/tiny/resolve/{COMMIT}/"));
        let (status, body) = match file {
            _ if !allowed => (401, b"no token".to_vec()),
            Some(name) => (200, std::fs::read(model().join(name)).unwrap()),
            None if path == "/api/models/acme/tiny/revision/main" => {
                let names = [
                    "README.md",
                    "1_Pooling/config.json",
                    "config.json",
                    "config_sentence_transformers.json",
                    "model.safetensors",
                    "modules.json",
                    "pytorch_model.bin",
                    "sentence_bert_config.json",
                    "tokenizer.json",
                    "tokenizer_config.json",
                ];
                let names: Vec<_> = names.map(|name| serde_json::json!({"rfilename": name})).into();
                (200, serde_json::json!({"sha": COMMIT, "siblings": names}).to_string().into_bytes())
            }
            None => (404, Vec::new()),
        };
        let tag = format!(
            "{:x}{:08x}",
            body.len(),
            body.iter().fold(0u32, |h, &b| h.rotate_left(5) ^ u32::from(b))
        );
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\netag: \"{tag}\"\r\n\r\n", body.len());
        let body = if method == "HEAD" { Vec::new() } else { body };
        if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

#[test]
fn a_model_of_the_hub_gives_the_vectors_of_its_folder_and_is_there_without_a_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<AtomicUsize> = Arc::default();
    let count = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let count = count.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &count));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    let texts = support::file(
        folder.path(),
        "corpus.jsonl",
        "{\"_id\": \"a\", \"text\": \"hello world\"}\n{\"_id\": \"b\", \"text\": \"a fox\"}\n",
    );
    let embed = |model: &str, name: &str, variables: &[(&str, &str)]| {
        let out = folder.path().join(name);
        let mut command = hardrock(["-v", "embed", "--model", model]);
        command.arg(&texts).arg("-o").arg(&out).arg("--work").arg(&work).current_dir(folder.path());
        for name in [
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "HUGGING_FACE_HUB_TOKEN",
            "HF_TOKEN_PATH",
            "TRANSFORMERS_OFFLINE",
        ] {
            command.env_remove(name);
        }
        command.env("HF_HOME", folder.path().join("home")).env("HF_ENDPOINT", &endpoint);
        command.env("HF_TOKEN", TOKEN).env("HF_HUB_OFFLINE", "0").envs(variables.iter().copied());
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains(TOKEN), "{stderr}");
        (output.status.code(), stderr, std::fs::read(&out).ok())
    };
    let (code, stderr, _) = embed("acme/tiny", "x.npy", &[("HF_TOKEN", "")]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("shows no model of that name") && stderr.contains("HF_TOKEN"), "{stderr}");
    let (code, stderr, _) = embed("acme/tiny", "x.npy", &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("HF_HUB_OFFLINE is set") && stderr.contains("has no acme/tiny"), "{stderr}");

    let (code, stderr, fetched) = embed("acme/tiny", "hub.npy", &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("2 texts encoded"), "{stderr}");
    let before = asked.load(Ordering::Relaxed);
    let (code, stderr, cached) = embed("acme/tiny", "offline.npy", &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!((code, asked.load(Ordering::Relaxed)), (Some(0), before), "{stderr}");
    let (code, stderr, local) = embed(&model().display().to_string(), "local.npy", &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stderr.contains("0 texts encoded, the others known"),
        "the same files, the same vectors: {stderr}"
    );
    assert!(fetched.is_some() && fetched == cached && fetched == local);
    assert!(!holds(folder.path(), TOKEN), "no file holds the token");

    // A folder of that name wins.
    std::fs::create_dir_all(folder.path().join("acme/tiny")).unwrap();
    let (code, stderr, _) = embed("acme/tiny", "y.npy", &[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("neither modules.json nor config.json") || stderr.contains("no weights"),
        "{stderr}"
    );
}
