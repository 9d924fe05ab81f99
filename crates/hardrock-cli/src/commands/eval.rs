//! `hardrock eval`: a run's scores as a table that says by which conventions they came about.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use hardrock::eval::{Comparison, EvalOptions, Evaluation, compare, evaluate, write_per_query};
use hardrock::read::trec::{QrelsFormat, RunFormat, read_qrels_and_format, read_run_and_format};
use hardrock::{Error, Result};
use hardrock_core::metrics::{Kind, Metric, Missing, Profile, ScoreType, SelfHits, Ties, UnknownName};
use serde::Serialize;

use crate::args::Globals;
use crate::render::count;

/// Scores a run against relevance judgements, with trec_eval's metrics and conventions.
///
/// Reads TREC, BEIR and MS MARCO qrels and TREC, Tevatron and MS MARCO runs, packed or not, told apart by content.
///
/// Examples:
///   hardrock eval --qrels qrels/test.tsv --run bm25.run
///   hardrock eval --qrels qrels/test.tsv --run new.run --vs old.run -m ndcg@10,recall@100
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct EvalArgs {
    /// Relevance judgements
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,
    /// The run to score
    #[arg(long, value_name = "FILE")]
    run: PathBuf,
    /// Comma list of ndcg, ndcg_exp, map, mrr (@k optional), recall, p, hit, recall_cap, judged, hole (@k), rprec,
    /// bpref, num_rel, num_ret, num_rel_ret; trec_eval's names work too
    #[arg(
        long = "metric",
        short,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "ndcg@10,recall@100,mrr@10,map"
    )]
    metrics: Vec<String>,
    /// A run to compare with: paired randomisation test and bootstrap interval; may be given several times
    #[arg(long, value_name = "FILE")]
    vs: Vec<PathBuf>,
    /// Write the values of each query to this file (tab-separated)
    #[arg(long, value_name = "FILE")]
    per_query: Option<PathBuf>,
    /// Replace the --per-query file if it exists
    #[arg(long, requires = "per_query")]
    force: bool,

    /// Whose conventions
    #[arg(long, default_value = "trec", value_parser = choice::<Profile>(Profile::ALL, Profile::name), help_heading = "Conventions")]
    profile: Profile,
    /// Order of documents with equal scores [default: the profile's]
    #[arg(long, value_parser = choice::<Ties>(Ties::ALL, Ties::name), help_heading = "Conventions")]
    ties: Option<Ties>,
    /// Number type in which scores are compared [default: the profile's]
    #[arg(long, value_parser = choice::<ScoreType>(ScoreType::ALL, ScoreType::name), help_heading = "Conventions")]
    score_type: Option<ScoreType>,
    /// Documents whose id is the query's [default: the profile's; drop in beir, else keep]
    #[arg(long, value_parser = choice::<SelfHits>(SelfHits::ALL, SelfHits::name), help_heading = "Conventions")]
    self_hits: Option<SelfHits>,
    /// Judged queries that the run misses: count 0 or leave out [default: the profile's; zero in trec]
    #[arg(long, value_parser = choice::<Missing>(Missing::ALL, Missing::name), help_heading = "Conventions")]
    missing: Option<Missing>,
    /// Lowest relevant grade
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Conventions")]
    level: i32,
}

/// A choice by name; clap lists the names and suggests the nearest.
fn choice<T>(all: &'static [T], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = UnknownName> + Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|&value| name(value))).try_map(|text| text.parse::<T>())
}

/// A run and what came of it.
#[derive(Serialize)]
struct Scored {
    file: PathBuf,
    format: RunFormat,
    rows: usize,
    #[serde(flatten)]
    evaluation: Evaluation,
}

/// Everything that the command has to say.
#[derive(Serialize)]
struct Answer {
    qrels: PathBuf,
    qrels_format: QrelsFormat,
    judgements: usize,
    run: Scored,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    baselines: Vec<Scored>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    comparisons: Vec<Comparison>,
}

/// Runs the command; the result goes to stdout.
pub(crate) fn run(args: EvalArgs, globals: &Globals) -> Result<u8> {
    let answer = super::with_threads(globals, || answer(&args, globals.seed))?;
    if let Some(path) = &args.per_query {
        let names: Vec<String> = answer.baselines.iter().map(|b| name(&b.file)).collect();
        let baselines: Vec<(&str, &Evaluation)> =
            names.iter().zip(&answer.baselines).map(|(name, b)| (&**name, &b.evaluation)).collect();
        write_per_query(path, &answer.run.evaluation, &baselines, args.force)?;
    }
    super::print(&if globals.json { super::answer("eval", &answer)? } else { text(&answer) });
    Ok(0)
}

