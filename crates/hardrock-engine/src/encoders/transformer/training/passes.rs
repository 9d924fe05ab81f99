//! The two passes over a batch: cut into chunks, forward, and back by groups of chunks.

use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use crate::encoders::{Encoder, Result};
use crate::kernel::TOKENS;
use crate::kernel::lanes::Lanes;

use super::super::packed::{Shape, padded};
use super::dropout::Mask;
use super::layer::{self, Found, Pass};
use super::norm::{Normed, Sums};
use super::{Learner, Stepped, embeddings, head};
use crate::training::Trainable;

/// Tokens of a chunk; one longer text is a chunk of its own.
const CHUNK: usize = 256;

/// Tokens of a group, whose activations are there at once on the way back.
const GROUP: usize = 4096;

/// Whole texts that go through the layers together.
#[derive(Debug)]
struct Chunk {
    texts: Range<usize>,
    /// The texts' places among the chunk's tokens.
    places: Vec<Range<usize>>,
    tokens: usize,
    /// Number of its first token in the batch.
    first: u64,
}

/// What is kept of a chunk.
#[derive(Debug, Default)]
struct Kept {
    first: Normed,
    layers: Vec<layer::Kept>,
}

/// The batch under way.
#[derive(Debug, Default)]
pub(super) struct Batch {
    texts: Vec<Vec<u32>>,
    chunks: Vec<Chunk>,
    /// Activations of the first chunks.
    kept: Vec<Kept>,
    head: Vec<head::Kept>,
    pass: u64,
}

/// Space that is used again.
#[derive(Debug, Default)]
pub(super) struct Store {
    kept: Vec<Kept>,
    found: Vec<Found>,
    slopes: Vec<Vec<Lanes>>,
    spaces: Mutex<Vec<Space>>,
}

/// Space of a thread.
#[derive(Debug, Default)]
struct Space {
    x: Vec<Lanes>,
    layer: layer::Space,
    kept: Kept,
}

impl Store {
    fn with<R>(&self, run: impl FnOnce(&mut Space) -> R) -> R {
        let mut space = self.spaces.lock().ok().and_then(|mut s| s.pop()).unwrap_or_default();
        let answer = run(&mut space);
        if let Ok(mut spaces) = self.spaces.lock() {
            spaces.push(space);
        }
        answer
    }
}

/// Cuts a batch into chunks, in its order.
fn chunks(texts: &[Vec<u32>]) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut first = 0;
    for (text, tokens) in texts.iter().enumerate() {
        let length = tokens.len();
        let full = chunks.last().is_none_or(|chunk| chunk.tokens + length > CHUNK);
        if full {
            chunks.push(Chunk { texts: text..text, places: Vec::new(), tokens: 0, first });
        }
        if let Some(chunk) = chunks.last_mut() {
            chunk.places.push(chunk.tokens..chunk.tokens + length);
            chunk.tokens += length;
            chunk.texts.end = text + 1;
        }
        first += length as u64;
    }
    chunks
}

impl Learner {
    /// Bytes of activations that a chunk keeps.
    fn bytes(&self, chunk: &Chunk) -> usize {
        let hidden = padded(self.embeddings.hidden);
        let per_layer = |l: &super::Layer| l.qkv.outputs() + l.up.outputs() + 3 * hidden;
        let rows = hidden + self.layers.iter().map(per_layer).sum::<usize>();
        Shape::of(chunk.tokens).panels * rows * size_of::<Lanes>()
    }

    fn mask(&self, pass: u64, chunk: &Chunk) -> Mask {
        let super::Options { seed, dropout, attention_dropout, .. } = self.options;
        Mask { seed, pass, first: chunk.first, rate: dropout, attention: attention_dropout }
    }

    /// Biases by distance for a chunk, per head, times log2(e).
    fn biases(&self, chunk: &Chunk) -> Vec<Vec<f32>> {
        let Some((table, distances)) = &self.bias else { return Vec::new() };
        let heads = self.layers.first().map_or(0, |l| l.heads);
        let table = self.parameters.values(*table);
        let one = |head: usize| {
            let at = |bucket: usize| table[bucket * heads + head] * std::f32::consts::LOG2_E;
            self.buckets(chunk, distances).map(at).collect()
        };
        (0..heads).map(one).collect()
    }

    /// The bucket of each distance in a chunk, from its reach down.
    fn buckets(&self, chunk: &Chunk, distances: &super::Distances) -> impl Iterator<Item = usize> + use<> {
        let reach = chunk.places.iter().map(Range::len).max().unwrap_or(0) as isize;
        let (bucket, buckets) = (distances.bucket, distances.buckets);
        (-reach..=reach).rev().map(move |distance| bucket(distance, buckets))
    }

