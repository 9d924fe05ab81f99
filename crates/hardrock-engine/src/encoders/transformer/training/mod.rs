//! Training of transformers: the layers of the encoder with a way back.
//!
//! A batch is cut into chunks of whole texts without padding, as in encoding; the cut depends on the batch alone. Chunks
//! go forward side by side. On the way back all chunks of a group pass a layer side by side, then its weights' slopes are
//! summed over the group's tokens in their order: every number is one chain, whatever the number of threads.
//!
//! Activations are kept as long as they fit into [`Options::memory`]; those of the other chunks are computed again when
//! their turn comes, with the same bits. So the size of a batch does not ask for memory, and a small batch pays nothing.

mod adapter;
mod attention;
mod dropout;
mod embeddings;
mod head;
mod layer;
mod linear;
mod norm;
mod optimizer;
mod parameters;
mod passes;
pub(super) mod plan;
mod state;
#[cfg(test)]
mod tests;

use crate::encoders::{Error, Result, Tensors};
use crate::kernel::Isa;

use super::packed::padded;
use super::{Pooling, bert, distilbert, mpnet};
use adapter::Adapter;
use embeddings::Embeddings;
use head::Head;
pub use head::HeadStep;
use layer::Layer;
use linear::{Linear, Row};
use norm::Norm;
pub use optimizer::{AdamW, Fall, Schedule, Stepped, TableRows};
use parameters::{Index, Parameters, Slope};
use plan::{Distances, Plan};
pub use state::State;

/// Which layers adapters go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The four matrices of each attention.
    Attention,
    /// The two matrices of each feed-forward network.
    Feed,
    /// Both.
    Both,
}

/// Low-rank adapters instead of full fine-tuning: everything else stays as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lora {
    /// Columns between the two thin matrices, `>= 1`.
    pub rank: usize,
    /// What they add is multiplied with `alpha / rank`, `> 0`.
    pub alpha: f32,
    /// Where they go.
    pub target: Target,
}

/// How a transformer is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Decides what is dropped out and how a random start looks.
    pub seed: u64,
    /// Share of numbers dropped after the embeddings and after each half of a layer, in `[0, 1)`.
    pub dropout: f32,
    /// Share of attention weights dropped, in `[0, 1)`.
    pub attention_dropout: f32,
    /// Bytes of activations kept between forward and backward; the rest is computed again.
    pub memory: usize,
    /// Adapters; none trains all weights.
    pub lora: Option<Lora>,
    /// The optimiser.
    pub optimizer: AdamW,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            dropout: 0.1,
            attention_dropout: 0.1,
            memory: 1 << 30,
            lora: None,
            optimizer: AdamW::default(),
        }
    }
}

impl Options {
    fn check(&self) -> Result<()> {
        let refuse = |what, got: String, mend| Err(Error::Unsupported { what, got, mend });
        let share = |x: f32| (0.0..1.0).contains(&x);
        let AdamW { beta1, beta2, eps, decay, clip, .. } = self.optimizer;
        if !share(self.dropout) || !share(self.attention_dropout) {
            let got = format!("{} and {}", self.dropout, self.attention_dropout);
            return refuse("a dropout of", got, "give at least 0 and less than 1");
        }
        if !share(beta1) || !share(beta2) {
            return refuse("betas of", format!("{beta1} and {beta2}"), "give at least 0 and less than 1");
        }
        if !(eps > 0.0 && decay >= 0.0 && clip.is_none_or(|clip| clip > 0.0)) {
            let got = format!("{eps}, {decay} and {clip:?}");
            return refuse(
                "an eps, decay and clip of",
                got,
                "eps and clip must be positive, decay not negative",
            );
        }
        match self.lora {
            Some(Lora { rank, alpha, .. }) if rank == 0 || alpha.is_nan() || alpha <= 0.0 => {
                let got = format!("rank {rank} and alpha {alpha}");
                refuse("an adapter of", got, "both must be positive")
            }
            _ => Ok(()),
        }
    }
}

/// A kind of transformer that can be trained, with its configuration.
#[derive(Debug, Clone, Copy)]
pub enum Architecture<'a> {
    /// BERT, RoBERTa and their kin.
    Bert(&'a bert::Config, bert::Places),
    /// DistilBERT.
    DistilBert(&'a distilbert::Config),
    /// MPNet.
    MpNet(&'a mpnet::Config),
}

impl Architecture<'_> {
    fn plan(&self) -> Result<Plan> {
        match *self {
            Self::Bert(config, places) => bert::plan(config, places),
            Self::DistilBert(config) => distilbert::plan(config),
            Self::MpNet(config) => mpnet::plan(config),
        }
    }
}

/// A tensor of a trained model, as its file has it.
#[derive(Debug)]
pub struct Weight<'a> {
    /// 0 for the transformer, 1 … for the dense layers after it.
    pub part: usize,
    /// As in the file it came from.
    pub name: &'a str,
    /// Lengths of the axes.
    pub shape: &'a [usize],
    /// Row-major values, adapters included.
    pub values: std::borrow::Cow<'a, [f32]>,
}

