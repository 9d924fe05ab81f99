//! The short forms of the command line (`--filter known,kin:0.4`, `--select mix:bm25=2,random=1`) and what they mean.

use std::path::Path;

use hardrock_core::filters::{
    Against, Agree, Command, Family, Group, Kin, Known, Margin, Near, Score, Taxonomy, Text, Time, Window,
};
use hardrock_core::selectors::{Bands, Mix, Random, Share, Simans, Top, Weighted};
use hardrock_core::{FilterSpec, SelectorSpec};
use hardrock_engine::index::TokenOptions;

use super::spec::{
    Bm25Spec, DEFAULT_DEPTH, DenseSpec, FiltersSpec, Metric, MineSpec, PoolSpec, RunSpec, Shortfall,
    SourceSpec, SparseSpec, VectorsSpec,
};
use crate::presets::Overrides;
use crate::{Error, Result};

/// `name:argument` as its two parts.
fn parts(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((name, argument)) => (name.trim(), Some(argument.trim())),
        None => (text.trim(), None),
    }
}

fn unknown(what: &str, name: &str, names: &[&str]) -> Error {
    let near = names.iter().map(|n| (strsim::damerau_levenshtein(name, n), n)).min();
    let help = match near {
        Some((distance, near)) if distance <= 1 + near.len() / 3 => format!("did you mean `{near}`?"),
        _ => format!("one of {}", names.join(", ")),
    };
    Error::usage(format!("there is no {what} `{name}`"), help)
}

fn number<T: std::str::FromStr>(what: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::usage(format!("{what}: `{text}` is no number of the right kind"), ""))
}

/// An argument that must be there.
fn needed<'a>(what: &str, argument: Option<&'a str>, example: &str) -> Result<&'a str> {
    let given = argument.filter(|a| !a.is_empty());
    given.ok_or_else(|| Error::usage(format!("{what} needs an argument"), format!("e.g. {example}")))
}

/// A comma list whose last entry may itself hold commas (`command:`) when nothing else is to follow.
fn entries(list: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        if rest.trim_start().starts_with("command:") {
            out.push(rest.trim());
            break;
        }
        let (entry, tail) = rest.split_once(',').unwrap_or((rest, ""));
        if !entry.trim().is_empty() {
            out.push(entry.trim());
        }
        rest = tail;
    }
    out
}

/// One filter: `kin`, `kin:0.4`, `group:COLUMN` …
fn filter(entry: &str, filters: &mut FiltersSpec) -> Result<FilterSpec> {
    let (name, argument) = parts(entry);
    let threshold = |default: f32| argument.map_or(Ok(default), |a| number(name, a));
    Ok(match name {
        "known" => FilterSpec::Known(Known {}),
        "text" => FilterSpec::Text(Text {}),
        "near" => FilterSpec::Near(Near { threshold: threshold(Near::default().threshold)? }),
        "kin" => FilterSpec::Kin(Kin { threshold: threshold(Kin::default().threshold)? }),
        "family" => {
            filters.family_threshold = threshold(filters.family_threshold)?;
            FilterSpec::Family(Family {})
        }
        "group" => {
            let column = needed("group", argument, "group:author")?.to_owned();
            FilterSpec::Group(Group { column })
        }
        "time" => {
            let column = needed("time", argument, "time:published")?.to_owned();
            FilterSpec::Time(Time { column, ..Time::default() })
        }
        "taxonomy" => {
            let file = needed("taxonomy", argument, "taxonomy:parents.tsv")?.to_owned();
            FilterSpec::Taxonomy(Taxonomy { file, ..Taxonomy::default() })
        }
        "agree" => {
            let sources = argument.map_or(Ok(Agree::default().sources), |a| number(name, a))?;
            FilterSpec::Agree(Agree { sources })
        }
        "command" => {
            let program = needed("command", argument, "command:./judge.py")?.to_owned();
            FilterSpec::Command(Command { program })
        }
        "window" | "score" | "margin" => {
            return Err(Error::usage(
                format!("`{name}` is not set by --filter"),
                "use --range-min, --range-max, --max-score, --min-score, --absolute-margin, --relative-margin",
            ));
        }
        _ => {
            let names = [
                "known", "text", "near", "kin", "family", "group", "time", "taxonomy", "agree", "command",
                "none",
            ];
            return Err(unknown("filter", name, &names));
        }
    })
}

/// `--filter LIST`: replaces the named filters; rank, score and margin rules stay.
pub fn set_filters(filters: &mut FiltersSpec, list: &str) -> Result<()> {
    let mut chain = Vec::new();
    if list.trim() != "none" {
        for entry in entries(list) {
            chain.push(filter(entry, filters)?);
        }
    }
    let by_option = |f: &FilterSpec| matches!(f.name(), "window" | "score" | "margin");
    chain.extend(filters.chain.iter().filter(|f| by_option(f)).cloned());
    filters.chain = chain;
    Ok(())
}

