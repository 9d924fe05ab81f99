#!/usr/bin/env bash
# Exact search against faiss IndexFlatIP and a torch matmul + topk, each pinned to one core, in turns.
#
#   python3 -m venv VENV && VENV/bin/pip install faiss-cpu torch numpy
#   PYTHON=VENV/bin/python benches/search.sh [ANCHORS [ROUNDS [KIND]]]
#
# KIND is spread (default), compressed (a large common part) or outliers (three dominant dimensions). ANCHORS of 20,000 are searched among 200,000 vectors of 384 dimensions for the top 100. The vectors lie in DIR
# (default: search-bench in the folder for temporary files) and are made once. CORE says which core.
set -euo pipefail
cd "$(dirname "$0")/.."
anchors=${1:-20000} rounds=${2:-3} kind=${3:-spread}
dir=${DIR:-${TMPDIR:-/tmp}/search-bench}/$kind
python=${PYTHON:-python3} core=${CORE:-0} target=${CARGO_TARGET_DIR:-target}
cargo build --release --quiet -p hardrock-engine --example search_bench
mkdir -p "$dir"
[ -f "$dir/documents.npy" ] || "$python" benches/search_peers.py make "$dir" 20000 200000 384 "$kind"

# These bend OpenBLAS to kernels of another processor; faiss must run as its users run it.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 RAYON_NUM_THREADS=1
for round in $(seq "$rounds"); do
    echo "round $round of $rounds" >&2
    taskset -c "$core" "$target/release/examples/search_bench" \
        "$dir/anchors.npy" "$dir/documents.npy" 100 "$dir/ids.hardrock.npy" "$anchors"
    IN_F32=1 taskset -c "$core" "$target/release/examples/search_bench" \
        "$dir/anchors.npy" "$dir/documents.npy" 100 "$dir/ids.hardrock-f32.npy" "$anchors"
    for peer in ${PEERS:-faiss torch}; do
        taskset -c "$core" "$python" benches/search_peers.py "$peer" "$dir" 100 "$dir/ids.$peer.npy" "$anchors"
    done
done | tee /dev/stderr | "$python" benches/search_peers.py table "$dir"