fn answer(args: &EvalArgs, seed: u64) -> Result<Answer> {
    let options = EvalOptions {
        metrics: metrics(&args.metrics)?,
        profile: args.profile,
        ties: args.ties,
        score_type: args.score_type,
        self_hits: args.self_hits,
        missing: args.missing,
        level: args.level,
    };
    if let Some(path) = args.per_query.as_ref().filter(|path| !args.force && path.exists()) {
        return Err(Error::Exists { path: path.clone() });
    }
    let (qrels, qrels_format) = read_qrels_and_format(&args.qrels)?;
    let scored = |file: &PathBuf| -> Result<Scored> {
        let (run, format) = read_run_and_format(file)?;
        let evaluation = evaluate(&qrels, &run, &options)?;
        Ok(Scored { file: file.clone(), format, rows: run.rows(), evaluation })
    };
    let run = scored(&args.run)?;
    let baselines = args.vs.iter().map(scored).collect::<Result<Vec<_>>>()?;
    let others: Vec<&Evaluation> = baselines.iter().map(|b| &b.evaluation).collect();
    let comparisons = compare(&run.evaluation, &others, seed)?;
    Ok(Answer {
        qrels: args.qrels.clone(),
        qrels_format,
        judgements: qrels.rows(),
        run,
        baselines,
        comparisons,
    })
}

/// The metrics by name, each once. Beside every ndcg@k stands judged@k: mined negatives move documents without a
/// judgement up, and the one cannot be read without the other.
fn metrics(names: &[String]) -> Result<Vec<Metric>> {
    let mut metrics: Vec<Metric> = Vec::new();
    let add = |metrics: &mut Vec<Metric>, metric| {
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    };
    for name in names.iter().filter(|name| !name.trim().is_empty()) {
        add(
            &mut metrics,
            name.parse()
                .map_err(|e: hardrock_core::metrics::MetricError| Error::usage(e.to_string(), e.help()))?,
        );
    }
    let cuts: Vec<usize> =
        metrics.iter().filter(|m| m.kind() == Kind::Ndcg).filter_map(|m| m.cut()).collect();
    for cut in cuts {
        if let Ok(judged) = format!("judged@{cut}").parse() {
            add(&mut metrics, judged);
        }
    }
    Ok(metrics)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The answer for people.
fn text(answer: &Answer) -> String {
    let mut out = format!(
        "{} against {} ({} judgements)\n\n",
        described(&answer.run),
        name(&answer.qrels),
        count(answer.judgements as u64)
    );
    conventions(&mut out, &answer.run.evaluation);
    facts(&mut out, &answer.run.evaluation);
    out.push('\n');
    out.push_str(&scores(&answer.run.evaluation));
    for (place, baseline) in answer.baselines.iter().enumerate() {
        out.push_str(&format!("\nagainst {}\n", described(baseline)));
        facts(&mut out, &baseline.evaluation);
        for score in baseline.evaluation.scores.iter().filter(|s| s.metric.kind() == Kind::Judged) {
            head(&mut out, &score.metric.to_string(), &format!("{:.4}", score.value));
        }
        out.push('\n');
        out.push_str(&differences(answer.comparisons.iter().filter(|c| c.baseline == place)));
    }
    if let Some(note) = note(&answer.comparisons) {
        out.push_str(&note);
    }
    out
}

fn described(run: &Scored) -> String {
    let format = match run.format {
        RunFormat::Trec => "",
        RunFormat::Scores => ", three columns with scores",
        RunFormat::Ranks => ", three columns with ranks",
    };
    format!("{} ({} rows{format})", name(&run.file), count(run.rows as u64))
}

/// A line of the head.
fn head(out: &mut String, title: &str, text: &str) {
    out.push_str(&format!("{title:<10} {text}\n"));
}

fn conventions(out: &mut String, evaluation: &Evaluation) {
    // A profile may treat metrics differently; each way is named with the metrics it holds for.
    let mut ways: Vec<(String, Vec<String>)> = Vec::new();
    for score in &evaluation.scores {
        let missing = if score.rules.missing == Missing::Zero { "count 0" } else { "left out" };
        let way = format!(
            "ties {}, scores {}, missing queries {missing}",
            score.rules.ties, score.rules.score_type
        );
        match ways.iter_mut().find(|(known, _)| *known == way) {
            Some((_, metrics)) => metrics.push(score.metric.to_string()),
            None => ways.push((way, vec![score.metric.to_string()])),
        }
    }
    let level = format!("{}; relevant from grade {}", evaluation.profile, evaluation.level);
    head(out, "profile", &level);
    let several = ways.len() > 1;
    for (way, metrics) in ways {
        head(out, "", &if several { format!("{}: {way}", metrics.join(", ")) } else { way });
    }
}

fn facts(out: &mut String, evaluation: &Evaluation) {
    let counts = &evaluation.counts;
    let mut queries = format!(
        "{} judged, {} in the run, {} in both",
        count(counts.judged as u64),
        count(counts.run as u64),
        count(counts.both as u64)
    );
    for (n, what) in [
        (counts.missing, "missing in the run"),
        (counts.not_judged, "without judgements"),
        (counts.without_relevant, "without a relevant document"),
    ] {
        if n > 0 {
            queries.push_str(&format!(", {} {what}", count(n as u64)));
        }
    }
    head(out, "queries", &queries);
    let done = if evaluation.self_hits == SelfHits::Drop { "dropped" } else { "kept" };
    head(
        out,
        "self-hits",
        &match counts.self_hits {
            0 => "none".to_owned(),
            n => format!("{} {done}", count(n as u64)),
        },
    );
    let cuts: Vec<String> = evaluation
        .scores
        .iter()
        .filter_map(|s| s.tied_at_cut.filter(|n| *n > 0).map(|n| format!("{} {}", s.metric, count(n as u64))))
        .collect();
    let mut ties = match counts.ties_matter {
        0 => "none between documents of different grade".to_owned(),
        1 => "in 1 query between documents of different grade: --ties worst shows what is sure".to_owned(),
        n => format!(
            "in {} queries between documents of different grade: --ties worst shows what is sure",
            count(n as u64)
        ),
    };
    if !cuts.is_empty() {
        ties.push_str(&format!("\n{:<10} across the cut, in queries: {}", "", cuts.join(", ")));
    }
    head(out, "ties", &ties);
}

fn scores(evaluation: &Evaluation) -> String {
    let rows = evaluation.scores.iter().map(|score| {
        let shown =
            |value: f64| if score.metric.is_count() { format!("{value}") } else { format!("{value:.4}") };
        let other = score.other_missing.filter(|other| *other != score.value).map(|other| {
            let how = if score.rules.missing == Missing::Zero { "without" } else { "counting 0 for" };
            format!("{} {how} the missing", shown(other))
        });
        vec![
            score.metric.to_string(),
            shown(score.value),
            count(score.queries as u64),
            other.unwrap_or_default(),
        ]
    });
    table(&["metric", "value", "queries", ""], rows.collect())
}

fn differences<'a>(comparisons: impl Iterator<Item = &'a Comparison>) -> String {
    let row = |c: &Comparison| {
        vec![
            c.metric.to_string(),
            format!("{:.4}", c.run_mean),
            format!("{:.4}", c.baseline_mean),
            format!("{:+.4}", c.difference),
            format!("{:+.4} to {:+.4}", c.interval.0, c.interval.1),
            format!("{:.4}", c.p),
            format!("{:.4}", c.p_holm),
            count(c.better as u64),
            count(c.equal as u64),
            count(c.worse as u64),
        ]
    };
    let titles = [
        "metric",
        "run",
        "baseline",
        "difference",
        "95 % interval",
        "p",
        "p (Holm)",
        "better",
        "equal",
        "worse",
    ];
    table(&titles, comparisons.map(row).collect())
}

