//! What a job would cost, from its plan and one second of its real work.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use hardrock_engine::index::Neighbours;
use serde::Serialize;

use super::Progress;
use super::budget::{Budget, peak_memory};
use super::dense::Encode;
use super::plan::Plan;
use super::prepare::{Job, with_job};
use super::run::RunOptions;
use super::spec::MineSpec;
use crate::Result;
use crate::sources::{MemoryPlan, PendingSource, Source};

/// Seconds of sampling over all sources.
const SAMPLE: f64 = 1.0;

/// Anchors per step of the sample.
const STEP: usize = 64;

/// A plan in numbers.
#[derive(Debug, Clone, Serialize)]
pub struct Estimate {
    /// Anchors with positives.
    pub anchors: usize,
    /// Documents in the corpus.
    pub documents: usize,
    /// Negatives asked for.
    pub requested: usize,
    /// One line per source.
    pub sources: Vec<SourceEstimate>,
    /// The judging score.
    pub score_by: String,
    /// The filters, in the order in which they run, with their parameters.
    pub filters: Vec<String>,
    /// Anchors per second whose candidates models judge (`guide`, `rerank`), in the sample; what they said is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consulted: Option<f64>,
    /// The selection rule with its parameters.
    pub select: String,
    /// Seconds that reading and indexing took just now; they are kept and need not be spent again.
    pub prepared_seconds: f64,
    /// Seconds that candidates and judging will take, by the sample.
    pub remaining_seconds: f64,
    /// How the memory is shared out.
    pub memory: Budget,
    /// Peak memory so far in bytes.
    pub peak_memory: u64,
    /// Bytes of the candidates on disk, by the sample.
    pub candidate_bytes: u64,
    /// The output.
    pub output: String,
    /// Its format.
    pub format: String,
}

/// One source in a plan.
#[derive(Debug, Clone, Serialize)]
pub struct SourceEstimate {
    /// The pool's name.
    pub name: String,
    /// Candidates per anchor asked for.
    pub depth: usize,
    /// How exact it is, and where its index is.
    pub exactness: String,
    /// Anchors per second in the sample.
    pub rate: f64,
    /// Candidates per anchor in the sample.
    pub found: f64,
    /// How it holds its documents, where they are vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryPlan>,
    /// What must be encoded first; until then nothing else can be said of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode: Option<EncodeEstimate>,
    /// What must be searched first for a graph; until then nothing else can be said of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph: Option<GraphEstimate>,
}

/// Documents whose neighbours are not known yet.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct GraphEstimate {
    /// How many.
    pub documents: u64,
    /// Documents per second in the sample.
    pub rate: f64,
    /// Seconds that they will take at that rate.
    pub seconds: f64,
}

/// Texts without a vector.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct EncodeEstimate {
    /// How many.
    pub texts: u64,
    /// Texts per second in the sample.
    pub rate: f64,
    /// Seconds that they will take at that rate.
    pub seconds: f64,
}

/// Reads the data, builds the indexes, and tries every source and the judging on some anchors for about one second.
pub fn estimate(
    spec: MineSpec,
    options: &RunOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Estimate> {
    let plan = Plan::new(spec)?;
    with_job(&plan, options, Encode::Sample(SAMPLE), progress, cancel, |job| {
        let prepared_seconds = job.clock.total();
        let share = SAMPLE / (plan.spec.pool.len() + 1) as f64;
        let anchors = job.judged.len();
        let mut sources = Vec::new();
        let mut remaining_seconds = 0.0;
        let mut found_by_source = Vec::new();
        for ((pool, (name, source)), outlook) in
            plan.spec.pool.iter().zip(&job.judge.sources).zip(&job.outlooks)
        {
            let encode = outlook.map(|o| EncodeEstimate {
                texts: o.missing,
                rate: o.rate,
                seconds: o.missing as f64 / o.rate.max(1e-9),
            });
            remaining_seconds += encode.map_or(0.0, |e| e.seconds);
            let graph = source.outlook(share)?.map(|o| GraphEstimate {
                documents: o.missing,
                rate: o.rate,
                seconds: o.missing as f64 / o.rate.max(1e-9),
            });
            if let Some(graph) = graph {
                remaining_seconds += graph.seconds;
                found_by_source.push(PendingSource.propose(0..STEP.min(anchors), pool.depth, cancel)?);
                let (name, exactness) = (name.clone(), source.exactness());
                sources.push(SourceEstimate {
                    name,
                    depth: pool.depth,
                    exactness,
                    rate: 0.0,
                    found: 0.0,
                    memory: source.memory(anchors, pool.depth),
                    encode: None,
                    graph: Some(graph),
                });
                continue;
            }
            let start = Instant::now();
            let (mut done, mut found) = (0, 0);
            while done < anchors && (done == 0 || start.elapsed().as_secs_f64() < share) {
                let range = done..(done + STEP).min(anchors);
                done = range.end;
                let answer = source.propose(range, pool.depth, cancel)?;
                found += answer.items.len();
                if found_by_source.len() < sources.len() + 1 {
                    found_by_source.push(answer);
                }
            }
            let rate = done as f64 / start.elapsed().as_secs_f64().max(1e-9);
            remaining_seconds += anchors as f64 / rate;
            sources.push(SourceEstimate {
                name: name.clone(),
                depth: pool.depth,
                exactness: match pool.source.precision() {
                    Some(precision) => format!("{}, encoded in {}", source.exactness(), precision.name()),
                    None => source.exactness(),
                },
                rate,
                found: found as f64 / done as f64,
                memory: source.memory(anchors, pool.depth),
                encode,
                graph: None,
            });
        }
        let start = Instant::now();
        let sample = STEP.min(anchors);
        let screened = job.judge.screen(&job.judged[..sample], 0, &found_by_source)?;
        let threads = rayon::current_num_threads() as f64;
        remaining_seconds += start.elapsed().as_secs_f64() * anchors as f64 / sample as f64 / threads;
        let consulted = consult(job, sample, &found_by_source)?;
        remaining_seconds += consulted.map_or(0.0, |rate| anchors as f64 / rate);
        let cells = screened.cells() as f64 / sample as f64 * anchors as f64;
        Ok(Estimate {
            anchors,
            documents: job.dataset.items.len(),
            requested: anchors * plan.spec.select.negatives,
            sources,
            score_by: plan.spec.judge.score_by.clone().unwrap_or_default(),
            filters: plan.spec.filters.chain.iter().map(json).collect(),
            consulted,
            select: json(&plan.spec.select.rule),
            prepared_seconds,
            remaining_seconds,
            memory: job.budget,
            peak_memory: peak_memory(),
            candidate_bytes: (cells * (21.0 + 8.0 * plan.spec.pool.len() as f64)) as u64,
            output: plan.spec.write.path.display().to_string(),
            format: plan.format.to_string(),
        })
    })
}

/// Anchors per second whose candidates models judge: one anchor after another for about a second; none without a model.
fn consult(job: &Job<'_>, most: usize, found: &[Neighbours]) -> Result<Option<f64>> {
    if job.judge.consulted.is_empty() {
        return Ok(None);
    }
    let (start, mut done) = (Instant::now(), 0);
    while done < most && (done == 0 || start.elapsed().as_secs_f64() < SAMPLE) {
        let mut block = job.judge.screen(&job.judged[done..=done], done, found)?;
        job.judge.consult(&mut block)?;
        done += 1;
    }
    Ok(Some(done as f64 / start.elapsed().as_secs_f64().max(1e-9)))
}

/// Bytes for a person.
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1048576.0)
}

