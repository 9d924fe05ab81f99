//! `hardrock judge`: verdicts on the candidates of a run, by a person or by something else.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use hardrock::verdicts::judges::{FileJudge, Judge, Llm, LlmOptions, Program};
use hardrock::verdicts::queue::{Case, Queue, Run};
use hardrock::verdicts::{self, Agreement, Answer, Record, Store, files};
use hardrock::{Error, Result};

use super::{answer, print};
use crate::args::Globals;

/// Judge candidates of a run: is this "negative" in truth a positive?
///
/// In the terminal one key answers each: y relevant, n not, u unsure, b back (undo), q quit. Everything is stored at once
/// beside the run; the same command goes on where it stopped.
///
/// Examples:
///   hardrock judge train.jsonl -n 100
///   hardrock judge train.jsonl --max-false-negatives 0.02 --by llm:http://localhost:8000/v1 --model my-model
///   hardrock judge train.jsonl --export verdicts.jsonl
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct JudgeArgs {
    /// The mined file
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Pairs to judge now
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    count: usize,
    /// bound: random slots, which prove a promise; model: uncertain pairs, which teach p_fn [default: bound]
    #[arg(long, value_name = "NAME", value_parser = parse_queue)]
    queue: Option<Queue>,
    /// The share that the slots are to prove; fixed with the first verdict
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    max_false_negatives: f64,
    /// Who judges: person, qrels:FILE, command:PROGRAM, llm:URL [default: person]
    #[arg(long, value_name = "JUDGE")]
    by: Option<String>,
    /// Name of the person in the store [default: the user's name]
    #[arg(long, value_name = "NAME")]
    judge: Option<String>,
    /// Folder with corpus.jsonl and queries.jsonl to take texts from [default: the inputs that the manifest names]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The store [default: RUN.verdicts.sqlite]
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,

    /// Model of llm:URL
    #[arg(long, value_name = "NAME", default_value = "default", help_heading = "Language models")]
    model: String,
    /// File with the question, holding {query}, {positive} and {document}
    #[arg(long, value_name = "FILE", help_heading = "Language models")]
    template: Option<PathBuf>,
    /// Requests per minute, at most [default: any number]
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Language models")]
    per_minute: u32,
    /// Say how many requests and tokens it would take, then stop
    #[arg(long, help_heading = "Language models")]
    dry_run: bool,

    /// Add the verdicts of a file: JSON lines, qrels, Argilla records
    #[arg(long, value_name = "FILE", help_heading = "Files", conflicts_with_all = ["export", "promote"])]
    import: Option<PathBuf>,
    /// Write the last verdict on each pair: .jsonl, .qrels, .argilla.jsonl
    #[arg(long, value_name = "FILE", help_heading = "Files", conflicts_with = "promote")]
    export: Option<PathBuf>,
    /// Write what was found relevant as new positives (BEIR qrels) with their provenance beside it
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    promote: Option<PathBuf>,
}

fn parse_queue(text: &str) -> std::result::Result<Queue, String> {
    match text {
        "bound" => Ok(Queue::Bound),
        "model" => Ok(Queue::Model),
        _ => Err("one of bound, model".into()),
    }
}

