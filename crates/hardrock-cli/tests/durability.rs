//! Kill at any point, change anything, run on any number of threads: the bytes stay the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{bytes, data, hardrock, manifest, run, succeed};

/// A job of a dozen chunks on real data.
fn job(out: &Path) -> Vec<String> {
    let folder = data("debian-packages").display().to_string();
    ["mine", &folder, "-o", &out.display().to_string(), "-q", "--top-k", "60"].map(str::to_owned).to_vec()
}

/// Takes the outputs away.
fn clear(out: &Path) {
    for file in ["out.jsonl", "out.jsonl.candidates.parquet", "out.jsonl.manifest.json"] {
        fs::remove_file(out.with_file_name(file)).unwrap();
    }
}

#[test]
fn thirty_kills_at_random_points_end_with_the_bytes_of_an_undisturbed_run() {
    let folder = tempfile::tempdir().unwrap();
    let calm = folder.path().join("calm/out.jsonl");
    let disturbed = folder.path().join("disturbed/out.jsonl");
    for out in [&calm, &disturbed] {
        fs::create_dir_all(out.parent().unwrap()).unwrap();
    }
    let start = Instant::now();
    succeed(job(&calm));
    let whole = start.elapsed();

    // A fixed sequence of delays over the length of the whole job; when a run ends before its kill, the outputs go and
    // half of the time the work folder goes too, so that kills hit every stage.
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut kills, mut finished) = (0, 0);
    while kills < 30 {
        let mut child = hardrock(job(&disturbed)).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random(whole.as_millis() as u64 + 1)));
        match child.try_wait().unwrap() {
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                // The kill may have hit after the last rename: then the run was done, and a new one would rightly refuse.
                if disturbed.with_file_name("out.jsonl.manifest.json").exists() {
                    assert_eq!(bytes(&calm), bytes(&disturbed), "after {kills} kills");
                    clear(&disturbed);
                }
            }
            Some(status) => {
                assert!(status.success(), "run after {kills} kills: {status}");
                assert_eq!(bytes(&calm), bytes(&disturbed), "after {kills} kills");
                finished += 1;
                clear(&disturbed);
                if finished % 2 == 1 {
                    fs::remove_dir_all(disturbed.with_file_name(".hardrock")).unwrap();
                }
            }
        }
    }
    if !disturbed.with_file_name("out.jsonl.manifest.json").exists() {
        succeed(job(&disturbed));
    }
    assert_eq!(bytes(&calm), bytes(&disturbed));
    let left = fs::read_dir(disturbed.parent().unwrap()).unwrap();
    let names: Vec<String> = left.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    let known = |n: &String| n.starts_with("out.jsonl") || n == ".hardrock";
    assert!(names.iter().all(known), "{names:?}");
}

#[test]
fn one_thread_and_three_threads_write_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut outs = Vec::new();
    for threads in ["1", "3"] {
        let out = folder.path().join(threads).join("out.jsonl");
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        let example = support::example().display().to_string();
        let rule =
            ["--threads", threads, "--select", "random", "--shortfall", "random", "--num-negatives", "40"];
        let out_text = out.display().to_string();
        succeed(["mine", &example, "-o", &out_text, "-q"].into_iter().chain(rule));
        outs.push(bytes(&out));
    }
    assert_eq!(outs[0], outs[1]);
}

#[test]
fn a_changed_option_invalidates_exactly_the_stages_that_depend_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.jsonl");
    let example = support::example().display().to_string();
    let mine = |options: &[&str]| {
        let out_text = out.display().to_string();
        let all = ["mine", &example, "-o", &out_text, "--force", "--json"]
            .into_iter()
            .chain(options.iter().copied());
        succeed(all.map(str::to_owned));
        let stages = |prefix: &str| {
            let entries = fs::read_dir(folder.path().join(".hardrock")).unwrap();
            let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
            names.filter(|n| n.starts_with(prefix)).count()
        };
        (
            stages("read-"),
            stages("terms-"),
            stages("pool-"),
            manifest(&out)["counts"]["kept"].as_u64().unwrap(),
        )
    };
    let first = mine(&[]);
    assert_eq!((first.0, first.1, first.2), (1, 1, 1));
    assert_eq!(mine(&[]), first, "nothing changed");
    let filtered = mine(&["--filter", "known,kin:0.2"]);
    assert_eq!((filtered.0, filtered.1, filtered.2), (1, 1, 1), "a filter needs no new candidates");
    assert_ne!(filtered.3, first.3);
    let deeper = mine(&["--top-k", "50"]);
    assert_eq!(
        (deeper.0, deeper.1, deeper.2),
        (1, 1, 2),
        "a new depth needs new candidates and no new terms"
    );
    let stemmed = mine(&["--language", "none"]);
    assert_eq!((stemmed.0, stemmed.1, stemmed.2), (1, 2, 3), "new tokens need new terms and new candidates");
    let split = mine(&["--split", "dev"]);
    assert_eq!((split.0, split.1, split.2), (2, 3, 4), "another split is another data set");
}

#[test]
fn a_changed_input_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = support::file(
        folder.path(),
        "pairs.csv",
        "anchor,positive\nred fox,the red fox runs\nblue sea,a blue sea rolls\n",
    );
    let out = folder.path().join("out.jsonl");
    let arguments = |force: bool| {
        let mut all = vec![
            "mine".into(),
            "--pairs".into(),
            pairs.display().to_string(),
            "-o".into(),
            out.display().to_string(),
        ];
        all.extend(["-q", "--format", "native", "--filter", "known"].map(str::to_owned));
        all.extend(force.then(|| "--force".to_owned()));
        all
    };
    succeed(arguments(false));
    let before = manifest(&out)["counts"]["documents"].as_u64();
    let (code, _, stderr) = run(arguments(false));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("already exists") && stderr.contains("--force"), "{stderr}");
    let mut text = fs::read_to_string(&pairs).unwrap();
    text.push_str("green hill,one green hill stands\n");
    fs::write(&pairs, text).unwrap();
    succeed(arguments(true));
    assert_eq!((before, manifest(&out)["counts"]["documents"].as_u64()), (Some(2), Some(3)));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_within_a_second_keeps_the_work_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.jsonl");
    let mut child = hardrock(job(&out)).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let start = Instant::now();
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = child.wait().unwrap();
    let took = start.elapsed();
    if status.success() {
        return; // The machine was faster than the signal: nothing was interrupted.
    }
    assert_eq!(status.code(), Some(130));
    assert!(took < Duration::from_secs(3), "{took:?}");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut text).unwrap();
    assert!(text.contains("interrupted; finished work is kept"), "{text}");
    assert!(!out.exists() && folder.path().join(".hardrock").exists());
}
