use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::*;
use crate::models::Precision;

/// What the server does with a request: by its number and body.
type Answer = dyn Fn(usize, &Request) -> Reply + Send + Sync;

#[derive(Debug, Clone)]
struct Request {
    path: String,
    authorization: Option<String>,
    body: Value,
}

enum Reply {
    Json(Value),
    Status(u16, &'static str, &'static str),
    /// A body shorter than its length.
    Truncated,
    /// No answer for so long.
    Silent(Duration),
}

/// A real server on this machine, one thread per connection.
struct Fake {
    base: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    fn start(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (shared, answer): (_, Arc<Answer>) = (seen.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, answer) = (shared.clone(), answer.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &shared, &*answer));
            }
        });
        Self { base, seen }
    }

    fn openai(&self) -> String {
        format!("{}/v1#tiny", self.base)
    }

    fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Request>>, answer: &Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut length, mut authorization) = (0, None);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let Some((name, value)) = header.trim().split_once(':') else { break };
            match name.to_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "authorization" => authorization = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let request = Request { path, authorization, body };
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        let (status, headers, body) = match answer(number, &request) {
            Reply::Json(value) => (200, "", value.to_string()),
            Reply::Status(status, headers, body) => (status, headers, body.to_owned()),
            Reply::Truncated => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n[[1.0");
                return;
            }
            Reply::Silent(time) => {
                std::thread::sleep(time);
                return;
            }
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

/// The vector of a text: its length, and 1.
fn vector(text: &Value) -> Value {
    json!([text.as_str().unwrap().len(), 1.0])
}

fn openai(request: &Request) -> Reply {
    let input = request.body["input"].as_array().unwrap();
    // Out of order, as servers may answer.
    let data: Vec<Value> =
        input.iter().enumerate().rev().map(|(i, t)| json!({"index": i, "embedding": vector(t)})).collect();
    Reply::Json(json!({"data": data}))
}

const QUICK: Duration = Duration::from_millis(5);

fn open_with(spec: &str, remote: RemoteOptions) -> Result<Remote> {
    Remote::open(spec, &ModelOptions { remote, ..ModelOptions::default() }, QUICK)
}

fn encode(remote: &Remote, texts: &[&str]) -> Result<Vec<f32>> {
    let mut out = vec![f32::NAN; texts.len() * remote.dim()];
    remote.encode(texts, &mut out, &AtomicBool::new(false)).map(|()| out)
}

const TEXTS: [&str; 5] = ["a", "bb", "ccc", "dddd", "eeeee"];
const VECTORS: [f32; 10] = [1.0, 1.0, 2.0, 1.0, 3.0, 1.0, 4.0, 1.0, 5.0, 1.0];

#[test]
fn openais_shape_is_asked_in_batches_and_read_in_the_texts_order() {
    let fake = Fake::start(|_, request| openai(request));
    let remote = open_with(&fake.openai(), RemoteOptions { batch: 2, ..RemoteOptions::default() }).unwrap();
    assert_eq!((remote.dim(), remote.card().architecture.as_str()), (2, "tiny"));
    assert_eq!(encode(&remote, &TEXTS).unwrap(), VECTORS);
    let requests = fake.requests();
    assert!(requests.iter().all(|r| r.path == "/v1/embeddings" && r.body["model"] == "tiny"));
    let mut sizes: Vec<usize> =
        requests[1..].iter().map(|r| r.body["input"].as_array().unwrap().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2]);
}

#[test]
fn text_embeddings_inference_is_known_by_its_info() {
    let fake = Fake::start(|_, request| match request.path.as_str() {
        "/info" => Reply::Json(json!({"model_id": "org/model", "model_sha": "abc", "max_input_length": 99})),
        "/embed" => Reply::Json(request.body["inputs"].as_array().unwrap().iter().map(vector).collect()),
        _ => Reply::Status(404, "", "nothing here"),
    });
    let remote = open_with(&fake.base, RemoteOptions::default()).unwrap();
    let card = remote.card();
    assert_eq!(
        (card.architecture.as_str(), card.revision.as_deref(), card.max_length),
        ("org/model", Some("abc"), Some(99))
    );
    assert_eq!(encode(&remote, &TEXTS).unwrap(), VECTORS);
}

#[test]
fn faults_that_pass_are_tried_again() {
    let fake = Fake::start(|number, request| match number {
        1 => Reply::Status(500, "", "out of memory"),
        2 => Reply::Truncated,
        3 => Reply::Json(json!({"data": [{"embedding": [1.0, 2.0, 3.0]}]})),
        4 => Reply::Silent(Duration::from_millis(600)),
        5 => Reply::Status(429, "retry-after: 1\r\n", "slow down"),
        _ => openai(request),
    });
    let options = RemoteOptions { batch: 8, timeout: 0.3, ..RemoteOptions::default() };
    let remote = open_with(&fake.openai(), options).unwrap();
    let start = Instant::now();
    assert_eq!(encode(&remote, &["a"]).unwrap(), [1.0, 1.0]);
    assert!(start.elapsed() >= Duration::from_secs(1), "the server asked for a second");
    assert_eq!(fake.requests().len(), 7);
}

#[test]
fn faults_that_last_end_the_run_with_the_servers_words() {
    let fake = Fake::start(|number, request| match number {
        0 => openai(request),
        _ => Reply::Status(503, "", "model is loading"),
    });
    let remote = open_with(&fake.openai(), RemoteOptions::default()).unwrap();
    let error = encode(&remote, &TEXTS).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let text = error.to_string();
    assert!(text.contains("/v1/embeddings: status 503: model is loading, after 6 tries"), "{text}");

    let fake = Fake::start(|number, request| match number {
        0 => openai(request),
        _ => Reply::Json(json!({"data": [{"embedding": [1.0]}, {"embedding": [1.0]}]})),
    });
    let remote = open_with(&fake.openai(), RemoteOptions::default()).unwrap();
    let text = encode(&remote, &["a"]).unwrap_err().to_string();
    assert!(text.contains("2 vectors for 1 texts"), "{text}");
    let text = encode(&remote, &["a", "b"]).unwrap_err().to_string();
    assert!(text.contains("a vector of 1 dimensions among vectors of 2"), "{text}");
}

#[test]
fn a_refusal_ends_the_run_at_once_and_no_key_is_shown() {
    let fake = Fake::start(|_, request| match request.authorization.as_deref() {
        Some("Bearer sesame") => openai(request),
        _ => Reply::Status(401, "", "who are you?"),
    });
    let error = open_with(&fake.openai(), RemoteOptions::default()).err().unwrap();
    assert!(error.to_string().contains("status 401: who are you?"), "{error}");
    assert!(error.help().unwrap().contains("HARDROCK_API_KEY"));
    assert_eq!(fake.requests().len(), 1);
    let client = Client::new(&RemoteOptions::default(), Some("sesame"), QUICK);
    let url = format!("{}/v1/embeddings", fake.base);
    let answer = client.ask(&url, Some(&json!({"input": ["a"]})), &AtomicBool::new(false), |_| Ok(()));
    assert!(answer.is_ok());

    let both = |name: &str| Some(format!("{name}'s"));
    assert_eq!(key("127.0.0.1", both).as_deref(), Some("HARDROCK_API_KEY's"));
    let openai = |name: &str| (name == "OPENAI_API_KEY").then(|| "theirs".to_owned());
    assert_eq!((key("api.openai.com", openai).as_deref(), key("elsewhere", openai)), (Some("theirs"), None));
}

#[test]
fn addresses_with_secrets_and_options_that_nobody_follows_are_refused() {
    for (spec, says) in [
        ("http://user:secret@host/v1#m", "a user, a password or a query"),
        ("http://host/v1?key=secret#m", "a user, a password or a query"),
        ("http://host/v1", "does not say which model"),
    ] {
        let error = open_with(spec, RemoteOptions::default()).err().unwrap();
        assert!(error.to_string().contains(says) && !error.to_string().contains("secret"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    let options = ModelOptions { max_length: Some(8), ..ModelOptions::default() };
    assert!(Remote::open("http://host", &options, QUICK).is_err());
    let options = ModelOptions { precision: Some(Precision::Int8), ..ModelOptions::default() };
    let error = Remote::open("http://host", &options, QUICK).err().unwrap();
    assert!(error.to_string().contains("--precision int8") && error.exit_code() == 2, "{error}");
    for options in [
        RemoteOptions { batch: 0, ..RemoteOptions::default() },
        RemoteOptions { concurrency: 0, ..RemoteOptions::default() },
        RemoteOptions { rate: Some(0.0), ..RemoteOptions::default() },
        RemoteOptions { timeout: f64::NAN, ..RemoteOptions::default() },
    ] {
        assert_eq!(open_with("http://host", options).err().unwrap().exit_code(), 2);
    }
}

#[test]
fn a_rate_holds_requests_back_and_a_stop_is_heard_within_a_second() {
    let fake = Fake::start(|number, request| match number {
        0..8 => openai(request),
        _ => Reply::Silent(Duration::from_secs(20)),
    });
    let options = RemoteOptions { batch: 1, rate: Some(20.0), ..RemoteOptions::default() };
    let remote = open_with(&fake.openai(), options).unwrap();
    let start = Instant::now();
    encode(&remote, &TEXTS).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(200), "five requests at twenty a second");
    encode(&remote, &TEXTS[..2]).unwrap();

    let cancel = Arc::new(AtomicBool::new(false));
    let flag = cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        flag.store(true, Ordering::Relaxed);
    });
    let start = Instant::now();
    let result = remote.encode(&["x"], &mut [0.0; 2], &cancel);
    assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(1));
}