/// A transformer that learns.
pub struct Learner {
    parameters: Parameters,
    embeddings: Embeddings,
    layers: Vec<Layer>,
    /// The table of biases by distance.
    bias: Option<(Index, Distances)>,
    pooling: Pooling,
    head: Head,
    options: Options,
    isa: Isa,
    memory: optimizer::Memory,
    /// Forward passes so far.
    passes: u64,
    batch: passes::Batch,
    store: passes::Store,
}

impl Learner {
    /// A model from its tensors.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Shape`], [`Error::Read`]; [`Error::Unsupported`] for settings of the architecture or
    /// options out of range.
    pub fn load(
        architecture: Architecture<'_>,
        tensors: &dyn Tensors,
        pooling: Pooling,
        head: &[HeadStep<'_>],
        options: Options,
    ) -> Result<Self> {
        Self::build(&architecture.plan()?, tensors, pooling, head, options)
    }

    /// A model drawn at random, of the sizes that its configuration names.
    ///
    /// # Errors
    /// As [`Learner::load`]; [`Error::Unsupported`] where the configuration names no sizes of the tables.
    pub fn random(
        architecture: Architecture<'_>,
        pooling: Pooling,
        head: &[HeadStep<'_>],
        options: Options,
    ) -> Result<Self> {
        let plan = architecture.plan()?;
        let drawn = plan.drawn(options.seed)?;
        Self::build(&plan, &drawn, pooling, head, options)
    }

    fn build(
        plan: &Plan,
        tensors: &dyn Tensors,
        pooling: Pooling,
        head: &[HeadStep<'_>],
        options: Options,
    ) -> Result<Self> {
        options.check()?;
        let (hidden, inner) = (plan.hidden, plan.inner);
        let heads = super::heads(hidden, plan.heads)?;
        let prefix = ["", plan.prefix].into_iter().find(|p| tensors.has(&format!("{p}{}", plan::WORDS)));
        let prefix = prefix.ok_or_else(|| Error::Missing(plan::WORDS.to_owned()))?;
        let mut parameters = Parameters::default();
        let mut take = |name: String, shape: &[Option<usize>]| {
            parameters.take(0, tensors, format!("{prefix}{name}"), shape)
        };
        let norm = |take: &mut Take<'_>, name: &str| {
            // TensorFlow's names live on in some files.
            let old = tensors.has(&format!("{prefix}{name}.gamma"));
            let (gain, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
            Ok::<_, Error>(Norm {
                gain: take(format!("{name}.{gain}"), &[Some(hidden)])?,
                bias: take(format!("{name}.{bias}"), &[Some(hidden)])?,
                eps: plan.eps as f32,
            })
        };
        let table = [None, Some(hidden)];
        let types = plan.types.filter(|name| tensors.has(&format!("{prefix}{name}")));
        let embeddings = Embeddings {
            hidden,
            words: take(plan::WORDS.to_owned(), &table)?,
            places: take(plan::PLACES.to_owned(), &table)?,
            types: types.map(|name| take(name.to_owned(), &table)).transpose()?,
            padding: plan.padding,
            norm: norm(&mut take, plan::NORM)?,
        };
        let bias = match plan.bias {
            Some(distances) => {
                let shape = [Some(distances.buckets), Some(heads.count)];
                Some((take(distances.name.to_owned(), &shape)?, distances))
            }
            None => None,
        };
        let rows = joined(heads.count, heads.dim);
        let mut layers = Vec::new();
        for names in &plan.layers {
            let mut one = |name: &str, outputs, features| -> Result<(Index, Option<Index>)> {
                let weight = take(format!("{name}.weight"), &[Some(outputs), Some(features)])?;
                let bias = format!("{name}.bias");
                let bias = match tensors.has(&format!("{prefix}{bias}")) {
                    true => Some(take(bias, &[Some(outputs)])?),
                    false => None,
                };
                Ok((weight, bias))
            };
            let sides = names.sides.each_ref().map(|name| one(name, hidden, hidden));
            let [query, key, value] = sides;
            let sides = [query?, key?, value?];
            let out = one(&names.out, hidden, hidden)?;
            let up = one(&names.up, inner, hidden)?;
            let down = one(&names.down, hidden, inner)?;
            layers.push(Layer {
                heads: heads.count,
                dim: heads.dim,
                qkv: Linear::new(
                    hidden,
                    rows.clone(),
                    sides.map(|s| s.0).to_vec(),
                    sides.map(|s| s.1).to_vec(),
                ),
                out: Linear::whole(hidden, hidden, out.0, out.1),
                middle: norm(&mut take, &names.middle)?,
                up: Linear::whole(hidden, inner, up.0, up.1),
                down: Linear::whole(inner, hidden, down.0, down.1),
                last: norm(&mut take, &names.last)?,
                activation: plan.activation,
            });
        }
        parameters.by_rows(embeddings.words);
        let head = Head::new(&mut parameters, hidden, head)?;
        let mut model = Self {
            parameters,
            embeddings,
            layers,
            bias,
            pooling,
            head,
            options,
            isa: Isa::best(),
            memory: optimizer::Memory::default(),
            passes: 0,
            batch: passes::Batch::default(),
            store: passes::Store::default(),
        };
        if let Some(lora) = options.lora {
            model.adapt(lora);
        }
        model.refresh();
        Ok(model)
    }

    /// Fixes all weights and gives adapters to those that are asked for.
    fn adapt(&mut self, lora: Lora) {
        for parameter in &mut self.parameters.all {
            parameter.slope = Slope::Fixed;
        }
        let (attention, feed) = (lora.target != Target::Feed, lora.target != Target::Attention);
        for layer in &mut self.layers {
            let Layer { qkv, out, up, down, .. } = layer;
            for (linear, wanted) in [(qkv, attention), (out, attention), (up, feed), (down, feed)] {
                linear.trains = wanted;
                for &weight in linear.weights().iter().filter(|_| wanted) {
                    let parameter = &mut self.parameters.all[weight];
                    if let [rows, columns] = parameter.shape[..] {
                        let (rank, alpha, seed) = (lora.rank, lora.alpha, self.options.seed);
                        parameter.adapter =
                            Some(Adapter::new(rows, columns, rank, alpha, seed, weight as u64));
                    }
                }
            }
        }
    }

    /// Packs the weights as they are now.
    fn refresh(&mut self) {
        let Self { layers, parameters, .. } = self;
        let linears = layers.iter_mut().flat_map(|l| [&mut l.qkv, &mut l.out, &mut l.up, &mut l.down]);
        linear::refresh(linears.collect(), parameters);
    }

    /// Longest text in tokens.
    pub fn longest(&self) -> usize {
        self.embeddings.longest(&self.parameters)
    }

    /// All tensors with what was learnt, in a fixed order.
    pub fn weights(&self) -> impl Iterator<Item = Weight<'_>> {
        self.parameters.all.iter().enumerate().map(|(index, parameter)| Weight {
            part: parameter.part,
            name: &parameter.name,
            shape: &parameter.shape,
            values: self.parameters.effective(index),
        })
    }

    /// The slopes gathered since the last step, by part and name, laid out as the values; those of fixed weights are
    /// empty, those of a matrix with an adapter too.
    pub fn slopes(&mut self) -> Vec<(usize, String, Vec<f32>)> {
        self.collect();
        let one = |parameter: &parameters::Parameter| {
            let slope = match &parameter.slope {
                Slope::Dense(slope) => slope.clone(),
                Slope::Rows(rows) => rows.whole(parameter.values.len()),
                Slope::Fixed => Vec::new(),
            };
            (parameter.part, parameter.name.clone(), slope)
        };
        self.parameters.all.iter().map(one).collect()
    }

    /// Moves the slopes of packed layers to the parameters they are of.
    fn collect(&mut self) {
        let Self { layers, parameters, .. } = self;
        for layer in layers {
            for linear in [&mut layer.qkv, &mut layer.out, &mut layer.up, &mut layer.down] {
                linear.collect(parameters);
            }
        }
    }

    /// Numbers that a step changes.
    pub fn trained(&self) -> usize {
        let count = |parameter: &parameters::Parameter| match (&parameter.adapter, &parameter.slope) {
            (Some(adapter), _) => adapter.a.len() + adapter.b.len(),
            (None, Slope::Fixed) => 0,
            (None, _) => parameter.values.len(),
        };
        self.parameters.all.iter().map(count).sum()
    }

    /// The same model on another instruction set, for tests and measurements.
    #[must_use]
    pub fn on(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }
}

/// Takes a tensor of a name and shape.
type Take<'a> = dyn FnMut(String, &[Option<usize>]) -> Result<Index> + 'a;

/// The outputs of the three sides of an attention, head by head; the scale of the scores and the change to powers of two
/// go into the queries.
fn joined(heads: usize, dim: usize) -> Vec<Option<Row>> {
    let scale = (std::f64::consts::LOG2_E / (dim as f64).sqrt()) as f32;
    let mut rows = Vec::new();
    for head in 0..heads {
        for (part, scale) in [scale, 1.0, 1.0].into_iter().enumerate() {
            rows.extend((0..dim).map(|i| Some(Row { part, row: head * dim + i, scale })));
        }
        rows.resize((head + 1) * padded(3 * dim), None);
    }
    rows
}
