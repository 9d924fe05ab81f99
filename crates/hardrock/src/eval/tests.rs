//! Small files by hand: which query counts where.

use super::*;

fn qrels(rows: &[(&str, &str, i32)]) -> Qrels {
    Qrels::from_rows(rows.iter().copied()).unwrap()
}

fn run(rows: &[(&str, &str, f64)]) -> Run {
    Run::from_rows(rows.iter().copied()).unwrap()
}

fn options(metrics: &str, profile: Profile) -> EvalOptions {
    let metrics = metrics.split(',').map(|m| m.parse().unwrap()).collect();
    EvalOptions { metrics, profile, ..EvalOptions::default() }
}

fn values(evaluation: &Evaluation) -> Vec<f64> {
    evaluation.scores.iter().map(|s| s.value).collect()
}

#[test]
fn missing_queries_count_zero_or_are_skipped_and_both_are_said() {
    let qrels = qrels(&[("q1", "a", 1), ("q2", "a", 1), ("q3", "a", 0)]);
    let run = run(&[("q1", "a", 1.0), ("q3", "a", 1.0), ("q9", "a", 1.0)]);
    let zero = evaluate(&qrels, &run, &options("mrr@10", Profile::Trec)).unwrap();
    assert_eq!((zero.scores[0].value, zero.scores[0].queries), (1.0 / 3.0, 3));
    assert_eq!(zero.scores[0].other_missing, Some(0.5));
    let skipping = EvalOptions { missing: Some(Missing::Skip), ..options("mrr@10", Profile::Trec) };
    let skip = evaluate(&qrels, &run, &skipping).unwrap();
    assert_eq!((skip.scores[0].value, skip.scores[0].queries), (0.5, 2));
    assert_eq!(skip.scores[0].per_query, [Some(1.0), None, Some(0.0)]);
    let counts = Counts {
        judged: 3,
        run: 3,
        both: 2,
        missing: 1,
        not_judged: 1,
        without_relevant: 1,
        ..Counts::default()
    };
    assert_eq!(skip.counts, counts);
}

#[test]
fn beir_drops_self_hits_and_others_keep_them() {
    let qrels = qrels(&[("q1", "a", 1)]);
    let run = run(&[("q1", "q1", 2.0), ("q1", "a", 1.0)]);
    let mrr = |o: &EvalOptions| {
        let e = evaluate(&qrels, &run, o).unwrap();
        (e.counts.self_hits, values(&e))
    };
    assert_eq!(mrr(&options("mrr@10,num_ret", Profile::Trec)), (1, vec![0.5, 2.0]));
    assert_eq!(mrr(&options("mrr@10,num_ret", Profile::Beir)), (1, vec![1.0, 1.0]));
    let kept = EvalOptions { self_hits: Some(SelfHits::Keep), ..options("mrr@10,num_ret", Profile::Beir) };
    assert_eq!(mrr(&kept), (1, vec![0.5, 2.0]));
}

#[test]
fn beir_divides_its_own_metrics_by_all_judged_queries_and_the_others_by_those_in_the_run() {
    let qrels = qrels(&[("q1", "b", 1), ("q2", "a", 1), ("q3", "a", 1)]);
    let run = run(&[("q1", "b", 1.0), ("q1", "c", 1.0), ("q2", "a", 1.0)]);
    // q1 ties: file order finds b first, descending ids find c first.
    let e = evaluate(&qrels, &run, &options("mrr@10,map,recall@10,hit@1", Profile::Beir)).unwrap();
    assert_eq!(values(&e), [0.66667, 0.75, 1.0, 0.66667]);
    let with_ties = EvalOptions { ties: Some(Ties::DocidDesc), ..options("mrr@10", Profile::Beir) };
    assert_eq!(values(&evaluate(&qrels, &run, &with_ties).unwrap()), [0.5]);
}

#[test]
fn st_skips_queries_without_relevant_documents_and_caps_map() {
    let qrels = qrels(&[("q1", "a", 2), ("q1", "b", 1), ("q1", "c", 1), ("q2", "a", 0)]);
    let run = run(&[("q1", "a", 2.0), ("q1", "x", 1.0), ("q2", "a", 1.0)]);
    let metrics = "map@2,ndcg@2,mrr@10";
    let ideal = 1.0 + 1.0 / 3f64.log2();
    let st = evaluate(&qrels, &run, &options(metrics, Profile::St)).unwrap();
    assert_eq!(values(&st), [0.5, 1.0 / ideal, 1.0]);
    let trec = evaluate(&qrels, &run, &options(metrics, Profile::Trec)).unwrap();
    assert_eq!(values(&trec), [1.0 / 6.0, 2.0 / (2.0 + 1.0 / 3f64.log2()) / 2.0, 0.5]);
}

