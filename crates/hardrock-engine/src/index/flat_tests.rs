//! Exact search held to a full sort, whatever the machine, the budget, the threads and the range.

use proptest::prelude::*;

use super::*;
use crate::index::rows::{Matrix, norm, normalise};

/// Pseudo-random values from a few steps, so that ties are common.
fn matrix(rows: usize, dim: usize, seed: u64, steps: u64) -> Matrix {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % steps) as f32 / steps as f32 - 0.5
    };
    Matrix::new(std::iter::repeat_with(next).take(rows * dim).collect(), dim).unwrap()
}

fn chain(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0f32, |acc, (&x, &y)| x.mul_add(y, acc)) + 0.0
}

fn by_sorting(anchors: &Matrix, documents: &Matrix, range: Range<usize>, k: usize) -> Neighbours {
    let mut out = Neighbours { starts: vec![0], items: vec![], scores: vec![] };
    for a in range {
        let row = &anchors.as_slice()[a * anchors.dim()..][..anchors.dim()];
        let rows = documents.as_slice().chunks(documents.dim());
        let mut all: Vec<(f32, u32)> = rows.zip(0..).map(|(d, i)| (chain(row, d), i)).collect();
        all.sort_by(|x, y| y.0.partial_cmp(&x.0).unwrap().then(x.1.cmp(&y.1)));
        all.truncate(k);
        out.items.extend(all.iter().map(|x| x.1));
        out.scores.extend(all.iter().map(|x| x.0));
        out.starts.push(out.items.len());
    }
    out
}

fn on_threads<T: Send>(threads: usize, job: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(job)
}

/// Searches through codes whatever the sample would say.
fn by_codes(
    eight: Eight,
    keep_rows: bool,
    anchors: &Matrix,
    documents: &Matrix,
    range: Range<usize>,
    k: usize,
) -> Neighbours {
    let flat = Flat::new(documents, usize::MAX, Watch::default()).unwrap();
    let coded = Coded::new(eight, documents, keep_rows, Watch::default()).unwrap().unwrap();
    let keep = k.min(documents.len());
    let mut out = Hits {
        items: vec![0; range.len() * keep],
        scores: vec![0.0; range.len() * keep],
        counts: vec![0; range.len()],
        keep,
    };
    flat.search_coded(&coded, anchors, range, &mut out).unwrap();
    out.close()
}

/// Rows as they come in practice and as they should not: copies, zeros, one huge row, tiny values, outlier columns,
/// a large common part.
fn disturbed(rows: Matrix, kind: u8) -> Matrix {
    let dim = rows.dim();
    let mut data = rows.as_slice().to_vec();
    let count = data.len() / dim;
    match kind {
        0 => {}
        1 => data.chunks_mut(dim).for_each(|row| row.iter_mut().for_each(|x| *x += 3.0)),
        2 => data.chunks_mut(dim).for_each(|row| row[0] *= 1000.0),
        3 => data.iter_mut().for_each(|x| *x *= 1e-38),
        4 => data[count / 2 * dim..][..dim].iter_mut().for_each(|x| *x *= 1e15),
        5 => data.chunks_mut(dim).step_by(2).for_each(|row| row.fill(0.0)),
        _ => {
            let first = data[..dim].to_vec();
            data.chunks_mut(dim).skip(count / 3).for_each(|row| row.copy_from_slice(&first));
        }
    }
    Matrix::new(data, dim).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_8_bit_pass_is_a_full_sort_on_adversarial_rows(
        (na, nd, dim) in (1usize..40, 1usize..900, 1usize..70),
        k in prop_oneof![1usize..12, Just(100)],
        steps in prop_oneof![Just(3u64), Just(1 << 20)],
        seed in any::<u64>(),
        (anchor_kind, document_kind) in (0u8..7, 0u8..7),
        keep_rows in any::<bool>(),
    ) {
        let anchors = disturbed(matrix(na, dim, seed, steps), anchor_kind);
        let documents = disturbed(matrix(nd, dim, !seed, steps), document_kind);
        let want = by_sorting(&anchors, &documents, na / 3..na, k);
        for eight in Eight::available() {
            prop_assert_eq!(&by_codes(eight, keep_rows, &anchors, &documents, na / 3..na, k), &want);
        }
    }
}