/// The options about ranks, scores and margins, as typed.
#[derive(Debug, Clone, Default)]
pub struct Scores<'a> {
    /// `--range-min`
    pub range_min: Option<usize>,
    /// `--range-max`
    pub range_max: Option<usize>,
    /// `--max-score`
    pub max_score: Option<f32>,
    /// `--min-score`
    pub min_score: Option<f32>,
    /// `--absolute-margin`
    pub absolute_margin: Option<f32>,
    /// `--relative-margin`
    pub relative_margin: Option<f32>,
    /// `--margin-against`
    pub margin_against: Option<&'a str>,
}

/// Takes a filter out of the chain, or makes a fresh one.
macro_rules! take {
    ($chain:expr, $kind:ident) => {{
        let at = $chain.iter().position(|f| matches!(f, FilterSpec::$kind(_)));
        match at.map(|at| $chain.remove(at)) {
            Some(FilterSpec::$kind(filter)) => filter,
            _ => Default::default(),
        }
    }};
}

/// Sets what is given, beside what is there.
pub fn set_scores(filters: &mut FiltersSpec, s: &Scores<'_>) -> Result<()> {
    let chain = &mut filters.chain;
    if s.range_min.is_some() || s.range_max.is_some() {
        let rank = |name, value: usize| {
            u32::try_from(value).map_err(|_| Error::usage(format!("{name} {value} is too large"), ""))
        };
        let mut window: Window = take!(chain, Window);
        if let Some(min) = s.range_min {
            window.min = rank("--range-min", min)?;
        }
        if let Some(max) = s.range_max {
            window.max = Some(rank("--range-max", max)?);
        }
        if window.max.is_some_and(|max| max <= window.min) {
            return Err(Error::usage(
                format!(
                    "--range-max {} leaves no rank from --range-min {}",
                    window.max.unwrap_or_default(),
                    window.min
                ),
                "--range-max must be above --range-min",
            ));
        }
        chain.push(FilterSpec::Window(window));
    }
    if s.max_score.is_some() || s.min_score.is_some() {
        let mut score: Score = take!(chain, Score);
        score.max = s.max_score.or(score.max);
        score.min = s.min_score.or(score.min);
        chain.push(FilterSpec::Score(score));
    }
    if s.absolute_margin.is_some() || s.relative_margin.is_some() || s.margin_against.is_some() {
        let mut margin: Margin = take!(chain, Margin);
        margin.absolute = s.absolute_margin.or(margin.absolute);
        margin.relative = s.relative_margin.or(margin.relative);
        if let Some(which) = s.margin_against {
            margin.against = against(which)?;
        }
        if margin.absolute.is_none() && margin.relative.is_none() {
            return Err(Error::usage(
                "--margin-against says what to measure, but there is no margin",
                "add --relative-margin or --absolute-margin",
            ));
        }
        chain.push(FilterSpec::Margin(margin));
    }
    Ok(())
}

fn against(name: &str) -> Result<Against> {
    match name {
        "min" => Ok(Against::Min),
        "max" => Ok(Against::Max),
        "mean" => Ok(Against::Mean),
        _ => Err(unknown("reference for margins", name, &["min", "max", "mean"])),
    }
}

/// `--select RULE`.
pub fn selector(rule: &str) -> Result<SelectorSpec> {
    let (name, argument) = parts(rule);
    let none = |spec| match argument {
        None => Ok(spec),
        Some(a) => Err(Error::usage(format!("--select {name} takes no argument, got `{a}`"), "")),
    };
    Ok(match name {
        "top" => none(SelectorSpec::Top(Top {}))?,
        "random" => none(SelectorSpec::Random(Random {}))?,
        "weighted" => {
            let temperature =
                argument.map_or(Ok(Weighted::default().temperature), |a| number("weighted", a))?;
            SelectorSpec::Weighted(Weighted { temperature })
        }
        "bands" => {
            let bands = argument.map_or(Ok(Bands::default().bands), |a| number("bands", a))?;
            SelectorSpec::Bands(Bands { bands })
        }
        "simans" => {
            let mut simans = Simans::default();
            if let Some(argument) = argument {
                for setting in argument.split(',').map(str::trim) {
                    match setting.split_once('=') {
                        Some(("a", value)) => simans.a = number("simans", value)?,
                        Some(("b", value)) => simans.b = number("simans", value)?,
                        _ => {
                            return Err(Error::usage(
                                format!("--select simans: `{setting}` is neither a nor b"),
                                "e.g. simans:a=0.5,b=0",
                            ));
                        }
                    }
                }
            }
            SelectorSpec::Simans(simans)
        }
        "mix" => {
            let shares = needed("--select mix", argument, "mix:bm25=2,random=1")?;
            let share = |entry: &str| -> Result<Share> {
                let (source, count) = entry.split_once('=').ok_or_else(|| {
                    Error::usage(format!("--select mix: `{entry}` is no share"), "e.g. mix:bm25=2,random=1")
                })?;
                Ok(Share { source: source.trim().to_owned(), count: number("mix", count.trim())? })
            };
            SelectorSpec::Mix(Mix { shares: shares.split(',').map(share).collect::<Result<_>>()? })
        }
        _ => {
            let names = ["top", "random", "weighted", "bands", "mix", "simans"];
            return Err(unknown("selection rule", name, &names));
        }
    })
}

