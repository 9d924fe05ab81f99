//! Laws that every filter and every selector keeps, on random blocks with ties, unknown scores and missing facts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use hardrock_core::filters::{
    Against, Agree, Command, Family, Group, Guide, Kin, Known as KnownFilter, Margin, Near, Rerank,
};
use hardrock_core::filters::{Score, Taxonomy as TaxonomyFilter, Text, Time, TimeRule, Window};
use hardrock_core::selectors::{Bands, Mix, Random, Share, Simans, Top, Weighted};
use hardrock_core::{
    ABSENT, AnchorId, Block, BlockBuilder, Catalogue, Facts, FilterSpec, ItemId, Known, Likeness, NO_RANK,
    NewRow, Opinion, Outside, Overlap, Proposal, Question, Reason, Result, SelectorSpec, Taxonomy, Verdict,
    Verdicts,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

const ITEMS: u32 = 24;
const ANCHORS: u32 = 5;

/// One row as a source side would hand it over.
#[derive(Debug, Clone)]
struct Given {
    anchor: u32,
    /// (item, judging score, per source its proposal)
    cells: Vec<(u32, f32, [Proposal; 2])>,
    positives: Vec<(u32, f32)>,
}

#[derive(Debug, Clone)]
struct World {
    rows: Vec<Given>,
    items: Catalogue,
    anchors: Catalogue,
    known: Known,
    taxonomy: Taxonomy,
    salt: u32,
}

/// Any symmetric likeness in [0, 1], on a coarse grid so that ties happen; every seventh pair cannot be compared.
struct Pairs(u32);

impl Pairs {
    fn fill(&self, item: ItemId, others: &[ItemId], out: &mut [f32]) {
        for (v, o) in out.iter_mut().zip(others) {
            let (low, high) = (item.0.min(o.0), item.0.max(o.0));
            let hash = (low * 31 + high * 17 + self.0).wrapping_mul(2_654_435_761) >> 20;
            *v = if hash.is_multiple_of(7) { f32::NAN } else { (hash % 11) as f32 / 10.0 };
        }
    }
}

impl Likeness for Pairs {
    fn name(&self) -> &'static str {
        "pairs"
    }
    fn likeness(&self, item: ItemId, others: &[ItemId], out: &mut [f32]) -> Result<()> {
        self.fill(item, others, out);
        Ok(())
    }
}

impl Overlap for Pairs {
    fn jaccard(&self, item: ItemId, others: &[ItemId], out: &mut [f32]) -> Result<()> {
        self.fill(item, others, out);
        Ok(())
    }
}

impl Outside for Pairs {
    fn judge(&self, questions: &[Question]) -> Result<Vec<Vec<Option<f32>>>> {
        let answer = |q: &Question, i: &ItemId| {
            let hash = (q.anchor.0 * 13 + i.0 * 7 + self.0) % 9;
            (hash == 0).then_some(f32::NAN).or((hash == 1).then_some(0.125))
        };
        Ok(questions.iter().map(|q| q.candidates.iter().map(|i| answer(q, i)).collect()).collect())
    }
}

impl Opinion for Pairs {
    fn score(&self, pairs: &[(AnchorId, ItemId)], out: &mut [f32]) -> Result<()> {
        for (out, (anchor, item)) in out.iter_mut().zip(pairs) {
            *out = ((anchor.0 * 11 + item.0 * 17 + self.0) % 21) as f32 / 10.0 - 1.0;
        }
        Ok(())
    }
}

fn score() -> impl Strategy<Value = f32> {
    prop_oneof![8 => (-100i32..=100).prop_map(|s| s as f32 / 100.0), 1 => Just(f32::NAN)]
}

fn proposal() -> impl Strategy<Value = Proposal> {
    prop_oneof![(score(), 0u32..40).prop_map(|(score, rank)| Proposal { score, rank }), Just(Proposal::NONE)]
}