#[test]
fn a_search_chooses_codes_where_they_pay_and_gives_the_bits_of_f32() {
    if Eight::best().is_none() {
        return;
    }
    let (anchors, documents) = (matrix(300, 64, 3, 1 << 20), matrix(20_000, 64, 4, 1 << 20));
    let spread = Flat::new(&documents, usize::MAX, Watch::default()).unwrap();
    let got = spread.search(&anchors, 0..300, 5).unwrap();
    assert!(spread.way().starts_with("8-bit"), "{}", spread.way());
    let plain = Flat::new(&documents, usize::MAX, Watch::default()).unwrap().in_f32();
    assert_eq!(got, plain.search(&anchors, 0..300, 5).unwrap());
    assert_eq!(plain.way(), "f32");

    let copies = disturbed(documents.clone(), 6);
    let useless = Flat::new(&copies, usize::MAX, Watch::default()).unwrap();
    // Each anchor is one of 13,000 equal documents, its nearest ones: no bound can tell them apart.
    let got = useless.search(&copies, 9000..9300, 5).unwrap();
    assert_eq!(useless.way(), "f32");
    assert_eq!(got, by_sorting(&copies, &copies, 9000..9300, 5));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn search_is_a_full_sort(
        (na, nd, dim) in (1usize..60, 1usize..700, 1usize..40),
        k in prop_oneof![1usize..12, Just(100), Just(1000)],
        steps in prop_oneof![Just(3u64), Just(1 << 20)],
        seed in any::<u64>(),
        budget in prop_oneof![Just(0usize), Just(40_000), Just(usize::MAX)],
    ) {
        let (anchors, documents) = (matrix(na, dim, seed, steps), matrix(nd, dim, !seed, steps));
        let range = na / 3..na;
        let want = by_sorting(&anchors, &documents, range.clone(), k);
        for isa in Isa::available() {
            let flat = Flat::with_isa(&documents, budget, Watch::default(), isa).unwrap();
            let got = flat.search(&anchors, range.clone(), k).unwrap();
            prop_assert_eq!(&got, &want, "{}", isa.name());
        }
        let pairs =
            score_pairs(&anchors, &documents, range, &want.starts, &want.items, Watch::default()).unwrap();
        prop_assert_eq!(pairs, want.scores);
    }
}

#[test]
fn threads_budgets_and_ranges_change_no_bit() {
    let (anchors, documents) = (matrix(130, 24, 1, 1 << 20), matrix(3000, 24, 2, 1 << 20));
    let whole = Flat::new(&documents, usize::MAX, Watch::default()).unwrap();
    let want = on_threads(1, || whole.search(&anchors, 0..130, 37).unwrap());
    assert_eq!(want, by_sorting(&anchors, &documents, 0..130, 37));
    for threads in [1, 2, 5] {
        for budget in [0, 30_000, 200_000, usize::MAX] {
            let got = on_threads(threads, || {
                let flat = Flat::new(&documents, budget, Watch::default()).unwrap();
                let mut got = flat.search(&anchors, 0..50, 37).unwrap();
                let rest = flat.search(&anchors, 50..130, 37).unwrap();
                got.starts.extend(rest.starts[1..].iter().map(|s| s + got.items.len()));
                got.items.extend(rest.items);
                got.scores.extend(rest.scores);
                got
            });
            assert_eq!(got, want, "{threads} threads, {budget} bytes");
        }
    }
}

#[test]
fn equal_documents_come_in_their_order() {
    // 2000 copies of one document: the buffer is cut many times with nothing but ties in it.
    let documents = Matrix::new([0.25f32, -0.5, 1.0].repeat(2000), 3).unwrap();
    let anchors = Matrix::new(vec![1.0, 2.0, 3.0, 0.0, 0.0, 0.0, -0.0, 0.0, -0.0], 3).unwrap();
    let found =
        Flat::new(&documents, usize::MAX, Watch::default()).unwrap().search(&anchors, 0..3, 70).unwrap();
    for a in 0..3 {
        assert_eq!(found.row(a).0.to_vec(), (0..70).collect::<Vec<_>>());
    }
    assert_eq!(found.scores[0], 2.25);
}

#[test]
fn more_hits_than_documents_gives_all_documents() {
    let (anchors, documents) = (matrix(2, 5, 3, 9), matrix(40, 5, 4, 9));
    let flat = Flat::new(&documents, usize::MAX, Watch::default()).unwrap();
    assert_eq!(flat.search(&anchors, 0..2, usize::MAX).unwrap().starts, [0, 40, 80]);
}

#[test]
fn scores_that_overflow_are_no_hits_and_leave_no_gap() {
    let documents = Matrix::new(vec![f32::MAX, -1.0, 2.0, f32::NAN], 1).unwrap();
    let anchors = Matrix::new(vec![-2.0, 1.0], 1).unwrap();
    let found =
        Flat::new(&documents, usize::MAX, Watch::default()).unwrap().search(&anchors, 0..2, 4).unwrap();
    assert_eq!(found.starts, [0, 2, 5]);
    assert_eq!(found.items, [1, 2, 0, 2, 1]);
}