mod reranking {
    use super::super::rerank::Remote;
    use super::*;
    use crate::models::Reranker;

    /// Scores are lengths of query and text; best first, as the server sorts them.
    fn rerank(request: &Request) -> Reply {
        let length = |text: &Value| text.as_str().unwrap().len() as f64;
        let query = length(&request.body["query"]);
        let texts = request.body["texts"].as_array().unwrap();
        let mut scores: Vec<(usize, f64)> =
            texts.iter().enumerate().map(|(i, t)| (i, query * 10.0 + length(t))).collect();
        scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        Reply::Json(scores.iter().map(|(i, s)| json!({"index": i, "score": s})).collect())
    }

    fn info() -> Reply {
        Reply::Json(json!({"model_id": "org/cross", "model_sha": "abc", "max_input_length": 77}))
    }

    fn open(spec: &str, remote: RemoteOptions) -> Result<Remote> {
        Remote::open(spec, &ModelOptions { remote, ..ModelOptions::default() }, QUICK)
    }

    const PAIRS: [(&str, &str); 5] = [("q", "a"), ("q", "ccc"), ("q", "bb"), ("qq", "a"), ("qq", "")];
    const SCORES: [f32; 5] = [11.0, 13.0, 12.0, 21.0, 20.0];

    #[test]
    fn a_request_holds_one_query_and_scores_come_back_in_the_pairs_order() {
        let fake = Fake::start(|_, r| if r.path == "/info" { info() } else { rerank(r) });
        let remote = open(&fake.base, RemoteOptions { batch: 2, ..RemoteOptions::default() }).unwrap();
        let card = remote.card();
        assert_eq!(
            (card.architecture.as_str(), card.revision.as_deref(), card.max_length),
            ("org/cross", Some("abc"), Some(77))
        );
        let mut out = [f32::NAN; 5];
        remote.score(&PAIRS, &mut out, &AtomicBool::new(false)).unwrap();
        assert_eq!(out, SCORES);
        let mut sizes: Vec<usize> =
            fake.requests()[2..].iter().map(|r| r.body["texts"].as_array().unwrap().len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 2, 2]);
        assert!(fake.requests()[1..].iter().all(|r| r.path == "/rerank" && r.body["truncate"] == true));
    }

    #[test]
    fn faults_are_tried_again_and_end_in_the_servers_words() {
        let fake = Fake::start(|number, r| match number {
            0 => info(),
            2 => Reply::Status(429, "", "slow down"),
            3 => Reply::Truncated,
            4 => Reply::Json(json!([{"index": 0, "score": 0.5}, {"index": 0, "score": 0.5}])),
            5 => Reply::Json(json!([{"index": 1, "score": 0.5}])),
            _ => rerank(r),
        });
        let remote = open(&fake.base, RemoteOptions::default()).unwrap();
        let mut out = [f32::NAN; 3];
        remote.score(&PAIRS[..3], &mut out, &AtomicBool::new(false)).unwrap();
        assert_eq!((out, fake.requests().len()), ([11.0, 13.0, 12.0], 7));

        let fake = Fake::start(|number, r| match number {
            0 => info(),
            1 => rerank(r),
            _ => Reply::Json(json!([{"index": 7, "score": 0.5}])),
        });
        let remote = open(&fake.base, RemoteOptions::default()).unwrap();
        let error = remote.score(&PAIRS[..1], &mut out[..1], &AtomicBool::new(false)).unwrap_err();
        assert!(
            error.to_string().contains("/rerank: index 7 out of range or given twice, after 6 tries"),
            "{error}"
        );

        let refused = open("http://user:secret@host", RemoteOptions::default()).err().unwrap();
        assert_eq!(refused.exit_code(), 2);
        let length = ModelOptions { max_length: Some(8), ..ModelOptions::default() };
        assert_eq!(Remote::open("http://host", &length, QUICK).err().unwrap().exit_code(), 2);
    }
}
