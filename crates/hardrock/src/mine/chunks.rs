//! Proposals and judged blocks as chunks on disk.

use hardrock_core::{AnchorId, BlockBuilder, ItemId, NewRow, Proposal, Reason, Signal, Verdict, Verdicts};
use hardrock_engine::index::Neighbours;

use super::judge::Judged;
use crate::candidates::Selection;
use crate::store::{Array, Stage};
use crate::{Error, Result};

/// Stands for "no item" and "no verdict" in a file.
const NONE: u32 = u32::MAX;
const LIVE: u8 = u8::MAX;

/// Stores a source's answer.
pub(super) fn save_proposals(stage: &Stage, chunk: usize, found: &Neighbours) -> Result<()> {
    let lengths: Vec<u32> = found.starts.windows(2).map(|w| (w[1] - w[0]) as u32).collect();
    stage.save(
        chunk,
        &[
            ("lengths", Array::from(&lengths[..])),
            ("items", Array::from(&found.items[..])),
            ("scores", Array::from(&found.scores[..])),
        ],
    )
}

/// Reads a source's answer back; `None` when it is missing or damaged.
pub(super) fn load_proposals(stage: &Stage, chunk: usize) -> Result<Option<Neighbours>> {
    let Some(arrays) = stage.load(chunk)? else { return Ok(None) };
    Ok(Some(Neighbours {
        starts: starts(&arrays.u32s("lengths")?),
        items: arrays.u32s("items")?,
        scores: arrays.f32s("scores")?,
    }))
}

fn starts(lengths: &[u32]) -> Vec<usize> {
    let mut starts = vec![0];
    starts.extend(lengths.iter().scan(0, |sum, &n| {
        *sum += n as usize;
        Some(*sum)
    }));
    starts
}

/// The arrays of one judged chunk, blocks one after another.
#[derive(Default)]
struct Columns {
    blocks: Vec<u32>,
    anchors: Vec<u32>,
    cells: Vec<u32>,
    positive_counts: Vec<u32>,
    chosen_counts: Vec<u32>,
    filled_counts: Vec<u32>,
    items: Vec<u32>,
    scores: Vec<f32>,
    source_scores: Vec<f32>,
    source_ranks: Vec<u32>,
    reasons: Vec<u8>,
    values: Vec<f32>,
    thresholds: Vec<f32>,
    against: Vec<u32>,
    positives: Vec<u32>,
    positive_scores: Vec<f32>,
    chosen: Vec<u32>,
    filled: Vec<u32>,
    /// Names in order, and each block's signals one after another.
    names: Vec<String>,
    signals: Vec<f32>,
}

impl Columns {
    fn push(&mut self, judged: &Judged) {
        let block = &judged.block;
        self.blocks.push(block.rows() as u32);
        self.names = block.signals().iter().map(|s| s.name.clone()).collect();
        block.signals().iter().for_each(|s| self.signals.extend(&s.values));
        for (r, row) in block.iter().enumerate() {
            self.anchors.push(row.anchor().0);
            self.cells.push(row.len() as u32);
            self.items.extend(row.items().iter().map(|i| i.0));
            self.scores.extend(row.scores());
            for cell in 0..row.len() {
                for evidence in block.evidence() {
                    self.source_scores.push(row.source_scores(evidence)[cell]);
                    self.source_ranks.push(row.source_ranks(evidence)[cell]);
                }
            }
            for verdict in row.verdicts() {
                let v = verdict.as_ref();
                self.reasons.push(v.map_or(LIVE, |v| v.reason as u8));
                self.values.push(v.map_or(0.0, |v| v.value));
                self.thresholds.push(v.map_or(0.0, |v| v.threshold));
                self.against.push(v.and_then(|v| v.against).map_or(NONE, |i| i.0));
            }
            self.positive_counts.push(row.positives().len() as u32);
            self.positives.extend(row.positives().iter().map(|i| i.0));
            self.positive_scores.extend(row.positive_scores());
            let chosen = judged.selection.row(r);
            self.chosen_counts.push(chosen.len() as u32);
            self.chosen.extend(chosen.iter().map(|&p| p as u32));
            self.filled_counts.push(judged.filled[r].len() as u32);
            self.filled.extend(judged.filled[r].iter().map(|i| i.0));
        }
    }
}