fn rows() -> impl Strategy<Value = Vec<Given>> {
    let items = || subsequence((0..ITEMS).collect::<Vec<_>>(), 0..=ITEMS as usize).prop_shuffle();
    let row =
        (items(), vec((score(), [proposal(), proposal()]), ITEMS as usize), vec((0..ITEMS, score()), 0..4));
    let row = row.prop_map(|(items, said, positives)| Given {
        anchor: 0,
        cells: items.into_iter().zip(said).map(|(i, (s, p))| (i, s, p)).collect(),
        positives,
    });
    let numbered = |rows: Vec<Given>| (0..).zip(rows).map(|(anchor, row)| Given { anchor, ..row }).collect();
    vec(row, ANCHORS as usize).prop_map(numbered)
}

fn catalogue(records: u32) -> impl Strategy<Value = Catalogue> {
    let n = records as usize;
    let group = prop_oneof![0u32..6, Just(ABSENT)];
    let time = proptest::option::of((0i32..5).prop_map(f64::from));
    (vec(0u64..30, n), vec(0u32..12, n), vec(group, n), vec(time, n)).prop_map(
        |(text, family, group, time)| Catalogue {
            text,
            family: Some(family),
            group: Some(group),
            time: Some(time),
        },
    )
}

fn worlds() -> impl Strategy<Value = World> {
    let ids = |list: Vec<u32>| list.into_iter().map(ItemId).collect::<Vec<_>>();
    let known =
        vec(vec(0..ITEMS, 0..3), ANCHORS as usize).prop_map(move |l| Known::new(l.into_iter().map(ids)));
    // Any graph, circles included: files of users hold them.
    let up =
        vec(vec(0..ITEMS, 0..2), ITEMS as usize).prop_map(move |l| Taxonomy::new(l.into_iter().map(ids)));
    (rows(), catalogue(ITEMS), catalogue(ANCHORS), known, up, 0u32..1000).prop_map(
        |(rows, items, anchors, known, taxonomy, salt)| World { rows, items, anchors, known, taxonomy, salt },
    )
}

fn any_filter() -> impl Strategy<Value = FilterSpec> {
    let limit = || proptest::option::of((-10i32..=10).prop_map(|s| s as f32 / 10.0));
    let margin = || proptest::option::of((0i32..=10).prop_map(|s| s as f32 / 10.0));
    let against = || prop_oneof![Just(Against::Min), Just(Against::Max), Just(Against::Mean)];
    prop_oneof![
        Just(FilterSpec::Known(KnownFilter {})),
        Just(FilterSpec::Text(Text {})),
        (0u32..6, proptest::option::of(6u32..20))
            .prop_map(|(min, max)| FilterSpec::Window(Window { min, max })),
        (1u32..=10).prop_map(|t| FilterSpec::Near(Near { threshold: t as f32 / 10.0 })),
        (0u32..=10).prop_map(|t| FilterSpec::Kin(Kin { threshold: t as f32 / 10.0 })),
        Just(FilterSpec::Family(Family {})),
        Just(FilterSpec::Group(Group { column: "page".into() })),
        prop_oneof![Just(TimeRule::CandidateBeforeAnchor), Just(TimeRule::CandidateAfterAnchor)]
            .prop_map(|rule| FilterSpec::Time(Time { column: "year".into(), rule })),
        proptest::option::of(1u32..4)
            .prop_map(|steps| FilterSpec::Taxonomy(TaxonomyFilter { file: "is_a.tsv".into(), steps })),
        (limit(), limit()).prop_map(|(a, b)| {
            let (min, max) = if a > b && b.is_some() { (b, a) } else { (a, b) };
            FilterSpec::Score(Score { max, min: min.filter(|m| max.is_none_or(|x| *m <= x)) })
        }),
        (margin(), margin(), against()).prop_map(|(absolute, relative, against)| FilterSpec::Margin(
            Margin { absolute, relative, against }
        )),
        (1u32..=2).prop_map(|sources| FilterSpec::Agree(Agree { sources })),
        (limit(), margin(), margin(), against()).prop_map(|(max, margin, relative, against)| {
            FilterSpec::Rerank(Rerank {
                model: "m".into(),
                max,
                margin,
                relative,
                against,
                ..Rerank::default()
            })
        }),
        (margin(), against()).prop_map(|(margin, against)| {
            FilterSpec::Guide(Guide { model: "m".into(), margin, against, ..Guide::default() })
        }),
        Just(FilterSpec::Command(Command { program: "judge".into() })),
    ]
}

