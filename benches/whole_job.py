"""The whole mining job against sentence-transformers' mine_hard_negatives, on the same precomputed vectors.

usage: whole_job.py HARDROCK_BINARY [--queries 20000] [--documents 200000] [--dim 384] [--rounds 3]

Makes clustered random vectors and texts that stand for them, wraps the vectors in a model that costs nothing, and runs, each in a
process of its own and in turn: hardrock, sentence-transformers with and without faiss. Same settings: candidates to rank 100, 5
negatives, relative margin 0.05, triplets written as JSON lines. Both are timed from reading the texts to the written file; the
peer's imports are not timed. Prints medians of wall and processor seconds, of the ratios of each round, and peak memory.
Needs numpy, torch, sentence-transformers, datasets, faiss-cpu.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

PEER = """
import sys, json, time, resource
import numpy as np, torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import dot_score, mine_hard_negatives, pairwise_dot_score
folder, use_faiss, out = sys.argv[1], sys.argv[2] == "faiss", sys.argv[3]
if use_faiss:
    import faiss

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

# The miner drops repeated texts and keeps the order; ours are distinct, so each side is its file, loaded when asked for and held by
# the miner alone. That is the least that any model could cost.
class Free(SentenceTransformer):
    def __init__(self):
        torch.nn.Module.__init__(self)
    def load(self, side, sentences):
        matrix = np.load(f"{folder}/{side}.npy")
        assert len(matrix) == len(sentences)
        return matrix
    def encode_document(self, sentences, **kwargs):
        return self.load("corpus", sentences)
    def encode_query(self, sentences, **kwargs):
        return self.load("queries", sentences)
    def get_embedding_dimension(self):
        return np.load(f"{folder}/queries.npy", mmap_mode="r").shape[1]
    @property
    def device(self):
        return torch.device("cpu")
    def similarity(self, a, b):
        return dot_score(a, b)
    def similarity_pairwise(self, a, b):
        return pairwise_dot_score(a, b)

def texts(side):
    with open(f"{folder}/{side}.jsonl") as lines:
        return {record["_id"]: record["text"] for record in map(json.loads, lines)}

bare, start, start_cpu = peak(), time.time(), cpu()
text, query = texts("corpus"), texts("queries")
with open(f"{folder}/qrels/train.tsv") as lines:
    pairs = [line.rstrip().split("\\t") for line in lines][1:]
data = Dataset.from_dict({"query": [query[q] for q, _, _ in pairs], "answer": [text[d] for _, d, _ in pairs]})
corpus = list(text.values())
del text, query, pairs
called = time.time()
mined = mine_hard_negatives(data, Free(), corpus=corpus, range_max=100, num_negatives=5, relative_margin=0.05,
                            use_faiss=use_faiss, batch_size=4096, verbose=False)
call = time.time() - called
mined.to_json(out)
print(json.dumps({"seconds": time.time() - start, "call": call, "cpu": cpu() - start_cpu, "rows": len(mined), "peak": peak(),
                  "bare": bare}))
