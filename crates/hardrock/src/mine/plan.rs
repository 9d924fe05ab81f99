//! What a specification means: checked components in their order, and the one judging score.

use hardrock_core::filters::{Group, Taxonomy, Time};
use hardrock_core::{Filter, FilterSpec, Selector, SelectorSpec};

use super::judge::{RRF, ScoreBy};
use super::opinions::NAMES;
use super::spec::{FamilyBy, GraphSpec, KinBy, Metric, MineSpec, PFnModel, PoolSpec, SourceSpec};
use crate::rows::RowFormat;
use crate::{Error, Result};

/// A checked job. Making one reads no data.
#[derive(Debug)]
pub struct Plan {
    /// The specification with everything resolved: what the manifest records.
    pub spec: MineSpec,
    /// The judging score.
    pub score_by: ScoreBy,
    /// The output's format.
    pub format: RowFormat,
    /// Anchors without positives are taken as well: a search needs no labels.
    pub all_anchors: bool,
    /// One positive of each anchor with several is hidden, to see what would become of it.
    pub hide: bool,
}

/// Lower-case letters, digits and `-`: what can stand in a column name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

impl Plan {
    /// Checks everything that can be checked without reading the data.
    pub fn new(mut spec: MineSpec) -> Result<Self> {
        if spec.pool.is_empty() {
            spec.pool.push(super::flags::pool("bm25", super::spec::DEFAULT_DEPTH)?);
        }
        let ids_only = spec.data.ids_only();
        if ids_only {
            without_texts(&mut spec)?;
        }
        add_random_pool(&mut spec)?;
        check_pools(&spec.pool)?;
        if spec.select.negatives == 0 {
            return Err(Error::usage("--num-negatives is 0", "ask for at least 1 negative per anchor"));
        }
        // The order is fixed (identity, likeness, side knowledge, scores, outside), whatever order they were named in.
        spec.filters.chain.sort_by_key(FilterSpec::place);
        for pair in spec.filters.chain.windows(2) {
            if let [a, b] = pair
                && a.name() == b.name()
            {
                return Err(Error::usage(format!("filter `{}` is given twice", a.name()), "give it once"));
            }
        }
        p_fn(&mut spec, ids_only)?;
        spec.filters.chain.sort_by_key(FilterSpec::place);
        check_sides(&spec)?;
        let families = &mut spec.filters;
        families.family_threshold.get_or_insert(families.family_by.threshold());
        for filter in &spec.filters.chain {
            filter.clone().build()?;
        }
        spec.select.rule.clone().build()?;
        let score_by = score_by(&spec)?;
        spec.judge.score_by = Some(match score_by {
            ScoreBy::Rrf => RRF.to_owned(),
            ScoreBy::Source(s) => spec.pool[s].name.clone(),
        });
        let format = match spec.write.format {
            Some(format) => format,
            None => {
                let usual = if ids_only { RowFormat::Native } else { RowFormat::FlagEmbedding };
                RowFormat::guess_from_name(&spec.write.path).unwrap_or(usual)
            }
        };
        if ids_only && format.needs_texts() {
            return Err(Error::usage(
                format!("the format {format} holds texts, but this data has ids only"),
                "write --format native, trec-run or msmarco-ids, or give --corpus and --queries with texts",
            ));
        }
        if spec.write.weight.is_some() && !matches!(format, RowFormat::Native | RowFormat::Parquet) {
            return Err(Error::usage(
                format!("--weight: the format {format} has no place for weights"),
                "write --format native or parquet",
            ));
        }
        spec.write.format = Some(format);
        if spec.write.scores == Some(true) && !scores_all(&spec, score_by) {
            return Err(Error::usage(
                "--scores: the judging source has no score for pairs that it did not name",
                "judge by bm25, vectors or rrf (--score-by), or leave --scores out",
            ));
        }
        spec.write.scores.get_or_insert(scores_all(&spec, score_by) && !is_shape(format));
        Ok(Self { spec, score_by, format, all_anchors: false, hide: false })
    }

    /// The filters, in the order in which they run.
    pub fn filters(&self) -> Result<Vec<Box<dyn Filter>>> {
        Ok(self.spec.filters.chain.iter().map(|f| f.clone().build()).collect::<hardrock_core::Result<_>>()?)
    }

    /// The selector.
    pub fn selector(&self) -> Result<Box<dyn Selector>> {
        Ok(self.spec.select.rule.clone().build()?)
    }

    /// Names of the pools, in column order.
    pub fn names(&self) -> Vec<String> {
        self.spec.pool.iter().map(|p| p.name.clone()).collect()
    }

