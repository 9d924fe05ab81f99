//! What was typed: the TOML of a training job.

use std::path::{Path, PathBuf};

use hardrock_core::losses::List;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mine::spec::{FiltersSpec, JudgeSpec, Metric, PoolSpec, SelectSpec};
use crate::read::DataSpec;
use crate::{Error, Result};

/// A training job. Every table but `data` may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSpec {
    /// Seed of every random draw.
    pub seed: u64,
    /// What to read.
    pub data: DataSpec,
    /// What learns.
    pub model: ModelTable,
    /// Where hard negatives come from.
    pub mine: MineTable,
    /// What a step sees.
    pub batch: BatchTable,
    /// What is minimised.
    pub loss: LossTable,
    /// How the weights move.
    pub optimiser: OptimiserTable,
    /// What is held out.
    pub validate: ValidateTable,
    /// What to write.
    pub write: TrainWrite,
}

/// What learns: a static encoder, a table with a vector per token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelTable {
    /// `random`, or the folder of a static model to go on from, or of a transformer whose token embeddings to start with.
    pub start: String,
    /// Columns of a vector, for a random start; else those of the folder.
    pub dim: usize,
    /// Most tokens of the vocabulary that is made of the texts, for a random start.
    pub vocabulary: usize,
    /// Tokens read of a text; none = all, or what the folder's tokenizer says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
}

/// Start without a folder.
pub(super) const RANDOM: &str = "random";

impl Default for ModelTable {
    fn default() -> Self {
        Self { start: RANDOM.to_owned(), dim: 256, vocabulary: 30_000, max_length: Some(512) }
    }
}

/// Hard negatives, mined before training as `hardrock mine` would.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MineTable {
    /// Whether to mine; without, the other rows' documents are the only negatives.
    pub enabled: bool,
    /// Where candidates come from, one table each; empty = BM25.
    pub pool: Vec<PoolSpec>,
    /// The one score in which candidates are ordered and margins measured.
    pub judge: JudgeSpec,
    /// What must not be a negative.
    pub filters: FiltersSpec,
    /// Which survivors to take.
    pub select: SelectSpec,
}

impl Default for MineTable {
    fn default() -> Self {
        Self {
            enabled: true,
            pool: Vec::new(),
            judge: JudgeSpec::default(),
            filters: FiltersSpec::default(),
            select: SelectSpec::default(),
        }
    }
}

/// What a step sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchTable {
    /// Pairs, at least 2.
    pub size: usize,
    /// Mined negatives of each pair; those of an anchor take turns from epoch to epoch.
    pub negatives: usize,
}

impl Default for BatchTable {
    fn default() -> Self {
        Self { size: 256, negatives: 1 }
    }
}

/// What is minimised: the softmax of the anchor's cosines over the batch's documents (InfoNCE).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LossTable {
    /// Divides the cosines, above 0.
    pub temperature: f32,
    /// Subtracted from the positive's cosine.
    pub margin: f32,
    /// Let each positive choose among the batch's anchors as well; both sides count half.
    pub two_sided: bool,
}

impl Default for LossTable {
    fn default() -> Self {
        Self { temperature: 0.05, margin: 0.0, two_sided: false }
    }
}

impl LossTable {
    /// The loss, checked.
    pub(crate) fn list(&self) -> Result<List> {
        Ok(List { temperature: self.temperature, margin: self.margin, ..List::default() }.check()?)
    }
}

/// How the weights move: Adam, only where a batch touches them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserTable {
    /// Passes over the pairs, at most.
    pub epochs: usize,
    /// Highest learning rate.
    pub rate: f32,
    /// Share of the steps in which the rate grows from 0, in [0, 1).
    pub warmup: f32,
    /// How the rate falls afterwards.
    pub decay: Decay,
}

impl Default for OptimiserTable {
    fn default() -> Self {
        Self { epochs: 20, rate: 0.03, warmup: 0.1, decay: Decay::Linear }
    }
}

/// How a learning rate falls after its warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// In a straight line to 0.
    #[default]
    Linear,
    /// Half a cosine wave to 0.
    Cosine,
    /// Not at all.
    Constant,
}

/// What is held out: anchors that no step sees, to say after each epoch how well the model finds their positives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ValidateTable {
    /// Share of the anchors, in [0, 0.9]; 0 = nothing is held out, and the last epoch's weights are kept.
    pub share: f32,
    /// Most anchors.
    pub most: usize,
    /// Epochs without a better value after which training ends; 0 = never before the last.
    pub patience: usize,
}

impl Default for ValidateTable {
    fn default() -> Self {
        Self { share: 0.1, most: 1000, patience: 3 }
    }
}

/// What to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainWrite {
    /// The model's folder.
    pub path: PathBuf,
    /// Seconds between two checkpoints in the work folder: what a kill can lose; 0 = one after every step.
    pub checkpoint_seconds: f64,
}

impl Default for TrainWrite {
    fn default() -> Self {
        Self { path: PathBuf::new(), checkpoint_seconds: 30.0 }
    }
}

