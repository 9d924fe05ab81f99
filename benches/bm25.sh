#!/usr/bin/env bash
# BM25 beside bm25s and tantivy: index and query rate on 100,000 real texts, 10,000 queries, top 100, one pinned core.
# usage: benches/bm25.sh SHARED_DATA [ROUNDS] [CORE]     (needs cargo, python3 with bm25s, taskset)
# The three programs take turns; the last lines are medians over the rounds, of rates and of each round's ratios.
set -euo pipefail
cd "$(dirname "$0")/.."
data=$1 rounds=${2:-5} core=${3:-0}
python=${PYTHON:-python3}
target=${CARGO_TARGET_DIR:-target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --release -p hardrock-engine --example bm25_bench
cargo build --release --manifest-path benches/peers/Cargo.toml --target-dir "$target/peers"
"$python" benches/bm25_data.py "$data" "$work"

export RAYON_NUM_THREADS=1 OMP_NUM_THREADS=1
for texts in short long; do
    for _ in $(seq "$rounds"); do
        for engine in "$target/release/examples/bm25_bench" "$target/peers/release/bm25-peers" "$python benches/bm25_peers.py"; do
            taskset -c "$core" $engine "$work/$texts.txt" "$work/queries.txt" 100 1 | sed "s/^/$texts /" | tee -a "$work/log"
        done
    done
done
"$python" - "$work/log" <<'PYTHON'
import collections, re, statistics, sys
rates = collections.defaultdict(list)
for line in open(sys.argv[1]):
    texts, engine = line.split()[:2]
    rates[texts, engine].append([float(re.search(rf"{what} ([\d.]+)", line)[1]) for what in ("index", "search")])
print("\n| texts | engine | index docs/s | queries/s | hardrock is faster: index | search |\n|---|---|---|---|---|---|")
for (texts, engine), found in rates.items():
    middle = [statistics.median(column) for column in zip(*found)]
    # Each round by itself: the machine's speed drifts more between rounds than within one.
    times = [[o / f for o, f in zip(*pair)] for pair in zip(rates[texts, "hardrock"], found)]
    times = " | ".join(f"{statistics.median(c):.1f} ({min(c):.1f} to {max(c):.1f})" for c in zip(*times))
    print(f"| {texts} | {engine} | {middle[0]:,.0f} | {middle[1]:,.0f} | {times} |")
PYTHON
