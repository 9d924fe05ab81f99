"""The whole mining job from texts, against sentence-transformers' mine_hard_negatives with the same model.

usage: whole_text.py HARDROCK_BINARY DATA_FOLDER MODEL_FOLDER [--documents 5000] [--rounds 3] [--precisions f32,int8] [--threads 2]

Takes the first documents of debian-packages' `subset-5k.tsv` (or of the corpus, for more) with the train queries whose positives are among
them, and runs, each in a process of its own and in turn, hardrock in each precision and sentence-transformers. Same texts, model and settings:
nearest 100 documents by the model alone, 5 negatives, relative margin 0.05, triplets written as JSON lines. Timed from reading the texts to
the written file; the peer's imports are not timed. Also hardrock once more with another margin, in the same work folder.
Prints medians of wall and processor seconds, of the ratios of each round, and peak memory. Needs torch, sentence-transformers, datasets.
"""
import argparse
import gzip
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PEER = """
import sys, json, time, resource
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives
folder, model, out, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
torch.set_num_threads(threads)

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

def texts(side):
    with open(f"{folder}/{side}.jsonl") as lines:
        return {record["_id"]: record["text"] for record in map(json.loads, lines)}

start, start_cpu = time.time(), cpu()
model = SentenceTransformer(model, device="cpu")
text, query = texts("corpus"), texts("queries")
with open(f"{folder}/qrels/train.tsv") as lines:
    pairs = [line.rstrip().split("\\t") for line in lines][1:]
data = Dataset.from_dict({"query": [query[q] for q, _, _ in pairs], "answer": [text[d] for _, d, _ in pairs]})
mined = mine_hard_negatives(data, model, corpus=list(text.values()), range_max=100, num_negatives=5, relative_margin=0.05, batch_size=32,
                            verbose=False)
mined.to_json(out)
print(json.dumps({"seconds": time.time() - start, "cpu": cpu() - start_cpu, "rows": len(mined), "peak": peak()}))
"""


def opened(stem):
    path = stem if os.path.exists(stem) else stem + ".gz"
    return gzip.open(path, "rt", encoding="utf-8") if path.endswith(".gz") else open(path, encoding="utf-8")


def make(data, folder, documents):
    """A BEIR folder with distinct texts, so that both tools see the same documents."""
    source = f"{data}/debian-packages"
    with open(f"{source}/subset-5k.tsv", encoding="utf-8") as lines:
        wanted = {line.split("\t")[0].strip() for line in lines}
    with opened(f"{source}/corpus.jsonl") as lines:
        records = [json.loads(line) for line in lines]
    records.sort(key=lambda r: r["_id"] not in wanted)
    kept, seen = {}, set()
    for r in records:
        text = f"{r.get('title', '')} {r['text']}".strip()
        if len(kept) < documents and text not in seen:
            seen.add(text)
            kept[r["_id"]] = text
    with open(f"{source}/qrels/train.tsv", encoding="utf-8") as lines:
        pairs = [line.rstrip().split("\t") for line in lines][1:]
    pairs = [(q, d) for q, d, g in pairs if d in kept and int(g) > 0]
    asked = {q for q, _ in pairs}
    os.makedirs(f"{folder}/qrels")
    with open(f"{folder}/corpus.jsonl", "w", encoding="utf-8") as f:
        for d, text in kept.items():
            f.write(json.dumps({"_id": d, "text": text}) + "\n")
    with opened(f"{source}/queries.jsonl") as lines, open(f"{folder}/queries.jsonl", "w", encoding="utf-8") as f:
        f.writelines(line for line in lines if json.loads(line)["_id"] in asked)
    with open(f"{folder}/qrels/train.tsv", "w", encoding="utf-8") as f:
        f.write("query-id\tcorpus-id\tscore\n")
        f.writelines(f"{q}\t{d}\t1\n" for q, d in pairs)
    return len(kept), len(asked)


def ours(binary, folder, model, work, precision, threads, margin="0.05", fresh=True):
    store, out = f"{work}/{precision}", f"{work}/{precision}.jsonl"
    if fresh:
        shutil.rmtree(store, ignore_errors=True)
    command = [binary, "mine", folder, "-o", out, "--force", "--json", "--work", store, "--model", model, "--source", "dense", "--top-k", "101",
               "--range-max", "100", "--num-negatives", "5", "--filter", "known,text", "--relative-margin", margin, "--format", "st-triplet",
               "--threads", str(threads)]
    if precision != "f32":
        command += ["--precision", precision]
    start, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, after = time.time() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    manifest = json.loads(done.stdout)["data"]
    return {"seconds": seconds, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "rows": manifest["counts"]["selected"], "peak": manifest["peak_memory"]}


def peer(folder, model, work, threads):
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    command = [sys.executable, "-c", PEER, folder, model, f"{work}/peer.jsonl", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def triplets(path):
    with open(path, encoding="utf-8") as lines:
        return {tuple(json.loads(line).values())[:3] for line in lines}


def main():
    args = argparse.ArgumentParser(usage=__doc__)
    args.add_argument("binary")
    args.add_argument("data")
    args.add_argument("model")
    args.add_argument("--documents", type=int, default=5000)
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--precisions", default="f32,int8")
    args.add_argument("--threads", type=int, default=2)
    args = args.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as work:
        documents, queries = make(args.data, folder, args.documents)
        runs = {f"hardrock {p}": lambda p=p: ours(args.binary, folder, args.model, work, p, args.threads) for p in args.precisions.split(",")}
        runs["another margin, again"] = lambda: ours(args.binary, folder, args.model, work, args.precisions.split(",")[0], args.threads, "0.1", False)
        runs["sentence-transformers"] = lambda: peer(folder, args.model, work, args.threads)
        results, same = {name: [] for name in runs}, {}
        for _ in range(args.rounds):
            for name, run in runs.items():
                results[name].append(run())
                print(f"  {name}: {results[name][-1]}", file=sys.stderr, flush=True)
                if name.startswith("hardrock"):
                    shutil.copy(f"{work}/{name.split()[1]}.jsonl", f"{work}/{name}.kept")
        theirs = triplets(f"{work}/peer.jsonl")
        for name in runs:
            if name.startswith("hardrock"):
                same[name] = len(theirs & triplets(f"{work}/{name}.kept")) / max(1, len(theirs))
    base = results["sentence-transformers"]
    print(f"{queries} queries x {documents} documents, {args.threads} threads, median of {args.rounds} rounds in turn\n")
    print("| run | wall s | peer's wall / ours | cpu s | peer's cpu / ours | peak MiB | peer's peak / ours | negatives | same triplets |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, rounds in results.items():
        def ratio(key):
            return statistics.median(b[key] / r[key] for r, b in zip(rounds, base))
        wall, cpu = (statistics.median(r[key] for r in rounds) for key in ("seconds", "cpu"))
        peak = max(r["peak"] for r in rounds)
        print(f"| {name} | {wall:.1f} | {ratio('seconds'):.2f} | {cpu:.1f} | {ratio('cpu'):.2f} | {peak / 2**20:.0f} | {ratio('peak'):.1f} "
              f"| {rounds[0]['rows']} | {format(same[name], '.2%') if name in same else ''} |")


if __name__ == "__main__":
    main()
