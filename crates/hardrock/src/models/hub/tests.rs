use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::mine::Silent;
use crate::models::{self, ModelOptions};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const REPO: &str = "org/tiny";
const TOKEN: &str = "hf_sesame";

#[derive(Debug, Clone)]
struct Request {
    method: String,
    path: String,
    range: Option<u64>,
    token: Option<String>,
}

/// What a request meets instead of a right answer.
#[derive(Clone, Copy)]
enum Fault {
    None,
    Status(u16, &'static str),
    /// The connection breaks after so many bytes of the body.
    Break(usize),
    /// The whole file, whatever part was asked for.
    Whole,
    /// No answer.
    Silent,
}

type Faults = dyn Fn(&Request) -> Fault + Send + Sync;

/// A hub on this machine, and the server beside it that its large files lie on.
struct FakeHub {
    endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
    home: tempfile::TempDir,
}

/// Starts a server and answers its address.
fn listen(answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 {
                        return;
                    }
                    let mut words = line.split(' ').map(str::to_owned);
                    let (method, path) = (words.next().unwrap(), words.next().unwrap());
                    let mut request = Request { method, path, range: None, token: None };
                    loop {
                        let mut header = String::new();
                        reader.read_line(&mut header).unwrap();
                        let Some((name, value)) = header.trim().split_once(": ") else { break };
                        match name.to_lowercase().as_str() {
                            "range" => {
                                let from = value.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap();
                                request.range = Some(from.parse().unwrap());
                            }
                            "authorization" => request.token = Some(value.to_owned()),
                            "accept-encoding" => assert_eq!(value, "identity"),
                            _ => {}
                        }
                    }
                    answer(&request, &mut stream);
                }
            });
        }
    });
    address
}

fn reply(request: &Request, stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    let body = if request.method == "HEAD" { &[] } else { body };
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// A file, or the part of it that is asked for.
fn serve(request: &Request, stream: &mut TcpStream, headers: &str, bytes: &[u8], fault: Fault) {
    let from = match fault {
        Fault::Whole => 0,
        _ => request.range.unwrap_or(0) as usize,
    };
    if let Fault::Break(after) = fault {
        let head = format!("HTTP/1.1 206 X\r\ncontent-length: {}\r\n", bytes.len() - from);
        let range = format!("content-range: bytes {from}-{}/{}\r\n\r\n", bytes.len() - 1, bytes.len());
        let _ = stream.write_all((head + &range).as_bytes());
        let _ = stream.write_all(&bytes[from..][..after]);
        let _ = stream.shutdown(std::net::Shutdown::Both);
    } else if from > 0 {
        let range = format!("content-range: bytes {from}-{}/{}\r\n{headers}", bytes.len() - 1, bytes.len());
        reply(request, stream, 206, &range, &bytes[from..]);
    } else {
        reply(request, stream, 200, headers, bytes);
    }
}

fn tag(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..40].to_owned()
}

/// The files of the tiny BERT, and what else a repository holds.
fn files() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/bert");
    let mut names = Listing::new();
    walk(&folder, "", &mut names).unwrap();
    let mut files: BTreeMap<String, Vec<u8>> =
        names.into_iter().map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap())).collect();
    for name in ["pytorch_model.bin", "onnx/model.onnx", "README.md", "vocab.txt"] {
        files.insert(name.to_owned(), b"nobody reads this".to_vec());
    }
    files
}

impl FakeHub {
    fn start(
        files: BTreeMap<String, Vec<u8>>,
        faults: impl Fn(&Request) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let (files, faults): (_, Arc<Faults>) = (Arc::new(files), Arc::new(faults));
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (its, seen, bad) = (files.clone(), requests.clone(), faults.clone());
        let storage = listen(move |request, stream| {
            seen.lock().unwrap().push(request.clone());
            assert_eq!(request.token, None, "the token is the hub's alone");
            match bad(request) {
                Fault::Status(status, headers) => reply(request, stream, status, headers, b""),
                Fault::Silent => std::thread::sleep(Duration::from_secs(5)),
                fault => {
                    serve(request, stream, "", &its[request.path.strip_prefix("/blob/").unwrap()], fault)
                }
            }
        });
        let seen = requests.clone();
        let endpoint = listen(move |request, stream| {
            seen.lock().unwrap().push(request.clone());
            match faults(request) {
                Fault::Status(status, headers) => return reply(request, stream, status, headers, b""),
                Fault::Silent => return std::thread::sleep(Duration::from_secs(5)),
                _ => {}
            }
            if let Some(revision) = request.path.strip_prefix(&format!("/api/models/{REPO}/revision/")) {
                if !["main", "refs%2Fpr%2F1", COMMIT].contains(&revision) {
                    return reply(request, stream, 404, "x-error-code: RevisionNotFound\r\n", b"");
                }
                let names: Vec<_> = files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
                let body =
                    serde_json::json!({"sha": COMMIT, "siblings": names, "private": false}).to_string();
                return reply(request, stream, 200, "content-type: application/json\r\n", body.as_bytes());
            }
            let name = request.path.strip_prefix(&format!("/{REPO}/resolve/{COMMIT}/"));
            let Some((name, bytes)) = name.and_then(|name| files.get_key_value(name)) else {
                return reply(request, stream, 401, "x-error-code: RepoNotFound\r\n", b"");
            };
            let common = format!("x-repo-commit: {COMMIT}\r\n");
            if name.ends_with(".safetensors") {
                let linked =
                    format!("x-linked-etag: \"{}\"\r\nx-linked-size: {}\r\n", tag(bytes), bytes.len());
                let location = format!("location: {storage}/blob/{name}\r\n");
                return reply(request, stream, 302, &format!("{common}{linked}{location}"), b"Found");
            }
            serve(request, stream, &format!("{common}etag: W/\"{}\"\r\n", tag(bytes)), bytes, Fault::None);
        });
        Self { endpoint, requests, home: tempfile::tempdir().unwrap() }
    }