    /// The norm of the embeddings, and what it drops, from what was kept.
    fn first(&self, pass: &Pass<'_>, kept: &Normed, x: &mut Vec<Lanes>) {
        let stride = padded(self.embeddings.hidden);
        x.clear();
        x.resize(kept.x.len(), [0.0; TOKENS]);
        self.embeddings.norm.again(self.isa, &self.parameters, kept, x);
        if let Some(site) = pass.mask.and_then(|mask| mask.site(0, mask.rate, pass.shape.panels)) {
            site.apply(self.isa, self.embeddings.hidden, stride, x);
        }
    }

    /// Takes a chunk through all layers, into `x`; keeps what each layer needs, or only the last one's.
    #[expect(clippy::too_many_arguments, reason = "a chunk, and all the space that it needs")]
    fn run(
        &self,
        texts: &[Vec<u32>],
        chunk: &Chunk,
        mask: Option<&Mask>,
        all: bool,
        kept: &mut Kept,
        x: &mut Vec<Lanes>,
        space: &mut layer::Space,
    ) {
        let shape = Shape::of(chunk.tokens);
        let bias = self.biases(chunk);
        let (isa, parameters) = (self.isa, &self.parameters);
        let pass = Pass { isa, parameters, shape, texts: &chunk.places, bias: &bias, mask };
        x.resize(shape.panels * padded(self.embeddings.hidden), [0.0; TOKENS]);
        self.embeddings.gather(parameters, &texts[chunk.texts.clone()], &chunk.places, x);
        self.embeddings.norm.forward(isa, parameters, x, &mut kept.first);
        self.first(&pass, &kept.first, x);
        kept.layers.resize_with(if all { self.layers.len() } else { 1 }, Default::default);
        for (number, layer) in self.layers.iter().enumerate() {
            let kept = &mut kept.layers[if all { number } else { 0 }];
            layer.forward(&pass, number, x, kept, space);
        }
    }

    fn pool(&self, chunk: &Chunk, x: &[Lanes], rows: &mut [f32]) {
        let hidden = self.embeddings.hidden;
        for (place, row) in chunk.places.iter().zip(rows.chunks_exact_mut(hidden)) {
            self.pooling.pool(x, padded(hidden), place.clone(), row);
        }
    }

    /// The pooled vectors of a batch `[texts][hidden]`; activations of the first `kept.len()` chunks stay in `kept`.
    fn pooled(&self, batch: &Batch, masked: bool, kept: &mut [Kept]) -> Vec<f32> {
        let hidden = self.embeddings.hidden;
        let mut pooled = vec![0.0; batch.texts.len() * hidden];
        let mut rest = &mut pooled[..];
        let mut kept = kept.iter_mut();
        let mut work = Vec::new();
        for chunk in &batch.chunks {
            let (rows, later) = rest.split_at_mut(chunk.texts.len() * hidden);
            work.push((chunk, rows, kept.next()));
            rest = later;
        }
        work.into_par_iter().with_max_len(1).for_each(|(chunk, rows, kept)| {
            let mask = self.mask(batch.pass, chunk);
            let mask = masked.then_some(&mask);
            self.store.with(|space| {
                let Space { x, layer, kept: own } = space;
                match kept {
                    Some(kept) => self.run(&batch.texts, chunk, mask, true, kept, x, layer),
                    None => self.run(&batch.texts, chunk, mask, false, own, x, layer),
                }
                self.pool(chunk, x, rows);
            });
        });
        pooled
    }

