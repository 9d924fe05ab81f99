//! A model behind an address, from end to end: a real server on this machine, a key, a fault.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{example, hardrock, holds};

const KEY: &str = "sesame-open-7391";

/// Answers one connection in OpenAI's shape: vectors of letters' counts; the second request of all fails once.
fn serve(stream: TcpStream, asked: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut length, mut allowed, mut lines) = (0, false, 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.to_lowercase();
            if let Some(n) = lower.strip_prefix("content-length:") {
                length = n.trim().parse().unwrap();
            }
            allowed |= line.trim().ends_with(&format!("Bearer {KEY}"));
            if line.trim().is_empty() {
                break;
            }
            lines += 1;
        }
        assert!(lines > 0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let (status, answer) = match asked.fetch_add(1, Ordering::Relaxed) {
            _ if !allowed => (401, serde_json::json!({"error": "no key"})),
            1 => (500, serde_json::json!({"error": "just now"})),
            _ => {
                let texts = body["input"].as_array().unwrap();
                let vector = |text: &serde_json::Value| -> Vec<usize> {
                    let text = text.as_str().unwrap().to_lowercase();
                    ('a'..='z').map(|c| text.matches(c).count() + 1).collect()
                };
                let data: Vec<_> =
                    texts.iter().map(|t| serde_json::json!({"embedding": vector(t)})).collect();
                (200, serde_json::json!({"data": data}))
            }
        };
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", answer.len());
        if stream.write_all(format!("{head}{answer}").as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn mining_with_a_server_asks_for_each_text_once_and_keeps_the_key_to_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1#letters", listener.local_addr().unwrap());
    let asked: Arc<AtomicUsize> = Arc::default();
    let count = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let count = count.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &count));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let mine = |name: &str, key: Option<&str>, more: &[&str]| {
        let out = folder.path().join(name).display().to_string();
        let input = example().display().to_string();
        let mut command =
            hardrock(["-v", "mine", &input, "--model", &address, "--model-batch", "256", "-o", &out]);
        command.args(more).env_remove("HARDROCK_API_KEY").env_remove("OPENAI_API_KEY");
        if let Some(key) = key {
            command.env("HARDROCK_API_KEY", key);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stderr) = mine("a.jsonl", None, &[]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("status 401") && stderr.contains("HARDROCK_API_KEY"), "{stderr}");
    asked.store(0, Ordering::Relaxed);

    let (code, stderr) = mine("a.jsonl", Some(KEY), &["--print-spec"]);
    assert_eq!((code, asked.load(Ordering::Relaxed)), (Some(0), 0), "{stderr}");
    let (code, stderr) = mine("a.jsonl", Some(KEY), &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("mined 6,985 negatives"), "{stderr}");
    // 938 documents and 1,397 anchors by 256, the probe, and the request that failed once.
    let first = asked.load(Ordering::Relaxed);
    assert!((11..=16).contains(&first), "{first}");
    let (code, again) = mine("b.jsonl", Some(KEY), &["--relative-margin", "0.05"]);
    assert_eq!(code, Some(0), "{again}");
    assert_eq!(asked.load(Ordering::Relaxed), first + 1, "the probe alone");
    assert!(!stderr.contains(KEY) && !again.contains(KEY));
    assert!(!holds(folder.path(), KEY), "no file holds the key");
    assert!(holds(folder.path(), &address));
}