    /// Names of the columns of evidence: the pools, then the filters that ask models.
    pub fn columns(&self) -> Vec<String> {
        let asked = NAMES.into_iter().filter(|name| self.has(name)).map(str::to_owned);
        self.names().into_iter().chain(asked).collect()
    }

    /// True where some filter of this name is in the chain.
    pub fn has(&self, filter: &str) -> bool {
        self.spec.filters.chain.iter().any(|f| f.name() == filter)
    }

    /// The `group` filter, where it is in the chain.
    pub fn group(&self) -> Option<&Group> {
        self.spec.filters.chain.iter().find_map(|f| if let FilterSpec::Group(g) = f { Some(g) } else { None })
    }

    /// The `time` filter, where it is in the chain.
    pub fn time(&self) -> Option<&Time> {
        self.spec.filters.chain.iter().find_map(|f| if let FilterSpec::Time(t) = f { Some(t) } else { None })
    }

    /// The `taxonomy` filter, where it is in the chain.
    pub fn taxonomy(&self) -> Option<&Taxonomy> {
        self.spec
            .filters
            .chain
            .iter()
            .find_map(|f| if let FilterSpec::Taxonomy(t) = f { Some(t) } else { None })
    }

    /// The program of the `command` filter, where it is in the chain.
    pub fn command(&self) -> Option<&str> {
        self.spec
            .filters
            .chain
            .iter()
            .find_map(|f| if let FilterSpec::Command(c) = f { Some(c.program.as_str()) } else { None })
    }

    /// The pool whose graph makes the families that `family` asks for, where that is how they are made.
    pub fn family_graph(&self) -> Option<usize> {
        let wanted = self.has("family") && self.spec.filters.family_by == FamilyBy::Graph;
        wanted.then(|| self.spec.pool.iter().position(|p| joins(&p.source)))?
    }

    /// Similarity from which two documents are of one family.
    pub fn family_threshold(&self) -> f32 {
        let filters = &self.spec.filters;
        filters.family_threshold.unwrap_or(filters.family_by.threshold())
    }

    /// True where a stage needs the texts' terms: BM25, `kin` by tf-idf, or p_fn where something asks for it.
    pub fn needs_terms(&self) -> bool {
        self.has_terms() || (self.estimates() && asks_for_p_fn(&self.spec))
    }

    /// True where the terms are at hand anyway.
    fn has_terms(&self) -> bool {
        self.spec.pool.iter().any(|p| matches!(p.source.compares(), SourceSpec::Bm25(_)))
            || (self.has("kin") && self.spec.judge.kin_by == KinBy::TfIdf)
    }

    /// True where p_fn is estimated: something asks for it, or the terms are at hand.
    pub fn estimates(&self) -> bool {
        self.spec.p_fn.model != PFnModel::None
            && !self.all_anchors
            && !self.spec.data.ids_only()
            && (self.has_terms() || asks_for_p_fn(&self.spec))
    }

    /// Highest p_fn that stays, where the chain says one.
    pub fn max_p_fn(&self) -> Option<f32> {
        self.spec
            .filters
            .chain
            .iter()
            .find_map(|f| if let FilterSpec::PFn(f) = f { Some(f.max) } else { None })
    }
}

/// Data of ids alone: what reads texts is an error, and the default filters shrink to the one that does not.
fn without_texts(spec: &mut MineSpec) -> Result<()> {
    let usual = super::spec::FiltersSpec::default();
    if usual.chain.iter().all(|f| spec.filters.chain.contains(f)) {
        let by_texts = |f: &FilterSpec| usual.chain.contains(f) && f.name() != "known";
        spec.filters.chain.retain(|f| !by_texts(f));
    }
    let reads_texts = |f: &&FilterSpec| match f.name() {
        "kin" => spec.judge.kin_by == KinBy::TfIdf,
        "family" => spec.filters.family_by == FamilyBy::Text,
        name => matches!(name, "text" | "near" | "guide" | "rerank" | "command" | "p_fn"),
    };
    let filter = spec.filters.chain.iter().find(reads_texts).map(|f| format!("the filter `{}`", f.name()));
    let by_texts = |p: &&PoolSpec| {
        matches!(p.source.compares(), SourceSpec::Bm25(_) | SourceSpec::Dense(_) | SourceSpec::Static(_))
    };
    let source = spec.pool.iter().find(by_texts).map(|p| format!("the source `{}`", p.name));
    match filter.or(source) {
        Some(what) => Err(Error::usage(
            format!("{what} reads texts, but this data has ids only"),
            "give --corpus and --queries with texts, or leave it out (kin works with --kin-by vectors)",
        )),
        None => Ok(()),
    }
}