    fn settings(&self, more: &[(&str, &str)]) -> Settings {
        let home = self.home.path().to_str().unwrap();
        let own = [("HF_HOME", home), ("HF_ENDPOINT", self.endpoint.as_str()), ("HF_TOKEN", TOKEN)];
        let find =
            |name: &str| more.iter().chain(&own).find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let settings = Settings::read(find).unwrap();
        Settings { first_wait: Duration::from_millis(5), silence: Duration::from_millis(400), ..settings }
    }

    fn get_with(&self, spec: &str, more: &[(&str, &str)], progress: &dyn Progress) -> Result<Snapshot> {
        let (id, cancel) = (HubId::parse(spec).unwrap(), AtomicBool::new(false));
        Hub { settings: self.settings(more), id: &id, progress, cancel: &cancel }.snapshot()
    }

    fn get(&self, spec: &str) -> Result<Snapshot> {
        self.get_with(spec, &[], &Silent)
    }

    /// The requests since the last look, as `METHOD path from`.
    fn seen(&self) -> Vec<String> {
        let all = std::mem::take(&mut *self.requests.lock().unwrap());
        all.iter().map(|r| format!("{} {} {}", r.method, r.path, r.range.unwrap_or(0))).collect()
    }

    fn blobs(&self) -> PathBuf {
        self.home.path().join("hub/models--org--tiny/blobs")
    }
}

/// Keeps what it hears.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>, std::sync::atomic::AtomicU64);