fn any_selector() -> impl Strategy<Value = SelectorSpec> {
    let share = |source: &str, count| Share { source: source.into(), count };
    prop_oneof![
        Just(SelectorSpec::Top(Top {})),
        Just(SelectorSpec::Random(Random {})),
        (1u32..100).prop_map(|t| SelectorSpec::Weighted(Weighted { temperature: t as f32 / 50.0 })),
        (1u32..8).prop_map(|bands| SelectorSpec::Bands(Bands { bands })),
        (1u32..4, 1u32..4).prop_map(move |(a, b)| SelectorSpec::Mix(Mix {
            shares: vec![share("bm25", a), share("random", b)]
        })),
        (0u32..20).prop_map(|a| SelectorSpec::Simans(Simans { a: a as f32, ..Simans::default() })),
    ]
}

fn block(rows: &[Given]) -> Result<Block> {
    let mut b = BlockBuilder::new(["bm25", "random"]);
    for row in rows {
        let (items, scores): (Vec<_>, Vec<_>) = row.cells.iter().map(|c| (ItemId(c.0), c.1)).unzip();
        let proposals: Vec<_> = row.cells.iter().flat_map(|c| c.2).collect();
        let (positives, positive_scores): (Vec<_>, Vec<_>) =
            row.positives.iter().map(|p| (ItemId(p.0), p.1)).unzip();
        b.push_row(&NewRow {
            anchor: AnchorId(row.anchor),
            items: &items,
            scores: &scores,
            proposals: &proposals,
            positives: &positives,
            positive_scores: &positive_scores,
        })?;
    }
    Ok(b.finish())
}

/// Runs the filters in their order and returns how many cells each of them dropped.
fn filter(block: &mut Block, world: &World, filters: &[FilterSpec]) -> Result<Vec<usize>> {
    let pairs = Pairs(world.salt);
    let facts = Facts {
        items: &world.items,
        anchors: &world.anchors,
        known: &world.known,
        likeness: Some(&pairs),
        overlap: Some(&pairs),
        taxonomy: Some(&world.taxonomy),
        guide: Some(&pairs),
        cross_encoder: Some(&pairs),
        outside: Some(&pairs),
        judged: &Known::default(),
    };
    let mut filters = filters.to_vec();
    filters.sort_by_key(FilterSpec::place);
    let mut drops = Vec::new();
    for spec in filters {
        let mut verdicts = Verdicts::default();
        spec.build()?.judge(block, &facts, &mut verdicts)?;
        drops.push(verdicts.len());
        block.apply(verdicts);
    }
    Ok(drops)
}

/// Per anchor: its candidates with their verdicts. As text, because NaN differs from itself.
fn outcome(block: &Block) -> Vec<(AnchorId, String)> {
    let mut all: Vec<_> = block
        .iter()
        .map(|r| (r.anchor(), format!("{:?}", r.items().iter().zip(r.verdicts()).collect::<Vec<_>>())))
        .collect();
    all.sort();
    all
}

/// What a filter must not touch.
fn contents(block: &Block) -> String {
    let rows: Vec<_> = block
        .iter()
        .map(|r| format!("{:?} {:?} {:?} {:?}", r.items(), r.scores(), r.positives(), r.positive_scores()))
        .collect();
    // Models add columns of their own behind those of the two sources.
    format!("{rows:?} {:?}", &block.evidence()[..2])
}