/// Runs the command.
pub(crate) fn run(args: &JudgeArgs, globals: &Globals) -> Result<u8> {
    let path = args.verdicts.clone().unwrap_or_else(|| verdicts::beside(&args.run));
    if !verdicts::is_store(&path) {
        return Err(Error::usage(
            format!("{} is no name of a store", path.display()),
            "a store ends in .sqlite; text files go in and out by --import and --export",
        ));
    }
    let run = Run::open(&args.run)?;
    let mut store = Store::open(&path)?;
    if let Some(file) = &args.import {
        let records = files::read(file)?;
        records.iter().try_for_each(|r| store.add(r))?;
        return told(
            globals,
            &format!("{} verdicts added to {}", records.len(), path.display()),
            records.len(),
        );
    }
    if let Some(file) = &args.export {
        let records = store.latest()?;
        let pairs: Vec<_> = records.iter().map(pair_of).collect();
        let format = files::Format::of(file);
        let cases = match format {
            files::Format::Argilla => run.cases(&pairs, args.data.as_deref())?,
            _ => Vec::new(),
        };
        files::write(file, format, &records, &Shown(&cases))?;
        return told(
            globals,
            &format!("{} verdicts written to {}", records.len(), file.display()),
            records.len(),
        );
    }
    if let Some(file) = &args.promote {
        let n = files::promote(file, &store.latest()?)?;
        return told(
            globals,
            &format!("{n} confirmed false negatives written to {} as positives", file.display()),
            n,
        );
    }
    let pairs = match args.queue.unwrap_or(Queue::Bound) {
        Queue::Bound => run.bound(&mut store, args.max_false_negatives, globals.seed, args.count)?,
        Queue::Model => run.uncertain(&store, args.count)?,
    };
    let cases = run.cases(&pairs, args.data.as_deref())?;
    let done = match args.by.as_deref().map(|by| by.split_once(':').unwrap_or((by, ""))) {
        None | Some(("person", _)) => by_person(args, &store, &cases)?,
        Some(("qrels", file)) => by(&mut FileJudge::open(Path::new(file))?, &store, &cases)?,
        Some(("command", program)) => by(&mut Program::start(program)?, &store, &cases)?,
        Some(("llm", url)) => {
            let options = LlmOptions {
                url: url.to_owned(),
                model: args.model.clone(),
                template: args.template.clone(),
                key: std::env::var("HARDROCK_LLM_KEY").ok(),
                per_minute: args.per_minute,
                ..LlmOptions::default()
            };
            let mut llm = Llm::new(options, &store)?;
            let e = llm.estimate(&cases)?;
            let said = format!(
                "{} questions, {} of them answered before: {} requests with about {} tokens",
                e.questions, e.kept, e.requests, e.tokens
            );
            if args.dry_run {
                return told(globals, &said, e.requests);
            }
            if !globals.quiet && !globals.json {
                say(&said);
            }
            by(&mut llm, &store, &cases)?
        }
        Some((other, _)) => {
            return Err(Error::usage(
                format!("there is no judge `{other}`"),
                "one of person, qrels:FILE, command:PROGRAM, llm:URL",
            ));
        }
    };
    let relevant = done.iter().filter(|r| r.answer == Answer::Relevant).count();
    let agreement = Agreement::of(&store.all()?);
    let noise = match agreement.error() {
        Some(error) => format!(
            "; on {} doubly judged pairs a verdict is wrong {:.1} % of the time: no share below that can be proved",
            agreement.pairs,
            error * 100.0
        ),
        None => String::new(),
    };
    let next = match args.queue.unwrap_or(Queue::Bound) {
        Queue::Bound => format!(
            "mine again with --max-false-negatives {} --verdicts {}",
            args.max_false_negatives,
            path.display()
        ),
        Queue::Model => format!("mine again with --verdicts {}", path.display()),
    };
    told(globals, &format!("{} verdicts, {relevant} relevant{noise}; {next}", done.len()), done.len())
}

fn pair_of(r: &Record) -> verdicts::queue::Pair {
    verdicts::queue::Pair { query_id: r.query_id.clone(), doc_id: r.doc_id.clone() }
}

/// The result on stdout.
fn told(globals: &Globals, text: &str, n: usize) -> Result<u8> {
    if globals.json {
        print(&answer("judge", &serde_json::json!({"count": n, "message": text}))?);
    } else if !globals.quiet {
        print(text);
    }
    Ok(0)
}

#[expect(clippy::print_stderr, reason = "what is asked and what it costs belongs on stderr")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Texts of the cases, for records that show them.
struct Shown<'a>(&'a [Case]);