#[test]
fn no_documents_and_no_anchors_are_no_error() {
    let (none, some) = (matrix(0, 4, 1, 9), matrix(3, 4, 1, 9));
    let empty = Flat::new(&none, 0, Watch::default()).unwrap();
    assert_eq!(empty.search(&some, 0..3, 5).unwrap().starts, [0, 0, 0, 0]);
    let flat = Flat::new(&some, 0, Watch::default()).unwrap();
    assert!(flat.search(&none, 0..0, 5).unwrap().is_empty());
}

#[test]
fn wrong_input_is_named() {
    let (anchors, documents) = (matrix(3, 4, 1, 9), matrix(3, 5, 1, 9));
    let flat = Flat::new(&documents, usize::MAX, Watch::default()).unwrap();
    let wrong = flat.search(&anchors, 0..3, 5).unwrap_err().to_string();
    assert!(wrong.starts_with("anchors have 4 dimensions but documents have 5"), "{wrong}");
    assert!(matches!(flat.search(&documents, 0..3, 0), Err(Error::Parameter { what: "k", .. })));
    assert!(matches!(flat.search(&documents, 2..4, 1), Err(Error::Parameter { what: "anchors", .. })));
    let pairs = |starts: &[usize], items: &[u32]| {
        score_pairs(&documents, &documents, 0..2, starts, items, Watch::default())
    };
    assert!(pairs(&[0, 1, 2], &[0, 2]).is_ok());
    assert!(matches!(pairs(&[0, 1, 2], &[0, 3]), Err(Error::Parameter { what: "documents", got: 3, .. })));
    assert!(matches!(pairs(&[0, 1, 3], &[0, 2]), Err(Error::Parameter { what: "starts", .. })));
    assert!(Matrix::new(vec![0.0; 5], 2).is_err() && Matrix::new(vec![], 0).is_err());
}

#[test]
fn a_set_flag_stops_every_way_of_searching() {
    let documents = matrix(500, 8, 1, 99);
    let (stop, pairs) = (AtomicBool::new(false), AtomicU64::new(0));
    let watch = Watch { cancel: Some(&stop), pairs: Some(&pairs) };
    let packed = Flat::new(&documents, usize::MAX, watch).unwrap();
    let streamed = Flat::new(&documents, 0, watch).unwrap();
    packed.search(&documents, 0..100, 3).unwrap();
    assert_eq!(pairs.load(Ordering::Relaxed), 50_000);
    streamed.search(&documents, 0..100, 3).unwrap();
    assert_eq!(pairs.load(Ordering::Relaxed), 100_000);
    stop.store(true, Ordering::Relaxed);
    assert!(matches!(packed.search(&documents, 0..100, 3), Err(Error::Cancelled)));
    assert!(matches!(streamed.search(&documents, 0..100, 3), Err(Error::Cancelled)));
    let fresh = Flat::new(&documents, usize::MAX, watch).unwrap();
    assert!(matches!(fresh.prepare(&documents, 0..100, 3), Err(Error::Cancelled)));
    assert!(score_pairs(&documents, &documents, 0..1, &[0, 1], &[0], watch).is_err());
}

#[test]
fn a_reader_that_fails_ends_the_search_with_its_error() {
    struct Broken(Matrix);
    impl Rows for Broken {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn dim(&self) -> usize {
            self.0.dim()
        }
        fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
            if start + out.len() / self.dim() > 300 {
                return Err(Error::Read("row 300 is gone".into()));
            }
            self.0.read(start, out)
        }
    }
    let (broken, anchors) = (Broken(matrix(400, 4, 1, 9)), matrix(5, 4, 2, 9));
    let whole = Flat::new(&broken, usize::MAX, Watch::default()).unwrap();
    assert_eq!(whole.search(&anchors, 0..5, 2).unwrap_err().to_string(), "row 300 is gone");
    let streamed = Flat::new(&broken, 0, Watch::default()).unwrap();
    assert_eq!(streamed.search(&anchors, 0..5, 2).unwrap_err().to_string(), "row 300 is gone");
}

#[test]
fn unit_length_keeps_zeros_and_survives_extremes() {
    let mut row = [3.0, 0.0, -4.0];
    normalise(&mut row);
    assert_eq!(row, [0.6, 0.0, -0.8]);
    let mut zeros = [0.0; 9];
    normalise(&mut zeros);
    assert_eq!(zeros, [0.0; 9]);
    for extreme in [f32::MAX, 1e-42] {
        let mut row = [extreme; 16];
        normalise(&mut row);
        assert_eq!(row, [0.25; 16]);
    }
    let unit = matrix(10, 33, 7, 1 << 20).normalised();
    assert!(unit.as_slice().chunks(33).all(|row| (norm(row) - 1.0).abs() < 1e-6));
}