/// How the memory is shared out between so many sources, in words.
struct Shares<'a>(&'a Budget, usize);

impl fmt::Display for Shares<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(b, sources) = self;
        let each = if *sources == 1 { "the source" } else { "each source" };
        match b.ceiling {
            Some(ceiling) => write!(f, "ceiling {}: ", mib(ceiling))?,
            None => write!(f, "no ceiling (half of what is free for indexes): ")?,
        }
        let (fixed, index) = (mib(b.fixed), mib(b.index));
        write!(
            f,
            "{fixed} for program, ids and offsets, up to {index} for {each}, {} for shingles",
            mib(b.shingles)
        )
    }
}

/// How a source holds its documents, in words.
struct Held<'a>(&'a MemoryPlan);

impl fmt::Display for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        write!(f, "{} in 32 bits", mib(plan.documents))?;
        if let Some(codes) = plan.codes {
            write!(f, ", {} as 8-bit codes", mib(codes))?;
        }
        let Some(s) = plan.streamed else { return write!(f, "; held in memory, read once") };
        if plan.codes.is_some_and(|codes| codes <= plan.room) {
            write!(f, "; held as codes if these pay, else")?;
        } else {
            write!(f, "; more than {},", mib(plan.room))?;
        }
        write!(
            f,
            " streamed in chunks of {} documents ({}), the next one read ahead; {} anchors a pass, {} pass{}, {} read in all",
            s.documents,
            mib(s.bytes),
            s.anchors,
            s.passes,
            if s.passes == 1 { "" } else { "es" },
            mib(plan.documents * s.passes)
        )
    }
}

/// A component with its parameters, as JSON.
fn json(component: &impl Serialize) -> String {
    serde_json::to_string(component).unwrap_or_default()
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "data      {} anchors with positives, {} documents", self.anchors, self.documents)?;
        writeln!(f, "memory    {}", Shares(&self.memory, self.sources.len()))?;
        for s in &self.sources {
            if let Some(memory) = &s.memory {
                writeln!(f, "vectors   {}: {}", s.name, Held(memory))?;
            }
            if let Some(e) = s.encode {
                writeln!(
                    f,
                    "encode    {}: {} texts, in the sample {:.0} texts/s: {:.0} s; what was encoded is kept",
                    s.name, e.texts, e.rate, e.seconds
                )?;
                continue;
            }
            if let Some(g) = s.graph {
                writeln!(
                    f,
                    "graph     {}: {}; in the sample {:.0} documents/s: {:.0} s; what was searched is kept",
                    s.name, s.exactness, g.rate, g.seconds
                )?;
                continue;
            }
            writeln!(
                f,
                "source    {}: {} per anchor ({}); in the sample {:.0} anchors/s, {:.1} found per anchor",
                s.name, s.depth, s.exactness, s.rate, s.found
            )?;
        }
        writeln!(f, "judge     by the score of {}", self.score_by)?;
        for filter in &self.filters {
            writeln!(f, "filter    {filter}")?;
        }
        if let Some(rate) = self.consulted {
            writeln!(f, "models    judge {rate:.1} anchors/s in the sample; what they said is kept")?;
        }
        writeln!(f, "select    {} negatives in all, {}", self.requested, self.select)?;
        writeln!(f, "write     {} ({})", self.output, self.format)?;
        writeln!(
            f,
            "estimate  {:.1} s for candidates and judging (reading and indexing took {:.1} s and is kept)",
            self.remaining_seconds, self.prepared_seconds
        )?;
        write!(
            f,
            "          {:.1} MiB of candidates, {:.1} MiB of memory at peak so far",
            self.candidate_bytes as f64 / 1048576.0,
            self.peak_memory as f64 / 1048576.0
        )
    }
}
