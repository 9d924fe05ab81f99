//! `hardrock train`: from pairs to a model.

use std::path::PathBuf;

use clap::Args;
use hardrock::mine::{RunOptions, flags};
use hardrock::read::OnBadRow;
use hardrock::train::{self, TrainSpec, Trained};
use hardrock::{Error, Result};

use super::print;
use crate::args::Globals;
use crate::progress::Bar;
use crate::render;

/// Train a static embedding model: hold out anchors, mine, learn, evaluate each epoch, keep the best
///
/// The folder it writes loads in sentence-transformers. The same data, options and seed give the same weights on any number of
/// threads, and after a kill as well: the same command goes on from the last checkpoint.
///
/// Examples:
///   hardrock train --pairs pairs.csv -o my-model
///   hardrock train data/my-beir-folder --model my-static-model -o better-model
///   hardrock train job.toml --epochs 20
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TrainArgs {
    /// A TOML file (see --print-spec), a folder in BEIR layout, or a training file in any known format
    #[arg(value_name = "CONFIG|DATA")]
    data: Option<PathBuf>,
    /// The model's folder to write
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Pairs or training rows: first column = anchor, second = positive
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pairs: Option<PathBuf>,
    /// Documents: JSON lines, TSV, CSV or Parquet
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    corpus: Option<PathBuf>,
    /// Queries: JSON lines, TSV, CSV or Parquet
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    queries: Option<PathBuf>,
    /// Relevance judgements: BEIR TSV, TREC or MS MARCO
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    qrels: Option<PathBuf>,
    /// Split of a BEIR folder: the file qrels/SPLIT.tsv [default: train]
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    split: Option<String>,
    /// Lowest grade that counts as positive [default: 1]
    #[arg(long, value_name = "GRADE", help_heading = "Data")]
    level: Option<i32>,
    /// What to do with a broken row: stop, or skip it [default: stop]
    #[arg(long, value_name = "stop|skip", help_heading = "Data", value_parser = super::parse::parse_bad_row)]
    on_bad_row: Option<OnBadRow>,

    /// What to start from: random, the folder of a static model, or of a transformer (its token embeddings) [default: random]
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    model: Option<String>,
    /// Columns of a vector, for a random start [default: 256]
    #[arg(long, value_name = "N", help_heading = "Model")]
    dim: Option<usize>,
    /// Most tokens of the vocabulary that is made of the texts, for a random start [default: 30000]
    #[arg(long, value_name = "N", help_heading = "Model")]
    vocabulary: Option<usize>,
    /// Tokens read of a text [default: 512]
    #[arg(long, value_name = "N", help_heading = "Model")]
    max_length: Option<usize>,

    /// Comma list of bm25, static, run:FILE, given, random: where hard negatives come from [default: bm25]
    #[arg(long, value_name = "LIST", help_heading = "Negatives")]
    source: Option<String>,
    /// Filters, as of `hardrock mine`
    #[arg(long, value_name = "LIST", help_heading = "Negatives")]
    filter: Option<String>,
    /// Mined negatives of each pair in a step; 0 = none are mined
    #[arg(long, value_name = "N", help_heading = "Negatives")]
    num_negatives: Option<usize>,
    /// Mined negatives that take turns from epoch to epoch [default: 5]
    #[arg(long, value_name = "N", help_heading = "Negatives")]
    mine_negatives: Option<usize>,

    /// Passes over the pairs, at most
    #[arg(long, value_name = "N", help_heading = "Training")]
    epochs: Option<usize>,
    /// Pairs of a step
    #[arg(long, value_name = "N", help_heading = "Training")]
    batch_size: Option<usize>,
    /// Highest learning rate
    #[arg(long, value_name = "X", help_heading = "Training")]
    learning_rate: Option<f32>,
    /// Divides the cosines
    #[arg(long, value_name = "X", help_heading = "Training")]
    temperature: Option<f32>,
    /// Let each positive choose among the anchors as well
    #[arg(long, help_heading = "Training")]
    two_sided: bool,
    /// Share of the anchors held out to evaluate each epoch; 0 = none, and the last epoch is kept [default: 0.1]
    #[arg(long, value_name = "SHARE", help_heading = "Training")]
    validation: Option<f32>,
    /// Epochs without a better value after which training ends; 0 = never early [default: 3]
    #[arg(long, value_name = "N", help_heading = "Training")]
    patience: Option<usize>,

    /// Print the whole job as TOML and stop
    #[arg(long)]
    print_spec: bool,
    /// Replace an existing model
    #[arg(long)]
    force: bool,
    /// Do not use earlier work
    #[arg(long)]
    fresh: bool,
    /// Folder for unfinished and reusable work [default: .hardrock beside the output]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Ceiling on the memory of mining, e.g. 2GiB
    #[arg(long, value_name = "SIZE", value_parser = super::parse::parse_bytes)]
    memory: Option<u64>,
}