/// What the columns of a comparison are.
fn note(comparisons: &[Comparison]) -> Option<String> {
    let comparison = comparisons.first()?;
    Some(format!(
        "\ndifference = run - baseline over {} queries; BCa bootstrap interval and sign-flip randomisation test, {} \
         draws each;\np (Holm) is corrected for the {} comparisons above\n",
        count(comparison.queries as u64),
        count(u64::from(hardrock::eval::ROUNDS)),
        comparisons.len()
    ))
}

/// Columns as wide as their widest cell; the first and an untitled last one to the left, numbers to the right.
fn table(titles: &[&str], rows: Vec<Vec<String>>) -> String {
    let titles: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&titles).chain(&rows).collect();
    let widths: Vec<usize> = (0..titles.len())
        .map(|column| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut out = String::new();
    for row in all {
        let cells =
            row.iter().zip(&widths).zip(&titles).enumerate().map(|(column, ((cell, &width), title))| {
                if column == 0 || title.is_empty() {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: EvalArgs,
    }

    fn args(line: &str) -> std::result::Result<EvalArgs, String> {
        let words = std::iter::once("eval").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args).map_err(|e| e.to_string())
    }

    /// A folder with judgements and two runs: 40 queries, ties, a missing query, a self-hit, an unknown query.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        let mut qrels = String::from("query-id\tcorpus-id\tscore\n");
        let (mut good, mut bad) = (String::new(), String::new());
        for q in 0..40 {
            qrels.push_str(&format!("q{q}\ta{q}\t{}\nq{q}\tb{q}\t1\nq{q}\tz{q}\t0\n", 1 + q % 2));
            if q > 0 {
                good.push_str(&format!("q{q} Q0 a{q} 1 2.5 good\nq{q} Q0 z{q} 2 {} good\n", 1 + q % 3));
                good.push_str(&format!("q{q} Q0 b{q} 3 {} good\n", 1 + q % 2));
            }
            bad.push_str(&format!("q{q}\tz{q}\t3\nq{q}\tx{q}\t{}\nq{q}\ta{q}\t1\n", q % 4));
        }
        good.push_str("q1 Q0 q1 4 9 good\nq99 Q0 a1 1 1 good\n");
        write("qrels.tsv", qrels);
        write("good.run", good);
        write("bad.tsv", bad);
        folder
    }

    fn output(line: &str, folder: &tempfile::TempDir) -> Result<Answer> {
        let mut args = args(&format!("--qrels qrels.tsv --run good.run {line}")).unwrap();
        let place = |path: &mut PathBuf| *path = folder.path().join(&path);
        place(&mut args.qrels);
        place(&mut args.run);
        args.vs.iter_mut().for_each(place);
        args.per_query.iter_mut().for_each(place);
        answer(&args, 0)
    }

    #[test]
    fn one_run() {
        insta::assert_snapshot!(text(&output("", &folder()).unwrap()));
    }

    #[test]
    fn one_run_as_beir_sees_it() {
        insta::assert_snapshot!(text(
            &output("--profile beir -m ndcg@10,mrr@10,num_ret", &folder()).unwrap()
        ));
    }

    #[test]
    fn a_comparison_of_two_runs() {
        insta::assert_snapshot!(text(&output("--vs bad.tsv --missing skip", &folder()).unwrap()));
    }

    #[test]
    fn several_baselines_share_one_correction() {
        let answer = output("-m mrr,map --vs bad.tsv --vs good.run", &folder()).unwrap();
        let p: Vec<(f64, f64)> = answer.comparisons.iter().map(|c| (c.p, c.p_holm)).collect();
        assert_eq!(p.len(), 4);
        assert_eq!(p[0].1, (p[0].0 * 4.0).min(1.0), "the smallest p of four is multiplied by four");
        assert_eq!((p[2], p[3]), ((1.0, 1.0), (1.0, 1.0)), "a run against itself");
    }

    #[test]
    fn json_is_one_object_with_rules_and_counts() {
        let value = serde_json::to_value(output("--vs bad.tsv -m ndcg_cut_10", &folder()).unwrap()).unwrap();
        assert_eq!(value["run"]["scores"][0]["metric"], "ndcg@10");
        assert_eq!(value["run"]["scores"][0]["rules"]["ties"], "docid-desc");
        assert_eq!(value["run"]["scores"][1]["metric"], "judged@10");
        assert_eq!(value["run"]["counts"]["missing"], 1);
        assert_eq!(value["qrels_format"], "beir");
        assert_eq!(value["baselines"][0]["format"], "scores");
        assert_eq!(value["comparisons"][0]["queries"], 40);
    }

    #[test]
    fn an_existing_per_query_file_is_refused_before_any_work() {
        let folder = folder();
        std::fs::write(folder.path().join("v.tsv"), "precious").unwrap();

        let error = output("--per-query v.tsv", &folder).err().map(|e| e.to_string());
        assert!(error.unwrap().ends_with("v.tsv already exists"));
    }

    #[test]
    fn wrong_names_suggest_the_nearest() {
        let error = output("-m ndgc@10", &folder()).err().unwrap();
        assert_eq!(error.to_string(), "no metric is called `ndgc@10`");
        assert!(error.help().unwrap().starts_with("did you mean `ndcg@10`?"));
        let error = args("--qrels q --run r --profile bier").unwrap_err();
        assert!(error.contains("a similar value exists: 'beir'"), "{error}");
        let error = args("--qrels q --run r --ties docid-dsc").unwrap_err();
        assert!(error.contains("a similar value exists: 'docid-desc'"), "{error}");
    }

    #[test]
    fn judged_stands_beside_every_ndcg_once() {
        let names = |list: &str| -> Vec<String> {
            let names: Vec<String> = list.split(',').map(str::to_owned).collect();
            metrics(&names).unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            names("ndcg@10,map,ndcg_cut_10,ndcg@5"),
            ["ndcg@10", "map", "ndcg@5", "judged@10", "judged@5"]
        );
        assert_eq!(names("judged@10,ndcg@10"), ["judged@10", "ndcg@10"]);
    }
}
