//! From a mined file to a promise: p_fn, verdicts of a judge, and a bound on the share of false negatives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::{data, manifest, run, succeed};

#[test]
fn verdicts_make_a_promise_and_too_few_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let input = data("cwe").display().to_string();
    let (mined, promised) = (path("m.jsonl"), path("p.jsonl"));
    let (_, stderr) = succeed(["mine", &input, "-o", &mined]);
    assert!(stderr.contains("of the selected are false negatives (an estimate"), "{stderr}");

    let judge = format!("qrels:{}", data("cwe/qrels/oracle.tsv").display());
    let (stdout, _) = succeed(["judge", &mined, "-n", "20", "--by", &judge]);
    assert!(stdout.contains(" verdicts, "), "{stdout}");
    let verdicts = path("m.jsonl.verdicts.sqlite");
    let promise = |out: &str| {
        let arguments = ["mine", &input, "-o", out, "--max-false-negatives", "0.05", "--verdicts", &verdicts];
        run(arguments)
    };
    let (code, _, stderr) = promise(&path("few.jsonl"));
    assert_ne!(code, Some(0), "twenty verdicts prove nothing at 5 %: {stderr}");
    assert!(!folder.path().join("few.jsonl").exists());

    succeed(["judge", &mined, "-n", "280", "--by", &judge]);
    let (code, _, stderr) = promise(&promised);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stderr.contains("promise: at most 5 % of the selected negatives are false, at 90 % confidence"),
        "{stderr}"
    );
    let json = manifest(&folder.path().join("p.jsonl"));
    let said = &json["p_fn"]["promise"];
    assert_eq!((said["kind"].as_str(), said["share"].as_f64()), (Some("confident"), Some(0.05)), "{said}");
    assert!(said["upper"].as_f64().unwrap() <= 0.05 && said["slots"].as_u64().unwrap() >= 45, "{said}");
}

#[test]
fn a_ceiling_on_p_fn_drops_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("m.jsonl");
    let (input, path) = (data("cwe").display().to_string(), out.display().to_string());
    succeed(["mine", &input, "-o", &path, "--max-p-fn", "0.05", "-q"]);
    assert!(manifest(&out)["counts"]["dropped"]["max-p-fn"].as_u64().unwrap() > 0);
    let (code, _, stderr) = run(["mine", &input, "-o", &path, "--max-p-fn", "1.5", "--force"]);
    assert_eq!(code, Some(2), "{stderr}");
}