#[test]
fn mteb_leaves_queries_without_relevant_documents_out_of_capped_recall_only() {
    let qrels = qrels(&[("q1", "a", 1), ("q2", "a", 0)]);
    let run = run(&[("q1", "a", 1.0), ("q2", "a", 1.0)]);
    let e = evaluate(&qrels, &run, &options("recall_cap@10,recall@10", Profile::Mteb)).unwrap();
    assert_eq!(values(&e), [1.0, 0.5]);
}

#[test]
fn holes_look_at_all_judgements_and_judged_at_the_query_s() {
    let qrels = qrels(&[("q1", "a", 1), ("q2", "b", 0)]);
    let run = run(&[("q1", "a", 3.0), ("q1", "b", 2.0), ("q1", "c", 1.0), ("q2", "b", 1.0)]);
    let e = evaluate(&qrels, &run, &options("hole@3,judged@3", Profile::Trec)).unwrap();
    assert_eq!(e.scores[0].per_query, [Some(1.0 / 3.0), Some(0.0)]);
    assert_eq!(e.scores[1].per_query, [Some(1.0 / 3.0), Some(1.0)]);
}

#[test]
fn counts_are_sums() {
    let qrels = qrels(&[("q1", "a", 1), ("q1", "b", 2), ("q2", "a", 1)]);
    let run = run(&[("q1", "a", 3.0), ("q2", "x", 2.0), ("q2", "y", 2.0)]);
    let e = evaluate(&qrels, &run, &options("num_rel,num_ret,num_rel_ret", Profile::Trec)).unwrap();
    assert_eq!(values(&e), [3.0, 3.0, 1.0]);
    assert!(compare(&e, &[&e], 0).unwrap().is_empty());
}

#[test]
fn the_tie_audit_counts_queries() {
    let qrels = qrels(&[("q1", "a", 1), ("q2", "a", 1), ("q3", "a", 1)]);
    let run =
        run(&[("q1", "a", 1.0), ("q1", "b", 1.0), ("q2", "b", 1.0), ("q2", "c", 1.0), ("q3", "a", 2.0)]);
    let e = evaluate(&qrels, &run, &options("mrr@1,recall@2,map", Profile::Trec)).unwrap();
    let tied: Vec<Option<usize>> = e.scores.iter().map(|s| s.tied_at_cut).collect();
    assert_eq!(tied, [Some(2), Some(0), None]);
    assert_eq!(e.counts.ties_matter, 1);
}

#[test]
fn a_constant_scorer_gets_no_perfect_mrr_in_any_mode_but_file_order() {
    // Positives first in the file, as retrieval code that scores them first writes it.
    let names: Vec<String> = (0..20).map(|i| format!("d{i:02}")).collect();
    let rows: Vec<(&str, &str, f64)> = names.iter().map(|d| ("q1", &**d, 0.0)).collect();
    let (qrels, run) = (qrels(&[("q1", "d00", 1)]), run(&rows));
    for &ties in Ties::ALL {
        let o = EvalOptions { ties: Some(ties), ..options("mrr@10", Profile::Trec) };
        let e = evaluate(&qrels, &run, &o).unwrap();
        let flattered = matches!(ties, Ties::File | Ties::DocidAsc);
        assert_eq!(e.scores[0].value == 1.0, flattered, "{ties}");
        assert_eq!((e.counts.ties_matter, e.scores[0].tied_at_cut), (1, Some(1)));
    }
}

#[test]
fn files_about_different_queries_are_told() {
    let e = evaluate(&qrels(&[("1", "a", 1)]), &run(&[("q1", "a", 1.0)]), &options("map", Profile::Trec))
        .unwrap_err();
    assert_eq!(e.to_string(), "no query of the run has judgements");
    assert_eq!(
        e.help().unwrap(),
        "the run's first query is `q1`, the judgements' first is `1`: are they of the same split, with ids written \
         the same way?"
    );
}

