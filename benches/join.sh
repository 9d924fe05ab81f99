#!/usr/bin/env bash
# The approximate self-join against faiss IVF and HNSW, each on one thread of one core, one after another.
#
#   python3 -m venv VENV && VENV/bin/pip install faiss-cpu numpy
#   PYTHON=VENV/bin/python benches/join.sh [ROWS [K [VECTORS.npy]]]
#
# ROWS (default 100,000) of VECTORS.npy are searched for among themselves; without a file, generated clustered ones of 384
# dimensions. Each program prints lines of JSON with its processor time, build included, and its recall on 1,000 rows. PEERS
# names the peers, TARGETS the recalls that hardrock is asked for, CORE the core, DIR where files go.
set -euo pipefail
cd "$(dirname "$0")/.."
rows=${1:-100000} k=${2:-10}
dir=${DIR:-${TMPDIR:-/tmp}/join-bench}
python=${PYTHON:-python3} core=${CORE:-0} target=${CARGO_TARGET_DIR:-target}
vectors=${3:-$dir/clustered.npy}
cargo build --release --quiet -p hardrock-engine --example join_bench
mkdir -p "$dir"
[ -f "$vectors" ] || "$python" benches/join_peers.py make "$vectors" "$rows" 384

# These bend OpenBLAS to kernels of another processor; faiss must run as its users run it.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 RAYON_NUM_THREADS=1
"$python" benches/join_peers.py exact "$vectors" "$rows" "$k" "$dir"
for target_recall in ${TARGETS:-0.9 0.95 0.99}; do
    taskset -c "$core" "$target/release/examples/join_bench" "$vectors" "$k" "$target_recall" "$rows" "$dir/ids.npy"
    "$python" benches/join_peers.py recall "$vectors" "$rows" "$dir/ids.npy" "$dir"
done
for peer in ${PEERS-ivf hnsw}; do
    taskset -c "$core" "$python" benches/join_peers.py "$peer" "$vectors" "$rows" "$k" "$dir"
done
