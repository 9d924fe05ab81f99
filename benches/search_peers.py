"""Makes the vectors of the search benchmark and runs one peer on them.

    pip install faiss-cpu torch numpy          # a virtual environment outside the repository
    search_peers.py make DIR ANCHORS DOCUMENTS DIM [spread|compressed|outliers]
    search_peers.py faiss|torch DIR K IDS.npy [ANCHOR_LIMIT]
    search_peers.py table DIR < LINES          # the JSON lines of several runs

`benches/search.sh` calls it. Each run prints one line of JSON; `cpu_s` is user and system time together.
"""

import json
import os
import resource
import sys
import time

import numpy as np


def make(folder, anchors, documents, dim, kind="spread"):
    """Unit vectors around 1,000 centres, as encoders give them: neighbours are closer than strangers.

    `compressed` adds one common vector, so that strangers have a cosine near 0.7; `outliers` makes three dimensions eight times as
    large.
    """
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((1000, dim), dtype=np.float32)
    common = np.random.default_rng(8).standard_normal(dim, dtype=np.float32)
    for name, rows in (("anchors", anchors), ("documents", documents)):
        x = centres[rng.integers(0, 1000, rows)]
        x += 1.5 * rng.standard_normal((rows, dim), dtype=np.float32)
        if kind == "compressed":
            x += 2.75 * common
        elif kind == "outliers":
            x[:, :3] *= 8
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        np.save(f"{folder}/{name}.npy", x)


def by_faiss(anchors, documents, k):
    import faiss

    index = faiss.IndexFlatIP(documents.shape[1])
    index.add(documents)
    return lambda: index.search(anchors, k)[1]


def by_torch(anchors, documents, k):
    import torch

    a, d = torch.from_numpy(anchors), torch.from_numpy(documents)

    def search():
        with torch.inference_mode():
            parts = [torch.topk(a[i : i + 1024] @ d.T, k).indices for i in range(0, len(a), 1024)]
        return torch.cat(parts).numpy()

    return search


def run(name, folder, k, out, limit):
    anchors = np.load(f"{folder}/anchors.npy")[:limit]
    documents = np.load(f"{folder}/documents.npy")
    search = {"faiss": by_faiss, "torch": by_torch}[name](anchors, documents, k)
    before = os.times()
    start = time.perf_counter()
    ids = search()
    wall = time.perf_counter() - start
    after = os.times()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.save(out, ids.astype(np.uint32))
    flops = 2 * len(anchors) * documents.size
    print(
        json.dumps(
            dict(
                name=name,
                wall_s=round(wall, 3),
                cpu_s=round(after.user + after.system - before.user - before.system, 3),
                gflops=round(flops / wall / 1e9, 1),
                rss_mib=round(rss / 1024),
            )
        )
    )


def table(folder):
    """Medians over the rounds; shares of the peak by the processor time, which a busy machine disturbs least."""
    runs = {}
    for line in sys.stdin:
        run = json.loads(line)
        runs.setdefault(run["name"], []).append(run)
    own = runs["hardrock"][0]
    flops = 2 * own["anchors"] * own["documents"] * own["dim"]
    peak = float(np.median([r["peak_gflops"] for r in runs["hardrock"]]))
    mid = {name: {f: float(np.median([r[f] for r in rs])) for f in ("wall_s", "cpu_s", "rss_mib")} for name, rs in runs.items()}
    ids = {name: np.load(f"{folder}/ids.{name}.npy") for name in runs}
    rounds = len(runs["hardrock"])
    print(f"hardrock: {own['way']}")
    print(f"{own['anchors']} anchors x {own['documents']} documents x {own['dim']}, top {own['k']}, {rounds} rounds, one core")
    print(f"FMA peak of the core, measured in the same runs: {peak:.0f} GFLOP/s; inputs {own['inputs_mib']:.0f} MiB\n")
    print("| what | wall s | cpu s | GFLOP per cpu s | of peak | wall, hardrock = 1 | cpu, hardrock = 1 | same ids | peak MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, m in mid.items():
        rate = flops / m["cpu_s"] / 1e9
        same = np.mean([len(np.intersect1d(x, y)) for x, y in zip(ids["hardrock"], ids[name])]) / ids[name].shape[1]
        ratios = [m[f] / mid["hardrock"][f] for f in ("wall_s", "cpu_s")]
        print(
            f"| {name} | {m['wall_s']:.2f} | {m['cpu_s']:.2f} | {rate:.0f} | {100 * rate / peak:.0f} % "
            f"| {ratios[0]:.2f} | {ratios[1]:.2f} | {100 * same:.4f} % | {m['rss_mib']:.0f} |"
        )


if __name__ == "__main__":
    command, *args = sys.argv[1:]
    if command == "make":
        make(args[0], *map(int, args[1:4]), *args[4:])
    elif command == "table":
        table(*args)
    else:
        run(command, args[0], int(args[1]), args[2], int(args[3]) if len(args) > 3 else None)
