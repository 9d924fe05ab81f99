"""Makes the vectors of the join benchmark, runs a peer on them, and measures everybody's recall.

    pip install faiss-cpu numpy          # a virtual environment outside the repository
    join_peers.py make FILE.npy ROWS DIM
    join_peers.py exact FILE.npy ROWS K DIR
    join_peers.py ivf|hnsw FILE.npy ROWS K DIR
    join_peers.py recall FILE.npy ROWS IDS.npy DIR

`benches/join.sh` calls it. `exact` stores the neighbours of 1,000 rows; recall counts a found row as right if its score reaches the
k-th exact one. A peer prints one line of JSON per setting of its effort (nprobe, efSearch), with its recall.
"""

import json
import os
import resource
import sys
import time

import numpy as np

SAMPLE = 1000
# Efforts in rising order; a run stops at the first that reaches the highest target.
NPROBE = [4, 8, 16, 32, 64, 128, 256, 512]
EF_SEARCH = [100, 150, 200, 300, 500, 800]
HIGHEST = 0.99


def make(path, rows, dim):
    """Unit vectors around one centre per 250 rows; half of a vector's square is its own."""
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((rows // 250, dim), dtype=np.float32)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, dim))
    for first in range(0, rows, 50_000):
        n = min(50_000, rows - first)
        x = centres[rng.integers(0, len(centres), n)] + rng.standard_normal((n, dim), dtype=np.float32)
        out[first : first + n] = x / np.linalg.norm(x, axis=1, keepdims=True)
    out.flush()


def sample(rows):
    return np.random.default_rng(3).choice(rows, SAMPLE, replace=False)


def exact(vectors, k, folder):
    picks = sample(len(vectors))
    scores = vectors[picks] @ vectors.T
    kth = -np.sort(-scores, axis=1)[:, k - 1]
    np.save(f"{folder}/kth.npy", kth)


def recall(vectors, ids, folder):
    picks, kth = sample(len(vectors)), np.load(f"{folder}/kth.npy")
    found = ids[picks]
    right = 0
    for pick, row, bar in zip(picks, found, kth):
        row = row[row < len(vectors)]
        # Scores of another order of summing may fall short of the bar by a rounding.
        right += min(len(row), int((vectors[row] @ vectors[pick] >= bar - 1e-5).sum()))
    return right / found.size


def peer(name, vectors, k, folder):
    import faiss

    clock = time.process_time
    start, start_cpu = time.perf_counter(), clock()
    dim = vectors.shape[1]
    if name == "ivf":
        lists = int(4 * len(vectors) ** 0.5)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid = 64
        index.train(vectors)
    else:
        index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 100
    index.add(vectors)
    built, built_cpu = time.perf_counter() - start, clock() - start_cpu
    for effort in NPROBE if name == "ivf" else EF_SEARCH:
        if name == "ivf":
            index.nprobe = effort
        else:
            index.hnsw.efSearch = effort
        start, start_cpu = time.perf_counter(), clock()
        ids = index.search(vectors, k)[1]
        wall, cpu = time.perf_counter() - start, clock() - start_cpu
        got = recall(vectors, ids, folder)
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        line = dict(name=name, rows=len(vectors), effort=effort, recall=round(got, 4), build_cpu_s=round(built_cpu, 2))
        line |= dict(search_cpu_s=round(cpu, 2), cpu_s=round(built_cpu + cpu, 2), wall_s=round(built + wall, 2))
        print(json.dumps(line | dict(rss_mib=round(rss / 1024))))
        sys.stdout.flush()
        if got >= HIGHEST:
            break


if __name__ == "__main__":
    command, path, *rest = sys.argv[1:]
    if command == "make":
        make(path, *map(int, rest))
    else:
        vectors = np.ascontiguousarray(np.load(path, mmap_mode="r")[: int(rest[0])])
        if command == "exact":
            exact(vectors, int(rest[1]), rest[2])
        elif command == "recall":
            print(json.dumps(dict(recall=round(recall(vectors, np.load(rest[1]), rest[2]), 4))))
        else:
            peer(command, vectors, int(rest[1]), rest[2])