    /// The slopes of a group's activations and weights, from those of what was pooled `[texts of the batch][hidden]`.
    fn group(
        &mut self,
        batch: &Batch,
        group: Range<usize>,
        kept: &[Kept],
        pooled: &[f32],
        store: &mut Store,
    ) {
        let hidden = self.embeddings.hidden;
        let chunks = &batch.chunks[group.clone()];
        let Store { found, slopes, spaces, .. } = store;
        let masks: Vec<Mask> = chunks.iter().map(|chunk| self.mask(batch.pass, chunk)).collect();
        let biases: Vec<_> = chunks.iter().map(|chunk| self.biases(chunk)).collect();
        let mut bias_slopes: Vec<Vec<Vec<f32>>> = biases.clone();
        bias_slopes.iter_mut().flatten().for_each(|slope| slope.fill(0.0));
        found.resize_with(chunks.len().max(found.len()), Default::default);
        slopes.resize_with(chunks.len().max(slopes.len()), Default::default);
        let shared = Store { spaces: std::mem::take(spaces), ..Store::default() };

        let model = &*self;
        slopes[..chunks.len()].par_iter_mut().zip(kept).zip(chunks).for_each(|((d, kept), chunk)| {
            let stride = padded(hidden);
            d.clear();
            d.resize(kept.first.x.len(), [0.0; TOKENS]);
            let mut x = Vec::new();
            if let (super::Pooling::Max, Some(layer), Some(kept)) =
                (model.pooling, model.layers.last(), kept.layers.last())
            {
                x.resize(d.len(), [0.0; TOKENS]);
                layer.last.again(model.isa, &model.parameters, &kept.last, &mut x);
            }
            let rows = pooled[chunk.texts.start * hidden..].chunks_exact(hidden);
            for (place, row) in chunk.places.iter().zip(rows) {
                head::unpool(model.pooling, &x, stride, place.clone(), row, d);
            }
        });
        for number in (0..self.layers.len()).rev() {
            let model = &*self;
            let pass = |at: usize| Pass {
                isa: model.isa,
                parameters: &model.parameters,
                shape: Shape::of(chunks[at].tokens),
                texts: &chunks[at].places,
                bias: &biases[at],
                mask: Some(&masks[at]),
            };
            found[..chunks.len()]
                .par_iter_mut()
                .zip(slopes[..chunks.len()].par_iter_mut())
                .zip(bias_slopes.par_iter_mut())
                .zip(kept)
                .enumerate()
                .with_max_len(1)
                .for_each(|(at, (((found, d), bias), kept))| {
                    shared.with(|space| {
                        let pass = pass(at);
                        let Space { x, layer: inner, .. } = space;
                        match number.checked_sub(1) {
                            None => model.first(&pass, &kept.first, x),
                            Some(below) => {
                                x.clear();
                                x.resize(d.len(), [0.0; TOKENS]);
                                let last = &kept.layers[below].last;
                                model.layers[below].last.again(model.isa, &model.parameters, last, x);
                            }
                        }
                        let layer = &model.layers[number];
                        layer.backward(&pass, number, x, &kept.layers[number], d, found, bias, inner);
                    });
                });
            let found = &found[..chunks.len()];
            let Self { layers, parameters, isa, .. } = self;
            let layer = &mut layers[number];
            let pick =
                |side: fn(&Found) -> &super::linear::Operands| found.iter().map(side).collect::<Vec<_>>();
            let (qkv, out) = (pick(|f| &f.qkv), pick(|f| &f.out));
            let (up, down) = (pick(|f| &f.up), pick(|f| &f.down));
            let mut tasks = layer.down.tasks(&down);
            tasks.extend(layer.up.tasks(&up));
            tasks.extend(layer.qkv.tasks(&qkv));
            tasks.extend(layer.out.tasks(&out));
            tasks.into_par_iter().with_max_len(1).for_each(|task| task.run(*isa));
            for found in found {
                layer.middle.collect(parameters, &found.middle);
                layer.last.collect(parameters, &found.last);
            }
        }
        *spaces = shared.spaces;
        self.embedding_slopes(batch, chunks, kept, &masks, &mut slopes[..chunks.len()]);
        self.bias_slopes(chunks, &bias_slopes);
    }

    /// Adds the slopes of the tables and their norm.
    fn embedding_slopes(
        &mut self,
        batch: &Batch,
        chunks: &[Chunk],
        kept: &[Kept],
        masks: &[Mask],
        slopes: &mut [Vec<Lanes>],
    ) {
        if !self.parameters.trains(self.embeddings.words) {
            return;
        }
        let (model, hidden) = (&*self, self.embeddings.hidden);
        let work = slopes.par_iter_mut().zip(kept).zip(chunks.par_iter().zip(masks));
        let rows: Vec<(Vec<f32>, Sums)> = work
            .map(|((d, kept), (chunk, mask))| {
                let mut sums = Sums::new();
                let panels = Shape::of(chunk.tokens).panels;
                if let Some(site) = mask.site(0, mask.rate, panels) {
                    site.apply(model.isa, hidden, padded(hidden), d);
                }
                model.embeddings.norm.backward(model.isa, &model.parameters, &kept.first, d, &mut sums);
                (embeddings::rows(d, hidden, chunk.tokens), sums)
            })
            .collect();
        let Self { embeddings, parameters, .. } = self;
        for (chunk, (rows, sums)) in chunks.iter().zip(rows) {
            embeddings.scatter(parameters, &batch.texts[chunk.texts.clone()], &rows);
            embeddings.norm.collect(parameters, &sums);
        }
    }