#[test]
fn nan_and_a_level_of_zero_are_refused() {
    let nan =
        evaluate(&qrels(&[("q", "a", 1)]), &run(&[("q", "b", f64::NAN)]), &options("map", Profile::Trec));
    assert_eq!(nan.unwrap_err().to_string(), "query `q`: the score of document `b` is not a number");
    let zero = EvalOptions { level: 0, ..options("map", Profile::Trec) };
    let zero = evaluate(&qrels(&[("q", "a", 1)]), &run(&[("q", "b", 1.0)]), &zero);
    assert_eq!(zero.unwrap_err().to_string(), "the relevance level is 0");
}

/// 60 queries; the run finds the document of query i at rank 1 + i mod 3, the other at 1 + i mod `other`.
fn pair(other: usize) -> (Qrels, Run, Run) {
    let ids: Vec<String> = (0..60).map(|i| format!("q{i}")).collect();
    let rows = |every: usize| -> Vec<(&str, &str, f64)> {
        let at = |i: usize, rank: usize| if rank == i % every { "right" } else { ["x", "y", "z", "u"][rank] };
        ids.iter()
            .enumerate()
            .flat_map(|(i, q)| (0..4).map(move |rank| (&**q, at(i, rank), -(rank as f64))))
            .collect()
    };
    let judged: Vec<(&str, &str, i32)> = ids.iter().map(|q| (&**q, "right", 1)).collect();
    (qrels(&judged), run(&rows(3)), run(&rows(other)))
}

#[test]
fn comparisons_pair_queries_and_do_not_depend_on_threads() {
    let (qrels, better, worse) = pair(4);
    let o = options("mrr@10,ndcg@10,hole@3,judged@3,num_rel", Profile::Trec);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let a = evaluate(&qrels, &better, &o).unwrap();
            let b = evaluate(&qrels, &worse, &o).unwrap();
            let found = compare(&a, &[&b], 7).unwrap();
            (a, b, found)
        })
    };
    let one = on(1);
    assert_eq!(one, on(3));
    let found = &one.2[0];
    let compared: Vec<String> = one.2.iter().map(|c| c.metric.to_string()).collect();
    assert_eq!(compared, ["mrr@10", "ndcg@10"], "only what can be better or worse");
    assert_eq!(found.run_mean, one.0.scores[0].value);
    assert!((found.difference - (one.0.scores[0].value - one.1.scores[0].value)).abs() < 1e-15);
    assert_eq!((found.better + found.equal + found.worse, found.queries), (60, 60));
    assert!(found.interval.0 < found.difference && found.difference < found.interval.1);
    assert!(found.p_holm >= found.p && found.p > 0.0);
    let seeds = compare(&one.0, &[&one.1], 8).unwrap();
    assert_ne!(seeds[0].interval, found.interval, "the seed must matter");
}

#[test]
fn an_equal_run_has_no_difference_and_p_of_one() {
    let (qrels, a, _) = pair(4);
    let e = evaluate(&qrels, &a, &options("mrr@10", Profile::Trec)).unwrap();
    let found = &compare(&e, &[&e], 0).unwrap()[0];
    assert_eq!((found.difference, found.interval, found.p, found.t), (0.0, (0.0, 0.0), 1.0, None));
    assert_eq!((found.better, found.equal, found.worse), (0, 60, 0));
}

#[test]
fn evaluations_that_cannot_be_compared_are_told() {
    let (qrels, a, _) = pair(4);
    let one = evaluate(&qrels, &a, &options("mrr@10", Profile::Trec)).unwrap();
    let two = evaluate(&qrels, &a, &options("mrr@10", Profile::St)).unwrap();
    assert!(compare(&one, &[&two], 0).is_err());
}

#[test]
fn per_query_values_are_a_table_and_no_file_is_replaced_unasked() {
    let qrels = qrels(&[("q1", "a", 1), ("q2", "a", 1)]);
    let o = EvalOptions { missing: Some(Missing::Skip), ..options("mrr@10,p@2", Profile::Trec) };
    let a = evaluate(&qrels, &run(&[("q1", "a", 1.0)]), &o).unwrap();
    let b = evaluate(&qrels, &run(&[("q2", "x", 2.0), ("q2", "a", 1.0)]), &o).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("values.tsv");
    write_per_query(&path, &a, &[("other.run", &b)], false).unwrap();
    let expected =
        "query\tmrr@10\tp@2\tmrr@10 vs other.run\tp@2 vs other.run\nq1\t1\t0.5\t\t\nq2\t\t\t0.5\t0.5\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    let again = write_per_query(&path, &a, &[], false).unwrap_err();
    assert!(matches!(again, Error::Exists { .. }), "{again}");
    write_per_query(&path, &a, &[], true).unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("query\tmrr@10\tp@2\n"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