/// `--shortfall WHAT`.
pub fn shortfall(what: &str) -> Result<Shortfall> {
    match what {
        "fewer" => Ok(Shortfall::Fewer),
        "random" => Ok(Shortfall::Random),
        "drop" => Ok(Shortfall::Drop),
        _ => Err(unknown("shortfall", what, &["fewer", "random", "drop"])),
    }
}

/// One source without files: `bm25`, `given`, `random`, `run:FILE`.
pub fn pool(entry: &str, depth: usize) -> Result<PoolSpec> {
    let (name, argument) = parts(entry);
    let source = match name {
        "bm25" => SourceSpec::Bm25(Bm25Spec::default()),
        "given" => SourceSpec::Given {},
        "random" => SourceSpec::Random {},
        "run" => {
            let path = needed("run", argument, "run:bm25.trec")?.into();
            return Ok(PoolSpec {
                name: run_name(argument.unwrap_or_default()),
                depth,
                source: SourceSpec::Run(RunSpec { path }),
            });
        }
        _ => {
            return Err(unknown(
                "source",
                name,
                &["bm25", "dense", "sparse", "vectors", "run", "given", "random"],
            ));
        }
    };
    Ok(PoolSpec { name: name.to_owned(), depth, source })
}

/// A column name from a run's file name: `runs/BM25_top.trec.gz` is `bm25-top`.
fn run_name(path: &str) -> String {
    let stem = Path::new(path).file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let stem = stem.split('.').find(|s| !s.is_empty()).unwrap_or("run");
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    if name.is_empty() { "run".to_owned() } else { name }
}

/// The pool of given embeddings.
pub fn vectors_pool(corpus: &Path, queries: &Path) -> PoolSpec {
    PoolSpec {
        name: "vectors".to_owned(),
        depth: DEFAULT_DEPTH,
        source: SourceSpec::Vectors(VectorsSpec {
            corpus: corpus.to_owned(),
            queries: queries.to_owned(),
            metric: Metric::default(),
            approximate: None,
        }),
    }
}

/// What sources can be made of besides the texts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// Vectors of the corpus and of the queries.
    pub vectors: Option<(&'a Path, &'a Path)>,
    /// An encoder.
    pub model: Option<&'a DenseSpec>,
    /// A sparse encoder.
    pub sparse: Option<&'a SparseSpec>,
}

impl Given<'_> {
    /// The sources when none are named: the given vectors, a model beside BM25 (two views of the same texts), or BM25.
    pub fn default_sources(&self) -> String {
        let first = if self.vectors.is_some() { "vectors" } else { "bm25" };
        let models = [self.model.map(|_| "dense"), self.sparse.map(|_| "sparse")];
        std::iter::once(first).chain(models.into_iter().flatten()).collect::<Vec<_>>().join(",")
    }
}

/// `--source LIST`.
pub fn pools(list: &str, given: Given<'_>) -> Result<Vec<PoolSpec>> {
    let mut pools: Vec<PoolSpec> = Vec::new();
    for entry in list.split(',').map(str::trim).filter(|e| !e.is_empty()) {
        let mut pool = match entry {
            "vectors" => match given.vectors {
                Some((corpus, queries)) => vectors_pool(corpus, queries),
                None => {
                    return Err(Error::usage(
                        "--source vectors has no vectors",
                        "add --corpus-vectors FILE --query-vectors FILE",
                    ));
                }
            },
            "dense" => match given.model {
                Some(dense) => PoolSpec {
                    name: "dense".to_owned(),
                    depth: DEFAULT_DEPTH,
                    source: SourceSpec::Dense(dense.clone()),
                },
                None => {
                    return Err(Error::usage("--source dense has no model", "add --model FOLDER"));
                }
            },
            "sparse" => match given.sparse {
                Some(sparse) => PoolSpec {
                    name: "sparse".to_owned(),
                    depth: DEFAULT_DEPTH,
                    source: SourceSpec::Sparse(sparse.clone()),
                },
                None => {
                    return Err(Error::usage("--source sparse has no model", "add --sparse-model FOLDER"));
                }
            },
            _ => self::pool(entry, DEFAULT_DEPTH)?,
        };
        // Two run files of one name in different folders are still two sources.
        let base = pool.name.clone();
        let mut copy = 1;
        while entry.starts_with("run:") && pools.iter().any(|p| p.name == pool.name) {
            copy += 1;
            pool.name = format!("{base}-{copy}");
        }
        pools.push(pool);
    }
    if pools.is_empty() {
        return Err(Error::usage("--source names no source", "e.g. --source bm25"));
    }
    Ok(pools)
}