"""


def make(folder, queries, documents, dim):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((2000, dim), dtype=np.float32)
    def cloud(n):
        x = centres[rng.integers(0, len(centres), n)] + 0.9 * rng.standard_normal((n, dim), dtype=np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True)
    docs = cloud(documents)
    positive = rng.choice(documents, queries, replace=False)
    asked = docs[positive] + 0.04 * rng.standard_normal((queries, dim), dtype=np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    np.save(f"{folder}/corpus.npy", docs)
    np.save(f"{folder}/queries.npy", asked.astype(np.float32))
    words = [f"w{i}" for i in range(5000)]
    def text(prefix, i, n):
        return f"{prefix}{i} " + " ".join(words[j] for j in rng.integers(0, 5000, n))
    with open(f"{folder}/corpus.jsonl", "w") as f:
        for i in range(documents):
            f.write(json.dumps({"_id": f"d{i}", "text": text("doc", i, 40)}) + "\n")
    os.makedirs(f"{folder}/qrels")
    with open(f"{folder}/queries.jsonl", "w") as f, open(f"{folder}/qrels/train.tsv", "w") as q:
        q.write("query-id\tcorpus-id\tscore\n")
        for i in range(queries):
            f.write(json.dumps({"_id": f"q{i}", "text": text("query", i, 8)}) + "\n")
            q.write(f"q{i}\td{positive[i]}\t1\n")


def triplets(path):
    with open(path, encoding="utf-8") as lines:
        return {tuple(json.loads(line).values())[:3] for line in lines}


def ours(binary, folder, work, extra):
    out = f"{work}/{'like-peer' if extra else 'default'}.jsonl"
    command = [binary, "mine", folder, "-o", out, "--force", "--fresh", "--json", "--corpus-vectors", f"{folder}/corpus.npy",
               "--query-vectors", f"{folder}/queries.npy", "--range-max", "100", "--top-k", "101", "--num-negatives", "5",
               "--relative-margin", "0.05", "--format", "st-triplet", *extra]
    start, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, after = time.time() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    manifest = json.loads(done.stdout)["data"]
    return {"seconds": seconds, "cpu": cpu, "rows": manifest["counts"]["selected"], "peak": manifest["peak_memory"],
            "stages": manifest["seconds"]}


def peer(folder, work, mode):
    out = f"{work}/peer.jsonl"
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    done = subprocess.run([sys.executable, "-c", PEER, folder, mode, out], capture_output=True, text=True, env=env)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    result = json.loads(done.stdout.strip().splitlines()[-1])
    theirs = triplets(out)
    return {**result, "same": len(theirs & triplets(f"{work}/like-peer.jsonl")) / max(1, len(theirs))}


def main():
    args = argparse.ArgumentParser(usage=__doc__)
    args.add_argument("binary")
    args.add_argument("--queries", type=int, default=20000)
    args.add_argument("--documents", type=int, default=200000)
    args.add_argument("--dim", type=int, default=384)
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--modes", default="faiss,torch")
    args = args.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as work:
        make(folder, args.queries, args.documents, args.dim)
        runs = {"hardrock, filters as the peer": lambda: ours(args.binary, folder, work, ["--filter", "known,text"]),
                "hardrock, default filters": lambda: ours(args.binary, folder, work, [])}
        for mode in args.modes.split(","):
            name = "sentence-transformers, " + ("faiss" if mode == "faiss" else "no faiss")
            runs[name] = lambda mode=mode: peer(folder, work, mode)
        results = {name: [] for name in runs}
        for _ in range(args.rounds):
            for name, run in runs.items():
                results[name].append(run())
                print(f"  {name}: {results[name][-1]}", file=sys.stderr, flush=True)
    def median(rounds, key):
        return statistics.median(r[key] for r in rounds)

    base = results["hardrock, filters as the peer"]
    base_m = max(r["peak"] for r in base)
    print(f"{args.queries} queries x {args.documents} documents, {args.dim} dimensions, median of {args.rounds} rounds in turn\n")
    print("| run | wall s | x hardrock (least to greatest) | cpu s | x hardrock | peak MiB | x hardrock | of it imports | negatives | same triplets |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, rounds in results.items():
        if any("error" in r for r in rounds):
            print(f"| {name} | failed: {rounds[0].get('error')} | | | | | | | | |")
            continue
        wall = sorted(r["seconds"] / b["seconds"] for r, b in zip(rounds, base))
        cpu = statistics.median(r["cpu"] / b["cpu"] for r, b in zip(rounds, base))
        m = max(r["peak"] for r in rounds)
        print(f"| {name} | {median(rounds, 'seconds'):.1f} | {statistics.median(wall):.1f} ({wall[0]:.1f} to {wall[-1]:.1f}) "
              f"| {median(rounds, 'cpu'):.1f} | {cpu:.1f} | {m / 2**20:.0f} | {m / base_m:.1f} | {rounds[0].get('bare', 0) / 2**20:.0f} "
              f"| {rounds[0]['rows']} | {format(rounds[0]['same'], '.2%') if 'same' in rounds[0] else ''} |")


if __name__ == "__main__":
    main()
