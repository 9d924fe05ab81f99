//! Approximate top-k search of many anchors at once: clusters choose which documents an anchor is compared with.
//!
//! ## How it runs
//! Documents lie in the order of their clusters. Anchors are sorted by their nearest clusters, so that the twelve of a
//! panel want much the same; a panel is compared with the documents in the nearest clusters of any of its anchors, by
//! the tiles of exact search (8-bit codes where they pay). Everything that is compared has its exact score.
//!
//! ## What is promised
//! How many clusters are looked at is chosen on a sample of panels, with their exact neighbours, so that the recall
//! reaches the target with 95 % confidence; [`Join::recall`] then measures it on other anchors. An anchor's hits
//! depend on the anchors that are searched for with it, on nothing else: not on threads, memory or instruction set.

use std::ops::Range;

use rayon::prelude::*;

use super::Neighbours;
use super::flat::{Flat, Streaming, Watch, Way};
use super::flat_eight::Coded;
use super::hits::{Hits, HitsGroup};
use super::kmeans::{self, Members};
use super::rows::{Error, Matrix, Result, Rows};
use super::{flat_eight, flat_f32};
use crate::kernel::{ANCHORS, Best, DOCUMENTS, Panels};

/// Clusters for each document, under the root.
const CLUSTERS_PER_ROOT: f64 = 4.0;

/// Documents below which a cluster is not worth its own panel.
const LEAST: usize = 4 * DOCUMENTS;

/// Panels of anchors that a task takes through their documents.
const PANELS: usize = 64;

/// Panels of anchors that the number of clusters is chosen on.
const SAMPLE: usize = 24;

/// Documents in clusters; as [`Rows`] they come cluster by cluster.
pub struct Clusters<'a> {
    documents: &'a dyn Rows,
    centres: Matrix,
    members: Members,
}

impl<'a> Clusters<'a> {
    /// Finds about 4 √n clusters.
    ///
    /// # Errors
    /// [`Error::Parameter`] for no columns or too many documents, [`Error::Read`], [`Error::Cancelled`].
    pub fn new(documents: &'a dyn Rows, seed: u64, watch: Watch<'_>) -> Result<Self> {
        let count = documents.len();
        let wanted = (CLUSTERS_PER_ROOT * (count as f64).sqrt()) as usize;
        let clusters = wanted.min(count / LEAST).max(1);
        let centres = match count {
            0 => Matrix::new(vec![0.0; documents.dim()], documents.dim())?,
            _ => kmeans::centres(documents, clusters, seed, watch)?,
        };
        let nearest = kmeans::nearest(documents, &centres, 1, watch)?;
        let members = Members::new(&nearest, centres.len());
        Ok(Self { documents, centres, members })
    }

    /// Number of clusters.
    pub fn count(&self) -> usize {
        self.centres.len()
    }

    /// The cluster of the document at a place in the clusters' order.
    fn cluster(&self, place: usize) -> usize {
        self.members.starts.partition_point(|&start| start <= place) - 1
    }

    /// Panels of documents that hold a cluster.
    fn panels(&self, cluster: usize) -> Range<usize> {
        let (from, to) = (self.members.starts[cluster], self.members.starts[cluster + 1]);
        if from == to { 0..0 } else { from / DOCUMENTS..to.div_ceil(DOCUMENTS) }
    }
}

impl Rows for Clusters<'_> {
    fn len(&self) -> usize {
        self.documents.len()
    }

    fn dim(&self) -> usize {
        self.documents.dim()
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let rows = &self.members.rows[start..start + out.len() / self.dim()];
        for (&row, out) in rows.iter().zip(out.chunks_mut(self.dim())) {
            self.documents.read(row as usize, out)?;
        }
        Ok(())
    }
}

/// A share with the interval that covers it with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recall {
    /// Mean over the anchors.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Anchors.
    pub anchors: usize,
}