/// Runs the command.
#[expect(clippy::print_stderr, reason = "the summary belongs on stderr")]
pub(crate) fn run(args: TrainArgs, globals: &Globals) -> Result<u8> {
    let spec = args.spec(globals)?;
    if args.print_spec {
        print(&spec.to_toml()?);
        return Ok(0);
    }
    let options = RunOptions { work: args.work, memory: args.memory, force: args.force, fresh: args.fresh };
    let bar = Bar::new(globals.quiet || globals.json);
    let cancel = super::cancel_flag()?;
    super::with_threads(globals, || {
        let trained = train::run(&spec, &options, &bar, &cancel);
        bar.finish();
        let trained = trained?;
        if globals.json {
            print(&super::answer("train", &trained)?);
        } else if !globals.quiet {
            eprintln!("{}", summary(&trained));
        }
        Ok(0)
    })
}

/// The last lines, in words.
fn summary(trained: &Trained) -> String {
    let many = render::plural;
    let value = |at: usize| trained.history.get(at).and_then(|epoch| epoch.measured.ndcg);
    let mut text = format!(
        "trained on {} ({} with mined negatives), {} held out",
        many(trained.pairs as u64, "pair"),
        many(trained.mined as u64, "anchor"),
        render::count(trained.held_out as u64)
    );
    if let (Some(start), Some(best)) = (value(0), value(trained.best)) {
        text += &format!("; nDCG@10 {start:.4} at the start, {best:.4} after epoch {}", trained.best);
    }
    for warning in &trained.warnings {
        text += &format!("\n  warning: {warning}");
    }
    text += &format!(
        "\n  {} tokens of {} dimensions in {}{}; wrote {}",
        render::count(trained.vocabulary as u64),
        trained.dim,
        render::seconds(trained.seconds),
        if trained.resumed { ", from a checkpoint" } else { "" },
        trained.folder.display()
    );
    text
}

impl TrainArgs {
    /// TOML or defaults, then the flags.
    fn spec(&self, globals: &Globals) -> Result<TrainSpec> {
        let toml = self.data.as_deref().filter(|p| p.extension().is_some_and(|e| e == "toml"));
        let mut spec = match toml {
            Some(path) => TrainSpec::from_toml(path)?,
            None => TrainSpec::default(),
        };
        if toml.is_none() || globals.seed != 0 {
            spec.seed = globals.seed;
        }
        if let (None, Some(path)) = (toml, &self.data) {
            // A folder is a data set; a file holds training rows of a known format, or else pairs.
            let place = match path {
                _ if path.is_dir() => &mut spec.data.folder,
                _ if hardrock::rows::guess(path).is_ok() => &mut spec.data.rows,
                _ => &mut spec.data.pairs,
            };
            *place = Some(path.clone());
        }
        fn set<T: Clone>(to: &mut T, from: &Option<T>) {
            if let Some(from) = from {
                to.clone_from(from);
            }
        }
        fn place<T: Clone>(to: &mut Option<T>, from: &Option<T>) {
            if from.is_some() {
                to.clone_from(from);
            }
        }
        let data = &mut spec.data;
        place(&mut data.pairs, &self.pairs);
        place(&mut data.corpus, &self.corpus);
        place(&mut data.queries, &self.queries);
        place(&mut data.qrels, &self.qrels);
        place(&mut data.split, &self.split);
        set(&mut data.level, &self.level);
        set(&mut data.on_bad_row, &self.on_bad_row);
        self.refuse_unused(&spec)?;
        set(&mut spec.model.start, &self.model);
        set(&mut spec.model.dim, &self.dim);
        set(&mut spec.model.vocabulary, &self.vocabulary);
        place(&mut spec.model.max_length, &self.max_length);
        if let Some(list) = &self.source {
            spec.mine.pool = flags::pools(list, flags::Given::default())?;
        }
        if let Some(list) = &self.filter {
            flags::set_filters(&mut spec.mine.filters, list)?;
        }
        set(&mut spec.batch.negatives, &self.num_negatives);
        set(&mut spec.mine.select.negatives, &self.mine_negatives);
        set(&mut spec.optimiser.epochs, &self.epochs);
        set(&mut spec.batch.size, &self.batch_size);
        set(&mut spec.optimiser.rate, &self.learning_rate);
        set(&mut spec.loss.temperature, &self.temperature);
        spec.loss.two_sided |= self.two_sided;
        set(&mut spec.validate.share, &self.validation);
        set(&mut spec.validate.patience, &self.patience);
        set(&mut spec.write.path, &self.output);
        Ok(spec)
    }

    /// An option that the start does not look at is a mistake, not a wish.
    fn refuse_unused(&self, spec: &TrainSpec) -> Result<()> {
        let start = self.model.as_deref().unwrap_or(&spec.model.start);
        let unused = [("--dim", self.dim.is_some()), ("--vocabulary", self.vocabulary.is_some())];
        match unused.iter().find(|(_, given)| *given && start != "random") {
            Some((option, _)) => Err(Error::usage(
                format!("{option} is given, but the model to start from decides it"),
                "leave it out, or start from random",
            )),
            None => Ok(()),
        }
    }
}