/// A mixture that names `random` brings its own pool of random documents; any other name must be a pool.
fn add_random_pool(spec: &mut MineSpec) -> Result<()> {
    let SelectorSpec::Mix(mix) = &spec.select.rule else { return Ok(()) };
    for share in &mix.shares {
        if spec.pool.iter().any(|p| p.name == share.source) {
            continue;
        }
        if share.source != "random" {
            let names: Vec<&str> = spec.pool.iter().map(|p| p.name.as_str()).collect();
            return Err(Error::usage(
                format!("--select mix names `{}`, which is no source of this run", share.source),
                format!("one of {}, or random", names.join(", ")),
            ));
        }
        // Filters take some of them away: draw more than are needed.
        let pool = super::flags::pool("random", RANDOM_PER_NEGATIVE * spec.select.negatives)?;
        spec.pool.push(pool);
    }
    Ok(())
}

/// Random documents drawn for each negative asked for.
const RANDOM_PER_NEGATIVE: usize = 4;

fn check_pools(pools: &[PoolSpec]) -> Result<()> {
    for pool in pools {
        if let Some(recall) = pool.source.approximate().filter(|r| !(*r > 0.0 && *r <= 1.0)) {
            return Err(Error::usage(
                format!("source `{}`: a recall of {recall} cannot be searched to", pool.name),
                "give --approximate a share above 0 and at most 1, such as 0.95",
            ));
        }
    }
    for (i, pool) in pools.iter().enumerate() {
        if NAMES.contains(&pool.name.as_str()) {
            return Err(Error::usage(
                format!("pool name `{}` is the name of a filter with a column of its own", pool.name),
                "name the pool differently",
            ));
        }
        if !is_name(&pool.name) || pool.name == RRF {
            return Err(Error::usage(
                format!("pool name `{}` cannot be a column name", pool.name),
                "use lower-case letters, digits and `-`",
            ));
        }
        if pools[..i].iter().any(|p| p.name == pool.name) {
            return Err(Error::usage(
                format!("two pools are called `{}`", pool.name),
                "name each pool differently, or give the source once",
            ));
        }
        if pool.depth == 0 {
            return Err(Error::usage(
                format!("pool `{}` has depth 0", pool.name),
                "--top-k must be at least 1",
            ));
        }
        match pool.source.compares() {
            SourceSpec::Bm25(bm25) => {
                bm25.weights.check()?;
                bm25.tokens.check()?;
            }
            SourceSpec::Static(spec) => spec.check()?,
            _ => {}
        }
        if let SourceSpec::Graph(graph) = &pool.source {
            check_graph(&pool.name, graph)?;
        }
    }
    Ok(())
}

/// Whether something in the job cannot be done without p_fn.
pub(super) fn asks_for_p_fn(spec: &MineSpec) -> bool {
    spec.p_fn.promise.is_some()
        || spec.write.weight.is_some()
        || spec.p_fn.verdicts.is_some()
        || spec.p_fn.learn_from.is_some()
        || spec.filters.chain.iter().any(|f| f.name() == "p_fn")
}

/// Checks what is said of p_fn, and adds the filter that verdicts bring.
fn p_fn(spec: &mut MineSpec, ids_only: bool) -> Result<()> {
    if asks_for_p_fn(spec) && (spec.p_fn.model == PFnModel::None || ids_only) {
        let help = if ids_only { "this data has ids only" } else { "leave out --p-fn none" };
        return Err(Error::usage("p_fn is asked for, but it is not estimated", help));
    }
    if spec.p_fn.verdicts.is_some() && !spec.filters.chain.iter().any(|f| f.name() == "judged") {
        spec.filters.chain.push(FilterSpec::Judged(hardrock_core::filters::Judged {}));
    }
    if spec.p_fn.verdicts.is_none() && spec.filters.chain.iter().any(|f| f.name() == "judged") {
        return Err(Error::usage("the filter `judged` has nothing to look up", "add --verdicts FILE"));
    }
    let Some(promise) = spec.p_fn.promise else { return Ok(()) };
    let inside = |x: f64| x > 0.0 && x < 1.0;
    if !inside(promise.share) || !inside(promise.confidence) {
        return Err(Error::usage(
            format!("a promise of share {} at confidence {} cannot be", promise.share, promise.confidence),
            "--max-false-negatives and --confidence lie between 0 and 1, e.g. 0.05 and 0.9",
        ));
    }
    // The promise chooses the threshold itself.
    spec.filters.chain.retain(|f| f.name() != "p_fn");
    if !matches!(spec.select.rule, SelectorSpec::Top(_))
        || spec.select.shortfall == super::spec::Shortfall::Random
    {
        return Err(Error::usage(
            "--max-false-negatives covers --select top without random filling",
            "leave out --select and --shortfall random, or set --max-p-fn yourself",
        ));
    }
    Ok(())
}