impl Recall {
    /// How much of `exact` is in `found`, row by row: the share of exact hits whose score the found ones reach (of equal
    /// scores one is as good as the other).
    pub fn of(found: &Neighbours, exact: &Neighbours) -> Self {
        let share = |row: usize| {
            let ((_, found), (_, exact)) = (found.row(row), exact.row(row));
            let bar = exact.last().copied().unwrap_or(f32::INFINITY);
            let hits = found.iter().filter(|&&s| s >= bar).count().min(exact.len());
            if exact.is_empty() { 1.0 } else { hits as f64 / exact.len() as f64 }
        };
        Self::mean((0..exact.len().min(found.len())).map(share), 1.96)
    }

    /// Mean and the interval of `z` standard errors.
    fn mean(shares: impl Iterator<Item = f64> + Clone, z: f64) -> Self {
        let n = shares.clone().count();
        let mean = shares.clone().sum::<f64>() / n.max(1) as f64;
        let squares: f64 = shares.map(|s| (s - mean) * (s - mean)).sum();
        let error = z * (squares / (n.max(2) - 1) as f64 / n.max(1) as f64).sqrt();
        Self { mean, low: (mean - error).max(0.0), high: (mean + error).min(1.0), anchors: n }
    }
}

/// Clusters made ready to be searched.
pub struct Join<'a> {
    clusters: &'a Clusters<'a>,
    flat: Flat<'a>,
    watch: Watch<'a>,
}

/// Anchors in the order in which they are searched for.
struct Routes {
    /// Numbers of the anchors, from the start of their range.
    order: Vec<u32>,
    /// Nearest clusters of each anchor, `[anchors][depth]`.
    near: Vec<u32>,
    depth: usize,
}

impl Routes {
    fn of(&self, anchor: u32) -> &[u32] {
        &self.near[anchor as usize * self.depth..][..self.depth]
    }
}

/// Rows of a range in another order.
struct Picked<'a> {
    rows: &'a dyn Rows,
    start: usize,
    picks: &'a [u32],
}

impl Rows for Picked<'_> {
    fn len(&self) -> usize {
        self.picks.len()
    }

    fn dim(&self) -> usize {
        self.rows.dim()
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        for (&pick, out) in self.picks[start..].iter().zip(out.chunks_mut(self.dim())) {
            self.rows.read(self.start + pick as usize, out)?;
        }
        Ok(())
    }
}

impl<'a> Join<'a> {
    /// `budget` in bytes bounds the documents in memory, as for [`Flat::new`].
    ///
    /// # Errors
    /// Those of [`Flat::new`].
    pub fn new(clusters: &'a Clusters<'a>, budget: usize, watch: Watch<'a>) -> Result<Self> {
        Ok(Self { clusters, flat: Flat::new(clusters, budget, watch)?, watch })
    }