/// `--language`: stop words and stemming of one language, or none.
pub fn set_language(tokens: &mut TokenOptions, language: &str) {
    language.clone_into(&mut tokens.stop_words);
    language.clone_into(&mut tokens.stem);
}

/// A preset's settings.
pub fn apply(spec: &mut MineSpec, sets: &Overrides) -> Result<()> {
    if let Some(filters) = sets.filters {
        set_filters(&mut spec.filters, &filters.join(","))?;
    }
    set_scores(
        &mut spec.filters,
        &Scores {
            range_min: sets.range_min,
            range_max: sets.range_max,
            max_score: sets.max_score,
            min_score: sets.min_score,
            absolute_margin: sets.absolute_margin,
            relative_margin: sets.relative_margin,
            margin_against: sets.margin_against,
        },
    )?;
    spec.select.negatives = sets.num_negatives.unwrap_or(spec.select.negatives);
    if let Some(rule) = sets.select {
        spec.select.rule = selector(rule)?;
    }
    if let Some(what) = sets.shortfall {
        spec.select.shortfall = shortfall(what)?;
    }
    if let Some(depth) = sets.top_k {
        spec.pool.iter_mut().for_each(|p| p.depth = depth);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(list: &str) -> Vec<String> {
        let mut filters = FiltersSpec::default();
        set_filters(&mut filters, list).unwrap();
        filters.chain.iter().map(|f| serde_json::to_string(f).unwrap()).collect()
    }

    #[test]
    fn filters_take_their_argument_behind_a_colon() {
        assert_eq!(chain("known, kin:0.4"), [r#"{"known":{}}"#, r#"{"kin":{"threshold":0.4}}"#]);
        assert_eq!(chain("none"), Vec::<String>::new());
        assert_eq!(
            chain("agree:3,command:./judge.py --a 1,2"),
            [r#"{"agree":{"sources":3}}"#, r#"{"command":{"program":"./judge.py --a 1,2"}}"#],
            "a command may hold commas"
        );
    }

    #[test]
    fn rank_and_score_rules_survive_another_list_of_filters() {
        let mut filters = FiltersSpec::default();
        let typed = Scores { range_min: Some(3), relative_margin: Some(0.1), ..Scores::default() };
        set_scores(&mut filters, &typed).unwrap();
        set_filters(&mut filters, "known").unwrap();
        let names: Vec<_> = filters.chain.iter().map(FilterSpec::name).collect();
        assert_eq!(names, ["known", "window", "margin"]);
        set_scores(&mut filters, &Scores { range_max: Some(9), ..Scores::default() }).unwrap();
        let windows: Vec<_> = filters.chain.iter().filter(|f| f.name() == "window").collect();
        assert_eq!(serde_json::to_string(&windows).unwrap(), r#"[{"window":{"min":3,"max":9}}]"#);
    }

    #[test]
    fn mistakes_name_the_nearest_word_or_an_example() {
        let help = |e: Error| e.help().unwrap_or_default();
        assert_eq!(help(selector("wieghted:2").unwrap_err()), "did you mean `weighted`?");
        assert_eq!(help(pools("bm52", Given::default()).unwrap_err()), "did you mean `bm25`?");
        assert!(help(selector("mix:bm25").unwrap_err()).contains("mix:bm25=2"));
        assert!(help(pools("vectors", Given::default()).unwrap_err()).contains("--corpus-vectors"));
        assert!(selector("top:3").is_err() && selector("weighted:x").is_err());
    }

    #[test]
    fn run_files_of_one_name_are_two_sources() {
        let pools = pools("run:a/BM25_top.trec.gz,run:b/bm25-top.run", Given::default()).unwrap();
        let names: Vec<_> = pools.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["bm25-top", "bm25-top-2"]);
    }

    #[test]
    fn every_preset_can_be_applied() {
        for preset in crate::presets::PRESETS {
            let mut spec =
                MineSpec { pool: vec![pool("bm25", DEFAULT_DEPTH).unwrap()], ..MineSpec::default() };
            apply(&mut spec, &preset.sets).unwrap();
            super::super::Plan::new(spec).unwrap();
        }
    }
}