    /// Adds the slopes of the biases by distance to their table's.
    fn bias_slopes(&mut self, chunks: &[Chunk], slopes: &[Vec<Vec<f32>>]) {
        let Some((table, distances)) = self.bias else { return };
        let heads = self.layers.first().map_or(0, |l| l.heads);
        for (chunk, slopes) in chunks.iter().zip(slopes) {
            let buckets: Vec<usize> = self.buckets(chunk, &distances).collect();
            let Some(to) = self.parameters.slope_mut(table) else { return };
            for (head, slopes) in slopes.iter().enumerate() {
                for (&bucket, slope) in buckets.iter().zip(slopes) {
                    to[bucket * heads + head] += slope;
                }
            }
        }
    }

    /// As [`Trainable::step`]; says how long the slopes were.
    pub fn stepped(&mut self, rate: f32) -> Stepped {
        self.collect();
        self.parameters.all.iter_mut().filter_map(|p| p.adapter.as_mut()).for_each(super::Adapter::collect);
        let stepped = self.memory.step(self.options.optimizer, &mut self.parameters, rate);
        self.parameters.clear_slopes();
        self.refresh();
        stepped
    }

    fn prepare(&self, texts: &[&[u32]], pass: u64) -> Result<Batch> {
        texts.iter().try_for_each(|text| self.embeddings.check(&self.parameters, text))?;
        let texts: Vec<Vec<u32>> = texts.iter().map(|text| text.to_vec()).collect();
        Ok(Batch { chunks: chunks(&texts), texts, pass, ..Batch::default() })
    }
}

impl Encoder for Learner {
    fn dim(&self) -> usize {
        self.head.dim
    }

    fn encode(&self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        assert!(out.len() == texts.len() * self.head.dim, "a vector for each text");
        let batch = self.prepare(texts, 0)?;
        let pooled = self.pooled(&batch, false, &mut []);
        out.copy_from_slice(&self.head.forward(self.isa, &self.parameters, pooled).0);
        Ok(())
    }
}

impl Trainable for Learner {
    fn forward(&mut self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        assert!(out.len() == texts.len() * self.head.dim, "a vector for each text");
        let old = std::mem::take(&mut self.batch);
        self.store.kept.extend(old.kept);
        let mut batch = self.prepare(texts, self.passes)?;
        self.passes += 1;
        let mut left = self.options.memory;
        let fits = |chunk: &&Chunk| match left.checked_sub(self.bytes(chunk)) {
            Some(less) => {
                left = less;
                true
            }
            None => false,
        };
        let count = batch.chunks.iter().take_while(fits).count();
        let mut kept: Vec<Kept> = Vec::with_capacity(count);
        kept.resize_with(count, || self.store.kept.pop().unwrap_or_default());
        let pooled = self.pooled(&batch, true, &mut kept);
        batch.kept = kept;
        let (vectors, head) = self.head.forward(self.isa, &self.parameters, pooled);
        batch.head = head;
        out.copy_from_slice(&vectors);
        self.batch = batch;
        Ok(())
    }

    fn backward(&mut self, slope: &[f32]) {
        let mut batch = std::mem::take(&mut self.batch);
        assert!(slope.len() == batch.texts.len() * self.head.dim, "a slope for each number of the batch");
        let pooled = self.head.backward(&mut self.parameters, &batch.head, slope.to_vec());
        let mut store = std::mem::take(&mut self.store);
        let mut first = 0;
        let mut kept = std::mem::take(&mut batch.kept).into_iter();
        while first < batch.chunks.len() {
            let mut tokens = 0;
            let fits = |chunk: &&Chunk| {
                tokens += chunk.tokens;
                tokens <= GROUP
            };
            let count = batch.chunks[first..].iter().take_while(fits).count().max(1);
            let mut own: Vec<Kept> = kept.by_ref().take(count).collect();
            let again = own.len();
            own.resize_with(count, || store.kept.pop().unwrap_or_default());
            let (model, chunks) = (&*self, &batch.chunks[first + again..first + count]);
            own[again..].par_iter_mut().zip(chunks).with_max_len(1).for_each(|(kept, chunk)| {
                let mask = model.mask(batch.pass, chunk);
                store.with(|space| {
                    let Space { x, layer, .. } = space;
                    model.run(&batch.texts, chunk, Some(&mask), true, kept, x, layer);
                });
            });
            self.group(&batch, first..first + count, &own, &pooled, &mut store);
            store.kept.extend(own);
            first += count;
        }
        self.store = store;
    }

    fn step(&mut self, rate: f32) {
        self.stepped(rate);
    }

    fn dim(&self) -> usize {
        self.head.dim
    }
}