    /// The least number of clusters per anchor with which the recall of the best `k` reaches `target` (in (0, 1]) with
    /// 95 % confidence, judged by a sample of `range`.
    ///
    /// # Errors
    /// Those of [`Flat::search`]; [`Error::Parameter`] for another target.
    pub fn probes(&self, anchors: &dyn Rows, range: Range<usize>, k: usize, target: f64) -> Result<usize> {
        if !(target > 0.0 && target <= 1.0) {
            let (what, must) = ("target recall, in hundredths,", "above 0 and at most 100");
            return Err(Error::Parameter { what, must, got: (target * 100.0) as usize });
        }
        let clusters = self.clusters.count();
        if target == 1.0 || clusters == 1 || range.is_empty() {
            return Ok(clusters);
        }
        let routes = self.routes(anchors, range.clone(), 2)?;
        let panels = routes.order.len().div_ceil(ANCHORS);
        let picked: Vec<&[u32]> = (0..SAMPLE.min(panels))
            .filter_map(|i| routes.order.chunks(ANCHORS).nth(i * panels / SAMPLE.min(panels)))
            .collect();
        let picks = picked.concat();
        let sample = Picked { rows: anchors, start: range.start, picks: &picks };
        let exact = self.flat.search(&sample, 0..picks.len(), k)?;
        let near = kmeans::nearest(&sample, &self.clusters.centres, clusters, self.watch)?;
        // Place of each exact hit's cluster in the nearest list of any anchor of its panel.
        let mut shares: Vec<Vec<usize>> = Vec::new();
        let mut first = 0;
        for panel in picked {
            let mut place = vec![clusters; clusters];
            for near in near[first * clusters..(first + panel.len()) * clusters].chunks(clusters) {
                near.iter().enumerate().for_each(|(at, &c)| place[c as usize] = at.min(place[c as usize]));
            }
            for row in first..first + panel.len() {
                let hits = exact.row(row).0;
                shares.push(hits.iter().map(|&h| place[self.clusters.cluster(h as usize)]).collect());
            }
            first += panel.len();
        }
        let recall = |probes: usize| {
            let share = move |places: &Vec<usize>| {
                let found = places.iter().filter(|&&p| p < probes).count();
                if places.is_empty() { 1.0 } else { found as f64 / places.len() as f64 }
            };
            Recall::mean(shares.iter().map(share), 1.645)
        };
        // Recall only grows with the probes.
        let (mut low, mut high) = (1, clusters);
        while low < high {
            let middle = (low + high) / 2;
            if recall(middle).low >= target {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(high)
    }

    /// The best `k` documents of each anchor of `range` among those of the `probes` nearest clusters, on the current rayon
    /// pool. Answers also the share of all pairs that were compared.
    ///
    /// # Errors
    /// Those of [`Flat::search`].
    pub fn search(
        &self,
        anchors: &dyn Rows,
        range: Range<usize>,
        k: usize,
        probes: usize,
    ) -> Result<(Neighbours, f64)> {
        let keep = k.min(self.flat.len());
        let pairs = (range.len() * self.flat.len()) as f64;
        if keep == 0 || range.is_empty() || probes >= self.clusters.count() {
            return Ok((self.exact(anchors, range, k)?, 1.0));
        }
        let way = self.flat.ready(anchors, range.clone(), keep)?;
        let routes = self.routes(anchors, range.clone(), probes.max(2))?;
        let Some(mut hits) = Hits::new(range.len(), keep) else {
            return Err(Error::Parameter { what: "k", must: "small enough to hold the hits", got: k });
        };
        let rows = Picked { rows: anchors, start: range.start, picks: &routes.order };
        let compared = match &*way {
            Way::Coded(coded) if coded.suits(keep) => {
                let task = |(out, tiles): (HitsGroup<'_>, &Tiles)| self.coded(coded, &rows, tiles, out);
                self.tasks(&routes, probes, 0..range.len(), &mut hits, task)?
            }
            Way::Packed(documents) => {
                let task = |(out, tiles): (HitsGroup<'_>, &Tiles)| {
                    let mut group = self.f32_group(&rows, tiles, keep)?;
                    self.f32_scan(&mut group, documents, 0, &tiles.pairs)?;
                    group.finish(out);
                    Ok(())
                };
                self.tasks(&routes, probes, 0..range.len(), &mut hits, task)?
            }
            Way::Coded(_) | Way::Streamed => self.streamed(&routes, probes, &rows, &mut hits)?,
        };
        Ok((self.in_order(&hits.close(), &routes.order), compared as f64 / pairs))
    }

    /// Exact search of the same documents.
    ///
    /// # Errors
    /// Those of [`Flat::search`].
    pub fn exact(&self, anchors: &dyn Rows, range: Range<usize>, k: usize) -> Result<Neighbours> {
        let order: Vec<u32> = (0..range.len() as u32).collect();
        Ok(self.in_order(&self.flat.search(anchors, range, k)?, &order))
    }

    /// How the documents lie in memory, in words; empty before the first search.
    pub fn way(&self) -> String {
        self.flat.way()
    }

    fn routes(&self, anchors: &dyn Rows, range: Range<usize>, depth: usize) -> Result<Routes> {
        let all: Vec<u32> = (0..range.len() as u32).collect();
        let rows = Picked { rows: anchors, start: range.start, picks: &all };
        let depth = depth.min(self.clusters.count());
        let near = kmeans::nearest(&rows, &self.clusters.centres, depth, self.watch)?;
        let mut routes = Routes { order: Vec::new(), near, depth };
        let mut order = all;
        let key = |a: u32| {
            let near = routes.of(a);
            (near.first().copied(), near.get(1).copied(), a)
        };
        order.par_sort_unstable_by_key(|&a| key(a));
        routes.order = order;
        Ok(routes)
    }

    /// For each panel of documents that some panel of the anchors wants: both numbers, ascending, each pair once.
    fn seen(&self, routes: &Routes, picks: &[u32], probes: usize) -> Vec<(u32, u32)> {
        let mut pairs = Vec::new();
        let mut wanted: Vec<u32> = Vec::new();
        for (p, panel) in picks.chunks(ANCHORS).enumerate() {
            wanted.clear();
            wanted.extend(panel.iter().flat_map(|&a| routes.of(a).iter().take(probes)));
            wanted.sort_unstable();
            wanted.dedup();
            for &cluster in &wanted {
                pairs.extend(self.clusters.panels(cluster as usize).map(|d| (d as u32, p as u32)));
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    /// What the groups among `part` of the sorted anchors are compared with.
    fn tiles(&self, routes: &Routes, probes: usize, part: Range<usize>) -> Vec<Tiles> {
        let groups = part.into_par_iter().step_by(PANELS * ANCHORS);
        let tiles = |first: usize| {
            let rows = first..routes.order.len().min(first + PANELS * ANCHORS);
            Tiles { pairs: self.seen(routes, &routes.order[rows.clone()], probes), rows }
        };
        groups.map(tiles).collect()
    }

    /// Runs `task` for every group; answers the pairs compared.
    fn tasks(
        &self,
        routes: &Routes,
        probes: usize,
        part: Range<usize>,
        hits: &mut Hits,
        task: impl Fn((HitsGroup<'_>, &Tiles)) -> Result<()> + Sync + Send,
    ) -> Result<usize> {
        let tiles = self.tiles(routes, probes, part.clone());
        hits.part(part).groups(PANELS * ANCHORS).zip(&tiles).try_for_each(task)?;
        Ok(tiles.iter().map(Tiles::compared).sum())
    }

    /// Documents chunk by chunk; a batch of anchors sees each chunk before it goes.
    fn streamed(&self, routes: &Routes, probes: usize, rows: &Picked<'_>, hits: &mut Hits) -> Result<usize> {
        let (dim, keep, count) = (rows.dim(), hits.keep, self.flat.len());
        let size = PANELS * ANCHORS;
        let per_anchor = dim * 4 + Best::bytes(keep, count);
        let streaming = Streaming::new(self.flat.budget(), dim, per_anchor, size);
        let (chunk, batch) = (streaming.documents, streaming.anchors);
        let mut compared = 0;
        for start in (0..rows.len()).step_by(batch) {
            let part = start..rows.len().min(start + batch);
            let tiles = self.tiles(routes, probes, part.clone());
            let mut groups: Vec<flat_f32::Group> =
                tiles.par_iter().map(|t| self.f32_group(rows, t, keep)).collect::<Result<_>>()?;
            streaming.run(self.clusters, self.watch, |first, panels| {
                let within = |t: &Tiles| {
                    let at = |row: usize| t.pairs.partition_point(|&(d, _)| (d as usize) < row / DOCUMENTS);
                    at(first)..at(first + chunk)
                };
                groups.par_iter_mut().zip(&tiles).with_max_len(1).try_for_each(|(group, tiles)| {
                    self.f32_scan(group, panels, first, &tiles.pairs[within(tiles)])
                })
            })?;
            compared += tiles.iter().map(Tiles::compared).sum::<usize>();
            hits.part(part).groups(size).zip(&mut groups).for_each(|(out, group)| group.finish(out));
        }
        Ok(compared)
    }

    fn f32_group(&self, rows: &Picked<'_>, tiles: &Tiles, keep: usize) -> Result<flat_f32::Group> {
        let read = |at: usize, out: &mut [f32]| rows.read(tiles.rows.start + at, out);
        flat_f32::Group::new(tiles.rows.len(), rows.dim(), keep, self.flat.len(), read)
    }

    /// Takes a group through `pairs`, whose documents are in `documents` from row `first` on.
    fn f32_scan(
        &self,
        group: &mut flat_f32::Group,
        documents: &Panels,
        first: usize,
        pairs: &[(u32, u32)],
    ) -> Result<()> {
        let mut space = flat_f32::Space::default();
        let flat_f32::Group { panels, found } = group;
        for_tiles(pairs, first / DOCUMENTS, panels, documents, self.watch, |p, d, ahead| {
            found.step(self.flat.isa(), (panels, p), (documents, d), first as u32, ahead, &mut space);
        })
    }

    fn coded(&self, coded: &Coded, rows: &Picked<'_>, tiles: &Tiles, out: HitsGroup<'_>) -> Result<()> {
        let mut values = vec![0.0; tiles.rows.len() * rows.dim()];
        rows.read(tiles.rows.start, &mut values)?;
        let mut group = coded.group(values, out.keep);
        let mut space = flat_eight::Scan::default();
        let flat_eight::Group { panels, found, .. } = &mut group;
        for_tiles(&tiles.pairs, 0, panels, coded.panels(), self.watch, |p, d, ahead| {
            coded.step((panels, p), found, d, ahead, &mut space);
        })?;
        coded.close(&mut group);
        coded.finish(&group, self.clusters, self.flat.isa(), self.watch, out)
    }

    /// Rows of `found`, which are in the order of `order` and name places, by anchor and naming documents.
    fn in_order(&self, found: &Neighbours, order: &[u32]) -> Neighbours {
        let mut rows = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &anchor)| rows[anchor as usize] = at);
        let mut out = Neighbours::default();
        out.starts.push(0);
        let mut hits: Vec<(u32, f32)> = Vec::new();
        for row in rows {
            let (items, scores) = found.row(row);
            let document = |&place: &u32| self.clusters.members.rows[place as usize];
            hits.clear();
            hits.extend(items.iter().map(document).zip(scores.iter().copied()));
            hits.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            out.items.extend(hits.iter().map(|h| h.0));
            out.scores.extend(hits.iter().map(|h| h.1));
            out.starts.push(out.items.len());
        }
        out
    }
}

/// What a group of anchors is compared with.
struct Tiles {
    /// The anchors, by their places in the sorted order.
    rows: Range<usize>,
    /// Panels of documents and of the group's anchors, ascending.
    pairs: Vec<(u32, u32)>,
}

impl Tiles {
    fn compared(&self) -> usize {
        self.pairs.len() * ANCHORS * DOCUMENTS
    }
}

/// Calls `step` for every pair of panels, documents outermost, with memory of the next ones to fetch; `documents` begins
/// with panel `first`.
fn for_tiles<T: Copy + Default>(
    seen: &[(u32, u32)],
    first: usize,
    anchors: &Panels<T>,
    documents: &Panels<T>,
    watch: Watch<'_>,
    mut step: impl FnMut(usize, usize, [&[T]; 2]),
) -> Result<()> {
    for (at, same) in chunked(seen) {
        watch.check()?;
        let next =
            seen.get(at + same.len()).map_or(0..0, |&(d, _)| d as usize - first..d as usize - first + 1);
        let mut coming = flat_f32::parts(documents.span(next), same.len());
        for (i, &(d, p)) in same.iter().enumerate() {
            let after = same.get(i + 1).map(|&(_, p)| anchors.panel(p as usize));
            step(
                p as usize,
                d as usize - first,
                [after.unwrap_or_default(), coming.next().unwrap_or_default()],
            );
        }
        watch.scored(same.len() * ANCHORS * DOCUMENTS);
    }
    Ok(())
}

/// Runs of pairs with one panel of documents, each with its place.
fn chunked(seen: &[(u32, u32)]) -> impl Iterator<Item = (usize, &[(u32, u32)])> {
    let mut at = 0;
    seen.chunk_by(|a, b| a.0 == b.0).map(move |run| {
        let from = at;
        at += run.len();
        (from, run)
    })
}

#[cfg(test)]
#[path = "clustered_tests.rs"]
mod tests;