fn names_its_numbers(verdict: &Verdict) -> bool {
    let said = verdict.sentence(|i| format!("d{}", i.0));
    let v = verdict.value;
    let shown =
        [v.to_string(), (-v).to_string(), format!("{v:.3}"), format!("{v:.4}"), format!("{:.0}", v * 100.0)];
    let positive = verdict.against.map(|p| format!("positive d{}", p.0));
    let number = v.is_nan() || shown.iter().any(|s| said.contains(s.as_str()));
    let fact = match verdict.reason {
        Reason::Known => said.contains("labelled positive"),
        Reason::Text if positive.is_none() => said.contains("anchor's own text"),
        Reason::Text | Reason::Family | Reason::Group => positive.is_some_and(|p| said.contains(&p)),
        _ => number && positive.is_none_or(|p| said.contains(&p)),
    };
    fact && !said.contains("NaN")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn filters_only_drop_live_cells_and_touch_nothing_else(world in worlds(), filters in vec(any_filter(), 1..6)) {
        let mut b = block(&world.rows)?;
        let before = contents(&b);
        let mut dropped = 0;
        let mut filters = filters;
        filters.sort_by_key(FilterSpec::place);
        for spec in filters {
            let verdicts = outcome(&b);
            let live: usize = b.iter().map(|r| r.live().count()).sum();
            let reasons = spec.reasons();
            let n = filter(&mut b, &world, &[spec])?[0];
            let after: usize = b.iter().map(|r| r.live().count()).sum();
            // Every decision fell on a different live cell, so none was made twice or against a dropped one.
            prop_assert_eq!(live - n, after);
            prop_assert!(n > 0 || verdicts == outcome(&b));
            dropped += n;
            let tally = b.tally();
            prop_assert_eq!(tally.kept as usize + dropped, b.cells());
            prop_assert_eq!(tally.retrieved() as usize, b.cells());
            let given: u64 = reasons.iter().map(|&r| tally.dropped(r)).sum();
            prop_assert!(given as usize >= n);
        }
        prop_assert_eq!(before, contents(&b));
    }

    #[test]
    fn filtering_again_changes_nothing(world in worlds(), filters in vec(any_filter(), 1..6)) {
        let mut b = block(&world.rows)?;
        filter(&mut b, &world, &filters)?;
        let once = outcome(&b);
        let again = filter(&mut b, &world, &filters)?;
        prop_assert!(again.iter().all(|&n| n == 0), "{again:?}");
        prop_assert_eq!(once, outcome(&b));
    }

    #[test]
    fn neither_the_order_of_rows_and_cells_nor_the_cut_into_blocks_matters(
        world in worlds(),
        filters in vec(any_filter(), 1..6),
        shift in 0usize..24,
    ) {
        let mut b = block(&world.rows)?;
        filter(&mut b, &world, &filters)?;
        let mut turned = world.rows.clone();
        turned.reverse();
        for row in &mut turned {
            let n = row.cells.len().max(1);
            row.cells.rotate_left(shift % n);
        }
        let mut other = block(&turned)?;
        filter(&mut other, &world, &filters)?;
        prop_assert_eq!(outcome(&b), outcome(&other));

        let mut pieces = Vec::new();
        for row in &world.rows {
            let mut one = block(std::slice::from_ref(row))?;
            filter(&mut one, &world, &filters)?;
            pieces.extend(outcome(&one));
        }
        prop_assert_eq!(outcome(&b), pieces);
    }

    #[test]
    fn every_drop_has_a_sentence_with_its_numbers(world in worlds(), filters in vec(any_filter(), 1..6)) {
        let mut b = block(&world.rows)?;
        filter(&mut b, &world, &filters)?;
        for verdict in b.iter().flat_map(|r| r.verdicts()).flatten() {
            prop_assert!(names_its_numbers(verdict), "{}", verdict.sentence(|i| format!("d{}", i.0)));
        }
    }

    #[test]
    fn selections_are_live_distinct_ascending_and_full(
        world in worlds(),
        filters in vec(any_filter(), 0..3),
        spec in any_selector(),
        k in 0usize..12,
        seed in 0u64..4,
    ) {
        let mut b = block(&world.rows)?;
        filter(&mut b, &world, &filters)?;
        let selector = spec.build()?;
        for row in b.iter() {
            let mut out = vec![99];
            selector.select(&row, k, seed, row.anchor().0.into(), &mut out)?;
            prop_assert_eq!(out.remove(0), 99, "what stood in the buffer before must stay");
            let live: Vec<_> = row.live().collect();
            prop_assert_eq!(out.len(), k.min(live.len()));
            prop_assert!(out.windows(2).all(|w| w[0] < w[1]), "{out:?}");
            prop_assert!(out.iter().all(|p| live.contains(p)));
            let mut again = Vec::new();
            selector.select(&row, k, seed, row.anchor().0.into(), &mut again)?;
            prop_assert_eq!(out, again);
        }
    }

    #[test]
    fn selections_depend_on_the_live_cells_alone(
        world in worlds(),
        filters in vec(any_filter(), 1..3),
        spec in any_selector(),
        k in 0usize..12,
    ) {
        let mut b = block(&world.rows)?;
        filter(&mut b, &world, &filters)?;
        let mut alive = world.rows.clone();
        for (given, row) in alive.iter_mut().zip(b.iter()) {
            given.cells.retain(|c| row.live().any(|p| row.items()[p].0 == c.0));
        }
        let bare = block(&alive)?;
        let selector = spec.build()?;
        for (row, only) in b.iter().zip(bare.iter()) {
            let (mut a, mut o) = (Vec::new(), Vec::new());
            selector.select(&row, k, 1, 2, &mut a)?;
            selector.select(&only, k, 1, 2, &mut o)?;
            let items = |r: &hardrock_core::Row<'_>, out: &[usize]| out.iter().map(|&p| r.items()[p]).collect::<Vec<_>>();
            prop_assert_eq!(items(&row, &a), items(&only, &o));
        }
    }

    #[test]
    fn top_takes_the_best_scores_and_so_does_a_draw_at_temperature_zero(world in worlds(), k in 0usize..12) {
        let b = block(&world.rows)?;
        let (top, cold) = (Top {}, Weighted { temperature: 1e-6 });
        for row in b.iter() {
            let take = |selector: SelectorSpec| -> Result<Vec<u32>> {
                let mut out = Vec::new();
                selector.build()?.select(&row, k, 5, 6, &mut out)?;
                // Scores, not items: among equal scores a draw is a draw. -0.0 equals 0.0, NaN is below all.
                Ok(out.iter().map(|&p| (row.scores()[p] + 0.0).to_bits()).collect())
            };
            let mut sorted: Vec<f32> = row.scores().iter().map(|s| s + 0.0).collect();
            sorted.sort_by(|a, b| b.partial_cmp(a).unwrap_or(a.is_nan().cmp(&b.is_nan())));
            let best: Vec<u32> = sorted.iter().take(k).map(|s| s.to_bits()).collect();
            prop_assert_eq!(&take(SelectorSpec::Top(top.clone()))?, &best);
            prop_assert_eq!(&take(SelectorSpec::Weighted(cold.clone()))?, &best);
        }
    }
}

#[test]
fn a_cell_that_no_source_proposed_keeps_that_mark() -> Result<()> {
    let cells = vec![(3, 0.5, [Proposal::NONE, Proposal { score: 1.0, rank: 0 }])];
    let b = block(&[Given { anchor: 0, cells, positives: vec![] }])?;
    assert_eq!(b.row(0).source_ranks(&b.evidence()[0]), [NO_RANK]);
    Ok(())
}