impl files::Texts for Shown<'_> {
    fn query(&self, id: &str) -> Option<&str> {
        self.0.iter().find(|c| c.pair.query_id == id).map(|c| c.query.as_str())
    }

    fn document(&self, id: &str) -> Option<&str> {
        self.0.iter().find(|c| c.pair.doc_id == id).map(|c| c.document.as_str())
    }
}

fn record(case: &Case, answer: Answer, judge: &str, note: Option<String>) -> Record {
    Record {
        query_id: case.pair.query_id.clone(),
        doc_id: case.pair.doc_id.clone(),
        answer,
        judge: judge.to_owned(),
        at: verdicts::now(),
        drawn: None,
        note,
    }
}

/// Asks a judge about every case; each answer is stored before the next question.
fn by(judge: &mut dyn Judge, store: &Store, cases: &[Case]) -> Result<Vec<Record>> {
    let mut done = Vec::new();
    for case in cases {
        let (answer, note) = judge.answer(case)?;
        let record = record(case, answer, &judge.name(), note);
        store.add(&record)?;
        done.push(record);
    }
    Ok(done)
}

/// Asks a person, one key each. Keys come from the terminal, or from a pipe.
fn by_person(args: &JudgeArgs, store: &Store, cases: &[Case]) -> Result<Vec<Record>> {
    let name = args.judge.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "person".into());
    let _raw = Keys::open();
    let mut keys = std::io::stdin().lock().bytes();
    let mut done: Vec<Record> = Vec::new();
    while let Some(case) = cases.get(done.len()) {
        say(&shown(case, done.len() + 1, cases.len()));
        let answer = loop {
            match keys.next() {
                Some(Ok(b'y')) => break Some(Answer::Relevant),
                Some(Ok(b'n')) => break Some(Answer::Not),
                Some(Ok(b'u')) => break Some(Answer::Unsure),
                Some(Ok(b'b')) => break None,
                Some(Ok(b'q')) | None => return Ok(done),
                Some(Err(e)) => return Err(Error::io("read", Path::new("standard input"))(e)),
                // Line ends, and keys that mean nothing.
                Some(Ok(_)) => {}
            }
        };
        match answer {
            Some(answer) => {
                let record = record(case, answer, &name, None);
                store.add(&record)?;
                done.push(record);
            }
            // Only what was judged in this sitting is taken back.
            None if done.pop().is_some() => {
                store.undo(&name)?;
            }
            None => {}
        }
    }
    Ok(done)
}

/// One case, as a person sees it.
fn shown(case: &Case, place: usize, of: usize) -> String {
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = |text: &str| {
        let text = line(text);
        if text.chars().count() > 900 { text.chars().take(900).collect::<String>() + " …" } else { text }
    };
    let p = case.p_fn.map_or(String::new(), |p| format!("   p_fn {p:.3}"));
    let positives: Vec<String> =
        case.positives.iter().take(3).map(|p| format!("  positive   {}", cut(p))).collect();
    format!(
        "\n[{place}/{of}]{p}\n  anchor     {}\n{}\n  candidate  {}\nrelevant? y yes, n no, u unsure, b back, q quit",
        cut(&case.query),
        positives.join("\n"),
        cut(&case.document)
    )
}

/// The terminal without line buffering, for as long as this lives. Elsewhere nothing changes.
struct Keys(bool);

impl Keys {
    fn open() -> Self {
        Self(std::io::stdin().is_terminal() && stty(&["-icanon", "-echo"]))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if self.0 {
            stty(&["icanon", "echo"]);
        }
    }
}

/// Asks the system's own tool, which needs no unsafe code of ours; where there is none, Enter follows each key.
fn stty(arguments: &[&str]) -> bool {
    let command =
        std::process::Command::new("stty").args(arguments).stdin(std::process::Stdio::inherit()).status();
    command.is_ok_and(|s| s.success())
}
