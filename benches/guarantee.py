"""The tables of docs/benchmarks/guarantee.md: p_fn on the quality curve, the promise in repetition, leave-positive-out.

usage: guarantee.py HARDROCK_BINARY PROMISE_BENCH_BINARY DATA_FOLDER [--sets debian-packages,wordnet,cwe]

PROMISE_BENCH_BINARY is the example of the crate hardrock (`cargo build --release -p hardrock --example promise_bench`). Needs numpy
and pyarrow. False negatives are counted by the oracle, which nothing but this script and the example reads.
"""
import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from quality import HEAD, SETS, Truth, line, mine, score  # noqa: E402

BASE = ["--filter", "known,text"]
DEFAULT = ["--filter", "known,text,near,kin"]
CURVE = [("near:0.8, kin:0.6", [*DEFAULT, "--p-fn", "none"])]
CURVE += [(f"p_fn at most {t}", [*BASE, "--max-p-fn", t]) for t in ("0.05", "0.1", "0.2", "0.3", "0.5")]
CURVE += [(f"near, kin, p_fn at most {t}", [*DEFAULT, "--max-p-fn", t]) for t in ("0.1", "0.15", "0.2", "0.5")]
CURVE += [(f"shipped p_fn at most {t}", [*BASE, "--p-fn", "shipped", "--max-p-fn", t]) for t in ("0.05", "0.1", "0.2", "0.5")]


def plain(folder, stem, work):
    """The path of an unpacked oracle."""
    path = f"{folder}/qrels/{stem}.tsv"
    if os.path.exists(path):
        return path
    out = os.path.join(work, stem + ".tsv")
    with gzip.open(path + ".gz", "rb") as packed, open(out, "wb") as file:
        file.write(packed.read())
    return out


def beir(work, corpus, queries, pairs):
    """A data set in BEIR layout."""
    os.makedirs(os.path.join(work, "qrels"))
    for stem, records in (("corpus", corpus), ("queries", queries)):
        with open(os.path.join(work, stem + ".jsonl"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"_id": i, "text": t}) + "\n" for i, t in records)
    with open(os.path.join(work, "qrels", "train.tsv"), "w", encoding="utf-8") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        file.writelines(f"{q}\t{d}\t1\n" for q, d in pairs)


def occupations(data, work):
    """Occupations with their human-given skills."""
    with gzip.open(f"{data}/esco/corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        corpus = [(r["_id"], r["text"]) for r in map(json.loads, lines)]
    with open(f"{data}/esco/occupations.jsonl", encoding="utf-8") as lines:
        records = [json.loads(l) for l in lines]
    there = {i for i, _ in corpus}
    pairs = [(r["_id"], s) for r in records for s in dict.fromkeys(r["skills"]) if s in there]
    beir(work, corpus, [(r["_id"], f"{r['label']}. {r['description']}") for r in records], pairs)


def tags(data, work):
    """Tags with the packages that people gave them; a tag with more than 100 is a class and no query."""
    with gzip.open(f"{data}/xmc-debtags/train.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(l) for l in lines]
    with open(f"{data}/xmc-debtags/labels.tsv", encoding="utf-8") as lines:
        rows = [l.rstrip("\n").split("\t") for l in lines][1:]
    kept = {r[0]: r for r in rows if 2 <= int(r[3]) <= 100}
    pairs = [(str(l), r["_id"]) for r in records for l in r["labels"] if str(l) in kept]
    beir(work, [(r["_id"], r["text"]) for r in records], [(i, f"{r[1]} {r[5]}") for i, r in kept.items()], pairs)


def main():
    args = argparse.ArgumentParser(usage=__doc__)
    args.add_argument("binary")
    args.add_argument("promise_bench")
    args.add_argument("data")
    args.add_argument("--sets", default="debian-packages,wordnet,cwe")
    args = args.parse_args()
    binary, repeat = os.path.abspath(args.binary), os.path.abspath(args.promise_bench)
    for name in args.sets.split(","):
        folder = os.path.join(args.data, name)
        truth = Truth(folder, name)
        oracle, level = SETS[name]
        with tempfile.TemporaryDirectory() as work:
            print(f"\n### {name}\n\n{HEAD.format('five hardest, filters')}")
            for label, options in CURVE:
                print(line(label, score(*mine(binary, folder, options, work), truth)), flush=True)
            mine(binary, folder, BASE, work)
            print(flush=True)
            subprocess.run([repeat, os.path.join(work, "out.jsonl"), plain(folder, oracle, work), str(level)], check=True)
    for name, made in (("esco: occupation -> skills", occupations), ("xmc-debtags: tag -> packages", tags)):
        with tempfile.TemporaryDirectory() as work:
            made(args.data, work)
            print(f"\n### {name}, leave-positive-out\n", flush=True)
            for seed in ("0", "1", "2"):
                print(f"seed {seed}: ", end="", flush=True)
                subprocess.run([binary, "bench", work, "-q", "--seed", seed], check=True)


if __name__ == "__main__":
    sys.exit(main())