/// Stores judged blocks.
pub(super) fn save_judged(stage: &Stage, chunk: usize, blocks: &[Judged]) -> Result<()> {
    let mut c = Columns::default();
    blocks.iter().for_each(|b| c.push(b));
    let names = c.names.join("\n");
    stage.save(
        chunk,
        &[
            ("blocks", Array::from(&c.blocks[..])),
            ("anchors", Array::from(&c.anchors[..])),
            ("cells", Array::from(&c.cells[..])),
            ("positive_counts", Array::from(&c.positive_counts[..])),
            ("chosen_counts", Array::from(&c.chosen_counts[..])),
            ("filled_counts", Array::from(&c.filled_counts[..])),
            ("items", Array::from(&c.items[..])),
            ("scores", Array::from(&c.scores[..])),
            ("source_scores", Array::from(&c.source_scores[..])),
            ("source_ranks", Array::from(&c.source_ranks[..])),
            ("reasons", Array::from(&c.reasons[..])),
            ("values", Array::from(&c.values[..])),
            ("thresholds", Array::from(&c.thresholds[..])),
            ("against", Array::from(&c.against[..])),
            ("positives", Array::from(&c.positives[..])),
            ("positive_scores", Array::from(&c.positive_scores[..])),
            ("chosen", Array::from(&c.chosen[..])),
            ("filled", Array::from(&c.filled[..])),
            ("signal_names", Array::from(names.as_bytes())),
            ("signals", Array::from(&c.signals[..])),
        ],
    )
}

/// Reads judged blocks back; `None` when the chunk is missing or damaged.
pub(super) fn load_judged(stage: &Stage, chunk: usize, sources: &[String]) -> Result<Option<Vec<Judged>>> {
    let Some(a) = stage.load(chunk)? else { return Ok(None) };
    let mut cells = Cursor::new(a.u32s("items")?, &a.u32s("cells")?);
    let (scores, reasons) = (a.f32s("scores")?, a.u8s("reasons")?);
    let (values, thresholds, against) = (a.f32s("values")?, a.f32s("thresholds")?, a.u32s("against")?);
    let (source_scores, source_ranks) = (a.f32s("source_scores")?, a.u32s("source_ranks")?);
    let mut positives = Cursor::new(a.u32s("positives")?, &a.u32s("positive_counts")?);
    let positive_scores = a.f32s("positive_scores")?;
    let mut chosen = Cursor::new(a.u32s("chosen")?, &a.u32s("chosen_counts")?);
    let mut filled = Cursor::new(a.u32s("filled")?, &a.u32s("filled_counts")?);
    let anchors = a.u32s("anchors")?;
    let mut anchors = anchors.iter();
    let names = String::from_utf8_lossy(&a.u8s("signal_names")?).into_owned();
    let names: Vec<&str> = names.lines().collect();
    let all_signals = a.f32s("signals")?;
    let mut signals = all_signals.as_slice();
    let mut out = Vec::new();
    for rows in a.u32s("blocks")? {
        let mut builder = BlockBuilder::new(sources.iter().map(String::as_str));
        let mut selection = Selection { starts: vec![0], positions: Vec::new() };
        let (mut fills, mut verdicts) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let short = || Error::usage("a judged chunk is cut short", "remove the work folder");
            let anchor = AnchorId(*anchors.next().ok_or_else(short)?);
            let (items, at) = cells.next();
            let (positive, positive_at) = positives.next();
            let width = sources.len();
            let proposals: Vec<Proposal> = (at.start * width..at.end * width)
                .map(|i| Proposal { score: source_scores[i], rank: source_ranks[i] })
                .collect();
            builder.push_row(&NewRow {
                anchor,
                items: &items,
                scores: &scores[at.clone()],
                proposals: &proposals,
                positives: &positive,
                positive_scores: &positive_scores[positive_at],
            })?;
            verdicts.push(at);
            selection.positions.extend(chosen.next().0.iter().map(|i| i.0 as usize));
            selection.starts.push(selection.positions.len());
            fills.push(filled.next().0);
        }
        let mut block = builder.finish();
        let mut sink = Verdicts::default();
        for (row, at) in block.iter().zip(verdicts) {
            for (position, cell) in at.enumerate() {
                let Some(&reason) = Reason::ALL.get(reasons[cell] as usize) else { continue };
                let (value, threshold) = (values[cell], thresholds[cell]);
                let against = (against[cell] != NONE).then_some(ItemId(against[cell]));
                sink.drop(&row, position, Verdict { reason, value, threshold, against });
            }
        }
        block.apply(sink);
        let mut named = Vec::with_capacity(names.len());
        for name in &names {
            let short = || Error::usage("a judged chunk is cut short", "remove the work folder");
            let (values, rest) = signals.split_at_checked(block.cells()).ok_or_else(short)?;
            signals = rest;
            named.push(Signal { name: (*name).to_owned(), values: values.to_vec() });
        }
        block.set_signals(named)?;
        out.push(Judged { block, selection, filled: fills });
    }
    Ok(Some(out))
}

/// Walks a ragged array row by row.
struct Cursor {
    values: Vec<u32>,
    starts: Vec<usize>,
    row: usize,
}

impl Cursor {
    fn new(values: Vec<u32>, lengths: &[u32]) -> Self {
        Self { values, starts: starts(lengths), row: 0 }
    }

    /// The next row's items and where they lie.
    fn next(&mut self) -> (Vec<ItemId>, std::ops::Range<usize>) {
        let range = self.starts[self.row]..self.starts[self.row + 1];
        self.row += 1;
        (self.values[range.clone()].iter().map(|&i| ItemId(i)).collect(), range)
    }
}