impl Progress for Heard {
    fn stage(&self, name: &str, total: u64, unit: &str) {
        self.0.lock().unwrap().push(format!("{name}: {total} {unit}"));
        self.1.store(0, Ordering::Relaxed);
    }
    fn advance(&self, n: u64) {
        self.1.fetch_add(n, Ordering::Relaxed);
    }
    fn notice(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

fn said(error: &Error) -> String {
    format!("{error} / {}", error.help().unwrap_or_default())
}

#[test]
fn names_of_the_hub_are_told_from_paths() {
    let id = HubId::parse("sentence-transformers/all-MiniLM-L6-v2").unwrap();
    assert_eq!((id.repo.as_str(), id.revision.as_str()), ("sentence-transformers/all-MiniLM-L6-v2", "main"));
    assert_eq!(HubId::parse("a/b@refs/pr/4").unwrap().revision, "refs/pr/4");
    assert!(HubId::parse(&format!("a/b@{COMMIT}")).unwrap().is_commit());
    for path in [
        "model", "./a/b", "/a/b", "~/a", "a/b/c", "a/", "/b", "../b", "a/b@", "a/b@../c", "a b/c", "a\\b/c",
        "a/..", "",
    ] {
        assert_eq!(HubId::parse(path), None, "{path}");
    }
}

#[test]
fn a_model_is_fetched_once_without_what_nobody_reads_and_is_the_same_as_its_folder() {
    let hub = FakeHub::start(files(), |_| Fault::None);
    let heard = Heard::default();
    let snapshot = hub.get_with(REPO, &[], &heard).unwrap();
    assert_eq!(snapshot.commit, COMMIT);
    let seen = hub.seen();
    let fetched = seen.iter().filter(|s| s.starts_with("GET")).count();
    // The listing, 9 files, and once more for the weights, which lie elsewhere.
    assert_eq!(fetched, 11, "{seen:?}");
    assert!(
        !seen.iter().any(|s| s.contains(".bin") || s.contains("onnx") || s.contains("golden")),
        "{seen:?}"
    );
    let stages = heard.0.lock().unwrap().join("\n");
    assert!(stages.starts_with("fetch org/tiny: 413 bytes\nfetch org/tiny: "), "{stages}");
    let total: u64 = stages.lines().last().and_then(|l| l.split(' ').nth(2)).unwrap().parse().unwrap();
    assert_eq!(heard.1.load(Ordering::Relaxed), total);

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/bert");
    let local = models::open(folder.to_str().unwrap(), &ModelOptions::default()).unwrap();
    let cached = models::open(snapshot.folder.to_str().unwrap(), &ModelOptions::default()).unwrap();
    assert_eq!(local.fingerprint(), cached.fingerprint());

    // The layout of the shared cache.
    let root = hub.home.path().join("hub/models--org--tiny");
    assert_eq!(std::fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(snapshot.folder, root.join("snapshots").join(COMMIT));
    #[cfg(unix)]
    {
        let weights = &files()["model.safetensors"];
        let link = std::fs::read_link(snapshot.folder.join("1_Pooling/config.json")).unwrap();
        assert!(link.starts_with("../../../blobs"), "{link:?}");
        let link = std::fs::read_link(snapshot.folder.join("model.safetensors")).unwrap();
        assert_eq!(link, Path::new("../../blobs").join(tag(weights)));
    }

    assert_eq!(hub.get(REPO).unwrap(), snapshot);
    assert_eq!(hub.seen(), [format!("GET /api/models/{REPO}/revision/main 0")]);
    assert_eq!(hub.get(&format!("{REPO}@{COMMIT}")).unwrap(), snapshot);
    assert_eq!(hub.get_with(REPO, &[("HF_HUB_OFFLINE", "1")], &Silent).unwrap(), snapshot);
    assert!(hub.seen().is_empty(), "a commit and offline need no network");
    assert_eq!(hub.get(&format!("{REPO}@refs/pr/1")).unwrap(), snapshot);
    assert!(root.join("refs/refs/pr/1").is_file());
}

#[test]
fn a_broken_download_goes_on_at_the_byte_where_it_stopped() {
    let broken = Mutex::new(0);
    let hub = FakeHub::start(files(), move |request| {
        let mut times = broken.lock().unwrap();
        match request.path.starts_with("/blob/") && *times < 9 {
            true => {
                *times += 1;
                // Nine breaks are more than the tries, but each try got further.
                Fault::Break(1000)
            }
            false => Fault::None,
        }
    });
    let snapshot = hub.get(REPO).unwrap();
    let seen: Vec<String> = hub.seen().into_iter().filter(|s| s.contains("/blob/")).collect();
    assert_eq!((seen.len(), seen[9].as_str()), (10, "GET /blob/model.safetensors 9000"));
    assert_eq!(
        std::fs::read(snapshot.folder.join("model.safetensors")).unwrap(),
        files()["model.safetensors"]
    );
}

#[test]
fn a_second_run_goes_on_and_a_server_that_cannot_is_read_from_the_start() {
    let calls = Mutex::new(0);
    let hub = FakeHub::start(files(), move |request| {
        if !request.path.starts_with("/blob/") {
            return Fault::None;
        }
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        match *calls {
            1 => Fault::Break(5000),
            2..=4 => Fault::Status(503, ""),
            5 => Fault::Status(416, ""),
            6 => Fault::Break(70_000),
            _ => Fault::Whole,
        }
    });
    let error = hub.get(REPO).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(
        said(&error).contains("status 503, after 4 tries") && said(&error).contains("what is fetched stays"),
        "{error}"
    );
    let weights = &files()["model.safetensors"];
    let part = hub.blobs().join(format!("{}.part", tag(weights)));
    assert_eq!(std::fs::metadata(&part).unwrap().len(), 5000);
    assert!(!hub.home.path().join("hub/models--org--tiny/refs/main").exists(), "not whole, not named");
    hub.seen();
    let snapshot = hub.get(REPO).unwrap();
    let seen: Vec<String> = hub.seen().into_iter().filter(|s| s.contains("/blob/")).collect();
    let starts: Vec<&str> = seen.iter().map(|s| s.rsplit(' ').next().unwrap()).collect();
    assert_eq!(starts, ["5000", "0", "70000"], "a refused range starts again");
    assert_eq!(&std::fs::read(snapshot.folder.join("model.safetensors")).unwrap(), weights);
    assert!(!part.exists());
}

#[test]
fn a_stop_is_heard_in_the_middle_of_a_file_and_keeps_what_came() {
    let hub = FakeHub::start(files(), |_| Fault::None);
    let (id, cancel) = (HubId::parse(REPO).unwrap(), AtomicBool::new(false));
    struct Stop<'a>(&'a AtomicBool);
    impl Progress for Stop<'_> {
        fn stage(&self, _: &str, _: u64, _: &str) {}
        fn advance(&self, n: u64) {
            // The first large piece.
            self.0.fetch_or(n > 10_000, Ordering::Relaxed);
        }
        fn notice(&self, _: &str) {}
    }
    let progress = Stop(&cancel);
    let result =
        Hub { settings: hub.settings(&[]), id: &id, progress: &progress, cancel: &cancel }.snapshot();
    assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
    let part = hub.blobs().join(format!("{}.part", tag(&files()["model.safetensors"])));
    let kept = std::fs::metadata(part).unwrap().len();
    assert!(kept > 10_000);
    hub.seen();
    hub.get(REPO).unwrap();
    assert!(hub.seen().contains(&format!("GET /blob/model.safetensors {kept}")));
}

#[test]
fn refusals_say_what_to_do() {
    let hub = FakeHub::start(files(), |_| Fault::None);
    let wrong = hub.get("org/tinny").unwrap_err();
    assert_eq!(wrong.exit_code(), 2);
    let text = said(&wrong);
    assert!(text.contains("there is no folder `org/tinny`, and the hub at http://127.0.0.1"), "{text}");
    assert!(text.contains("check the spelling") && text.contains("token") && !text.contains(TOKEN), "{text}");
    let text = said(&hub.get_with("org/tinny", &[("HF_TOKEN", "")], &Silent).unwrap_err());
    assert!(text.contains("if it is private, put a token into HF_TOKEN"), "{text}");
    let text = said(&hub.get("org/tiny@v9").unwrap_err());
    assert!(text.contains("org/tiny has no revision `v9`"), "{text}");

    let gated = FakeHub::start(files(), |request| match request.token.as_deref() {
        Some("Bearer good") => Fault::None,
        Some(_) => Fault::Status(403, "x-error-code: GatedRepo\r\n"),
        None => Fault::Status(401, "x-error-code: GatedRepo\r\n"),
    });
    let text = said(&gated.get_with(REPO, &[("HF_TOKEN", "")], &Silent).unwrap_err());
    assert!(text.contains("org/tiny is gated") && text.contains("HF_TOKEN"), "{text}");
    let error = gated.get(REPO).unwrap_err();
    assert!(said(&error).contains("accept its terms") && !said(&error).contains(TOKEN), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn a_model_without_safetensors_or_tokenizer_is_refused_before_anything_large_is_fetched() {
    let mut files = files();
    files.remove("model.safetensors");
    let hub = FakeHub::start(files, |_| Fault::None);
    let error = hub.get(REPO).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        said(&error).contains("has no model.safetensors") && said(&error).contains("org/tiny@refs/pr/N"),
        "{error}"
    );
    assert_eq!(hub.seen().len(), 3, "the listing and modules.json");
}

#[test]
fn offline_names_what_the_cache_lacks() {
    let hub = FakeHub::start(files(), |_| Fault::None);
    let offline = [("HF_HUB_OFFLINE", "1")];
    let error = hub.get_with(REPO, &offline, &Silent).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        said(&error).contains("has no org/tiny at main") && said(&error).contains("unset HF_HUB_OFFLINE"),
        "{error}"
    );
    let snapshot = hub.get(REPO).unwrap();
    std::fs::remove_file(hub.blobs().join(tag(&files()["tokenizer.json"]))).unwrap();
    let error = hub.get_with(REPO, &offline, &Silent).unwrap_err();
    assert!(said(&error).contains("lacks tokenizer.json of org/tiny"), "{error}");
    hub.seen();
    // Online the one file is brought again, through a link that led nowhere.
    assert_eq!(hub.get(REPO).unwrap(), snapshot);
    assert_eq!(hub.seen().len(), 3);
}

#[test]
fn a_hub_that_is_away_is_no_matter_where_the_cache_has_the_model() {
    let away = Arc::new(AtomicBool::new(false));
    let flag = away.clone();
    let hub = FakeHub::start(files(), move |_| match flag.load(Ordering::Relaxed) {
        true => Fault::Silent,
        false => Fault::None,
    });
    let snapshot = hub.get(REPO).unwrap();
    away.store(true, Ordering::Relaxed);
    let heard = Heard::default();
    assert_eq!(hub.get_with(REPO, &[], &heard).unwrap(), snapshot);
    let notices = heard.0.lock().unwrap().join("\n");
    assert!(notices.contains(&format!("the cached commit {COMMIT} of org/tiny is used")), "{notices}");
    let other = hub.get("org/other").unwrap_err();
    assert_eq!(other.exit_code(), 1);
}

#[test]
fn two_at_once_fetch_each_file_once() {
    let hub = FakeHub::start(files(), |_| Fault::None);
    let snapshots: Vec<Snapshot> = std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| hub.get(REPO).unwrap()));
        both.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(snapshots[0], snapshots[1]);
    let seen = hub.seen();
    assert_eq!(seen.iter().filter(|s| s.contains("/blob/")).count(), 1, "{seen:?}");
}