/// The source `static` of mining: an encoder that is trained on the given pairs and then searched with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StaticSpec {
    /// Columns of a vector.
    pub dim: usize,
    /// Most tokens of the vocabulary.
    pub vocabulary: usize,
    /// Passes over the pairs.
    pub epochs: usize,
    /// Pairs of a step.
    pub batch: usize,
    /// Highest learning rate.
    pub rate: f32,
    /// Divides the cosines, above 0.
    pub temperature: f32,
    /// Search through clusters to this recall, in (0, 1]; none = exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approximate: Option<f64>,
    /// How two vectors compare.
    pub metric: Metric,
}

impl Default for StaticSpec {
    fn default() -> Self {
        Self {
            dim: 256,
            vocabulary: 30_000,
            epochs: 5,
            batch: 256,
            rate: 0.03,
            temperature: 0.05,
            approximate: None,
            metric: Metric::Cosine,
        }
    }
}

impl StaticSpec {
    /// Runs once, when the plan is made.
    pub(crate) fn check(&self) -> Result<()> {
        self.job(0).check()
    }

    /// The training job that makes the encoder.
    pub(crate) fn job(&self, seed: u64) -> TrainSpec {
        TrainSpec {
            seed,
            model: ModelTable { dim: self.dim, vocabulary: self.vocabulary, ..ModelTable::default() },
            mine: MineTable { enabled: false, ..MineTable::default() },
            batch: BatchTable { size: self.batch, negatives: 0 },
            loss: LossTable { temperature: self.temperature, ..LossTable::default() },
            optimiser: OptimiserTable { epochs: self.epochs, rate: self.rate, ..OptimiserTable::default() },
            validate: ValidateTable { share: 0.0, ..ValidateTable::default() },
            ..TrainSpec::default()
        }
    }
}

impl TrainSpec {
    /// Reads a TOML file. A typo ends here, with its line.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] with the line.
    pub fn from_toml(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        toml::from_str(&text).map_err(|e| {
            let line = e.span().map(|s| text[..s.start].matches('\n').count() as u64 + 1);
            let help = "`hardrock train DATA --print-spec` prints a complete file";
            Error::input(path, line, e.message().trim().to_owned(), help)
        })
    }

    /// The whole job as TOML, defaults included.
    ///
    /// # Errors
    /// [`Error::Usage`] for a path that is no text.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::usage(format!("cannot be written as TOML: {e}"), ""))
    }

    /// Runs once, before anything is read.
    ///
    /// # Errors
    /// [`Error::Usage`] for a number out of its range, with the range.
    pub(crate) fn check(&self) -> Result<()> {
        let whole = [
            ("model.dim", self.model.dim, 1..=8192),
            ("model.vocabulary", self.model.vocabulary, 16..=10_000_000),
            ("batch.size", self.batch.size, 2..=65_536),
            ("batch.negatives", self.batch.negatives, 0..=256),
            ("optimiser.epochs", self.optimiser.epochs, 0..=100_000),
        ];
        for (name, got, range) in whole {
            if !range.contains(&got) {
                let problem = format!("{name} = {got}");
                return Err(Error::usage(problem, format!("give {} to {}", range.start(), range.end())));
            }
        }
        let real = [
            (
                "optimiser.rate",
                self.optimiser.rate,
                self.optimiser.rate > 0.0 && self.optimiser.rate.is_finite(),
                "above 0",
            ),
            (
                "optimiser.warmup",
                self.optimiser.warmup,
                (0.0..1.0).contains(&self.optimiser.warmup),
                "at least 0 and below 1",
            ),
            (
                "write.checkpoint_seconds",
                self.write.checkpoint_seconds as f32,
                self.write.checkpoint_seconds >= 0.0,
                "at least 0",
            ),
            ("validate.share", self.validate.share, (0.0..=0.9).contains(&self.validate.share), "0 to 0.9"),
        ];
        if let Some((name, got, _, must)) = real.into_iter().find(|(.., good, _)| !good) {
            return Err(Error::usage(format!("{name} = {got}"), format!("give {must}")));
        }
        if self.model.max_length == Some(0) {
            return Err(Error::usage("model.max_length = 0", "give at least 1 token, or leave it out"));
        }
        self.loss.list()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_toml_and_a_number_out_of_range_is_named() {
        let spec = TrainSpec::default();
        assert_eq!(toml::from_str::<TrainSpec>(&spec.to_toml().unwrap()).unwrap(), spec);
        let broken = |text: &str| toml::from_str::<TrainSpec>(text).unwrap().check().unwrap_err().to_string();
        assert_eq!(broken("[batch]\nsize = 1"), "batch.size = 1");
        assert_eq!(broken("[optimiser]\nrate = -1.0"), "optimiser.rate = -1");
        assert_eq!(broken("[validate]\nshare = 1.0"), "validate.share = 1");
        assert!(broken("[loss]\ntemperature = 0.0").contains("temperature"));
        assert!(toml::from_str::<TrainSpec>("[batch]\nsiez = 1").is_err());
    }
}
