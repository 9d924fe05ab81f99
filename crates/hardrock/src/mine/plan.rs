//! What a specification means: checked components in their order, and the one judging score.

use hardrock_core::filters::{Group, Taxonomy, Time};
use hardrock_core::{Filter, FilterSpec, Selector, SelectorSpec};

use super::judge::{RRF, ScoreBy};
use super::spec::{KinBy, MineSpec, PoolSpec, SourceSpec};
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
        check_sides(&spec)?;
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
        spec.write.format = Some(format);
        if spec.write.scores == Some(true) && !scores_all(&spec, score_by) {
            return Err(Error::usage(
                "--scores: the judging source has no score for pairs that it did not name",
                "judge by bm25, vectors or rrf (--score-by), or leave --scores out",
            ));
        }
        spec.write.scores.get_or_insert(scores_all(&spec, score_by) && !is_shape(format));
        Ok(Self { spec, score_by, format, all_anchors: false })
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

    /// True where a stage needs the texts' terms: BM25, or `kin` by tf-idf.
    pub fn needs_terms(&self) -> bool {
        self.spec.pool.iter().any(|p| matches!(p.source, SourceSpec::Bm25(_)))
            || (self.has("kin") && self.spec.judge.kin_by == KinBy::TfIdf)
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
        name => matches!(name, "text" | "near" | "family" | "command"),
    };
    let filter = spec.filters.chain.iter().find(reads_texts).map(|f| format!("the filter `{}`", f.name()));
    let by_texts = |p: &&PoolSpec| {
        matches!(p.source, SourceSpec::Bm25(_) | SourceSpec::Dense(_) | SourceSpec::Sparse(_))
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
        if let SourceSpec::Bm25(bm25) = &pool.source {
            bm25.weights.check()?;
            bm25.tokens.check()?;
        }
    }
    Ok(())
}

fn check_sides(spec: &MineSpec) -> Result<()> {
    let has = |name: &str| spec.filters.chain.iter().any(|f| f.name() == name);
    let needs = |name: &str, there: bool, how: &str| {
        if has(name) && !there {
            return Err(Error::usage(format!("the filter `{name}` has nothing to look up"), how.to_owned()));
        }
        Ok(())
    };
    let vectors = spec.pool.iter().any(|p| p.source.is_dense());
    let by_vectors = spec.judge.kin_by == KinBy::Vectors;
    needs(
        "kin",
        !by_vectors || vectors,
        "--kin-by vectors needs --model, or --corpus-vectors and --query-vectors",
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
            source.is_some_and(|s| s.is_dense() || matches!(s, SourceSpec::Bm25(_) | SourceSpec::Sparse(_)))
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
        None => Ok(ScoreBy::Source(find(&dense).or_else(|| find(&scored)).unwrap_or(0))),
    }
}