fn check_graph(name: &str, graph: &GraphSpec) -> Result<()> {
    use SourceSpec::{Bm25, Dense, Vectors};
    if !matches!(*graph.over, Bm25(_) | Dense(_) | Vectors(_)) {
        return Err(Error::usage(
            format!("pool `{name}`: a graph cannot be made with this source"),
            "give it over = { bm25 = {} }, or vectors or dense",
        ));
    }
    match graph.neighbours {
        Some(0) => Err(Error::usage(
            format!("pool `{name}`: a graph with 0 neighbours leads nowhere"),
            "--graph-neighbours must be at least 1",
        )),
        _ => Ok(()),
    }
}

/// Whether a graph over cosines says which documents are of one family.
fn joins(source: &SourceSpec) -> bool {
    matches!(source, SourceSpec::Graph(_)) && source.metric() == Some(Metric::Cosine)
}

fn check_sides(spec: &MineSpec) -> Result<()> {
    let has = |name: &str| spec.filters.chain.iter().any(|f| f.name() == name);
    let needs = |name: &str, there: bool, how: &str| {
        if has(name) && !there {
            return Err(Error::usage(format!("the filter `{name}` has nothing to look up"), how.to_owned()));
        }
        Ok(())
    };
    let vectors = spec.pool.iter().any(|p| p.source.compares().is_dense());
    let by_vectors = spec.judge.kin_by == KinBy::Vectors;
    needs(
        "kin",
        !by_vectors || vectors,
        "--kin-by vectors needs --model, or --corpus-vectors and --query-vectors",
    )?;
    needs(
        "family",
        spec.filters.family_by == FamilyBy::Text || spec.pool.iter().any(|p| joins(&p.source)),
        "--family-by graph needs --source graph over vectors or a model, compared by cosine",
    )?;
    if let Some(p) = agree_more_than(spec) {
        return Err(Error::usage(
            format!("the filter `agree` asks for {p} sources, but there are {}", spec.pool.len()),
            "add sources with --source, or ask for fewer",
        ));
    }
    Ok(())
}

/// A sentence-transformers shape: scores take the place of labels or add a column, so they are written when asked for.
fn is_shape(format: RowFormat) -> bool {
    use RowFormat::{StLabeledList, StLabeledPair, StNTuple, StTriplet};
    matches!(format, StTriplet | StNTuple | StLabeledPair | StLabeledList)
}

/// Whether the judging score exists for every pair, so that no training row has a gap: a run file, given negatives and
/// random draws know only the pairs that they name.
fn scores_all(spec: &MineSpec, score_by: ScoreBy) -> bool {
    match score_by {
        ScoreBy::Rrf => true,
        ScoreBy::Source(s) => {
            let source = spec.pool.get(s).map(|p| &p.source);
            source.is_some_and(|s| s.is_dense() || matches!(s, SourceSpec::Bm25(_) | SourceSpec::Graph(_)))
        }
    }
}

/// How many sources `agree` asks for, when there are not that many.
fn agree_more_than(spec: &MineSpec) -> Option<usize> {
    spec.filters.chain.iter().find_map(|f| match f {
        FilterSpec::Agree(a) if a.sources as usize > spec.pool.len() => Some(a.sources as usize),
        _ => None,
    })
}

fn score_by(spec: &MineSpec) -> Result<ScoreBy> {
    let dense = |p: &PoolSpec| p.source.is_dense();
    let scored = |p: &PoolSpec| !matches!(p.source, SourceSpec::Random {});
    let graph = |p: &PoolSpec| matches!(p.source, SourceSpec::Graph(_));
    let find = |test: &dyn Fn(&PoolSpec) -> bool| spec.pool.iter().position(test);
    match spec.judge.score_by.as_deref() {
        Some(RRF) => Ok(ScoreBy::Rrf),
        Some(name) => find(&|p| p.name == name).map(ScoreBy::Source).ok_or_else(|| {
            let names: Vec<&str> = spec.pool.iter().map(|p| p.name.as_str()).collect();
            Error::usage(
                format!("--score-by {name}: there is no such source"),
                format!("one of {}, or rrf", names.join(", ")),
            )
        }),
        // A graph scores likeness to the positives: highest where a false negative is likeliest.
        None => Ok(ScoreBy::Source(
            find(&dense).or_else(|| find(&|p| scored(p) && !graph(p))).or_else(|| find(&graph)).unwrap_or(0),
        )),
    }
}
