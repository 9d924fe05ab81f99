//! Repository chores: checks that keep the house in order.
//!
//! `cargo run -p xtask -- check` reads the tree and `cargo metadata` and fails when a rule of the house is broken.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Which crates of the workspace each crate may use.
const EDGES: &[(&str, &[&str])] = &[
    ("hardrock-core", &[]),
    ("hardrock-engine", &["hardrock-core"]),
    ("hardrock", &["hardrock-core", "hardrock-engine"]),
    ("hardrock-cli", &["hardrock", "hardrock-core", "hardrock-engine"]),
    ("xtask", &[]),
];

/// Everything else that the core may use.
const CORE: &[&str] = &["serde", "thiserror"];

/// A rule of the house: what breaks it, or why it could not be checked.
type Check = fn(&Path) -> Result<Vec<String>, String>;

/// Every rule.
const CHECKS: &[Check] = &[edges, unsafe_code, dependencies, book];

/// The one place for `unsafe`.
const KERNEL: &str = "crates/hardrock-engine/src/kernel/";

#[expect(clippy::print_stderr, reason = "a chore talks to the terminal")]
fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() != Some("check") {
        eprintln!("usage: cargo run -p xtask -- check");
        return ExitCode::from(2);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut problems = Vec::new();
    for check in CHECKS {
        match check(&root) {
            Ok(found) => problems.extend(found),
            Err(e) => problems.push(e),
        }
    }
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Ordinary dependencies by crate, as cargo sees them.
fn declared(root: &Path) -> Result<BTreeMap<String, Vec<String>>, String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let mut all = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        let normal = dependencies.filter(|d| d["kind"].is_null());
        let names = normal.filter_map(|d| d["name"].as_str()).map(str::to_owned).collect();
        all.insert(package["name"].as_str().unwrap_or_default().to_owned(), names);
    }
    Ok(all)
}

/// Arrows between crates never turn back, and the core stays pure.
fn edges(root: &Path) -> Result<Vec<String>, String> {
    let declared = declared(root)?;
    let mut problems = Vec::new();
    for (name, dependencies) in &declared {
        let Some((_, allowed)) = EDGES.iter().find(|(n, _)| n == name) else {
            problems.push(format!("crate {name} is not in xtask's list of edges"));
            continue;
        };
        for dependency in dependencies {
            let ours = declared.contains_key(dependency);
            if ours && !allowed.contains(&dependency.as_str()) {
                problems.push(format!("{name} must not use {dependency}"));
            }
            if name == "hardrock-core" && !ours && !CORE.contains(&dependency.as_str()) {
                problems.push(format!("hardrock-core must stay pure, but it uses {dependency}"));
            }
        }
    }
    Ok(problems)
}

/// All Rust sources below a folder.
fn sources(folder: &Path, out: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.is_dir() {
            sources(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    Ok(())
}

/// `unsafe` stays in the kernel module, and each block there says why it is sound.
fn unsafe_code(root: &Path) -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    sources(&root.join("crates"), &mut files)?;
    let mut problems = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let opens =
                code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl");
            if !opens {
                continue;
            }
            if !name.starts_with(KERNEL) {
                problems.push(format!("{name}:{}: unsafe outside {KERNEL}", i + 1));
            } else if code.contains("unsafe {") {
                let before = &lines[i.saturating_sub(6)..=i];
                if !before.iter().any(|l| l.contains("SAFETY:")) {
                    problems.push(format!("{name}:{}: unsafe block without a SAFETY line", i + 1));
                }
            }
        }
    }
    Ok(problems)
}

/// Every outside dependency has its line in docs/dependencies.md.
fn dependencies(root: &Path) -> Result<Vec<String>, String> {
    let path = root.join("docs/dependencies.md");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let declared = declared(root)?;
    let mut problems = Vec::new();
    for (name, list) in &declared {
        for dependency in list.iter().filter(|d| !declared.contains_key(*d)) {
            if !text.contains(&format!("`{dependency}`")) {
                problems.push(format!("{dependency} (used by {name}) has no line in docs/dependencies.md"));
            }
        }
    }
    Ok(problems)
}

/// Every page of the book exists, and every page is in the book.
fn book(root: &Path) -> Result<Vec<String>, String> {
    let docs = root.join("docs");
    let summary =
        std::fs::read_to_string(docs.join("SUMMARY.md")).map_err(|e| format!("docs/SUMMARY.md: {e}"))?;
    let listed: Vec<&str> = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let mut problems: Vec<String> = listed
        .iter()
        .filter(|page| !docs.join(page).is_file())
        .map(|page| format!("docs/SUMMARY.md lists {page}, which is not there"))
        .collect();
    let mut pages = Vec::new();
    for folder in [docs.clone(), docs.join("benchmarks")] {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "md") {
                pages.push(path.strip_prefix(&docs).unwrap_or(&path).display().to_string());
            }
        }
    }
    for page in pages.iter().filter(|p| *p != "SUMMARY.md" && !listed.contains(&p.as_str())) {
        problems.push(format!("docs/{page} is not in docs/SUMMARY.md"));
    }
    Ok(problems)
}
