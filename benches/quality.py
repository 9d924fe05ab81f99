"""Oracle false negatives against hardness: the quality tables of docs/benchmarks.md.

usage: quality.py HARDROCK_BINARY DATA_FOLDER [--sets debian-packages,wordnet,cwe] [--presets "A;B"] [--curve] [--filters "A;B"]

Runs `hardrock mine` with each preset and each threshold, and scores the candidates files against the oracle judgements, which no
source or filter reads. Needs pyarrow and numpy.

Figures, over the anchors of the train split:
  FN share      selected negatives that the oracle calls relevant / selected
  FN < 40 %     the same, counting only false negatives that share under 40 % of their words with every labelled positive (the
                oracles are built from word overlap; these are the ones it did not build in)
  ideal kept    of the k hardest true negatives of the pool, the share that the selection holds; k = negatives asked for.
                The only hardness that does not reward keeping false negatives.
  rank, score   mean position in the judged order, mean judging score of the selected
  short         negatives that could not be had / asked for
"""
import argparse
import collections
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow.parquet as pq

# name -> (oracle, lowest grade that counts as a false negative)
SETS = {
    "debian-packages": ("oracle_strict", 1),
    "wordnet": ("oracle", 1),
    "cwe": ("oracle", 2),
    "esco": (None, 1),
}

PRESETS = [
    ("default", []),
    ("naive", ["--preset", "naive"]),
    ("shifted", ["--preset", "shifted"]),
    ("topk-abs", ["--preset", "topk-abs"]),
    ("topk-marginpos", ["--preset", "topk-marginpos"]),
    ("topk-percpos", ["--preset", "topk-percpos"]),
    ("sentence-transformers", ["--preset", "sentence-transformers"]),
    ("flagembedding", ["--preset", "flagembedding"]),
    ("3 best, our filters", ["--num-negatives", "3"]),
    ("15 from ranks 10-210, our filters", ["--preset", "flagembedding", "--filter", "known,text,near,kin"]),
    ("ance", ["--preset", "ance"]),
    ("simans", ["--preset", "simans"]),
]


def opened(stem):
    for path in (stem, stem + ".gz"):
        if os.path.exists(path):
            return gzip.open(path, "rt", encoding="utf-8") if path.endswith(".gz") else open(path, encoding="utf-8")
    raise SystemExit(f"{stem}: not there")


def read_oracle(folder, name):
    grades = collections.defaultdict(dict)
    with opened(f"{folder}/qrels/{name}.tsv") as lines:
        next(lines)
        for line in lines:
            query, doc, grade = line.rstrip("\n").split("\t")
            grades[query][doc] = int(grade)
    return grades


def read_words(folder):
    words = {}
    with opened(f"{folder}/corpus.jsonl") as lines:
        for line in lines:
            record = json.loads(line)
            words[record["_id"]] = frozenset(re.findall(r"\w+", f"{record.get('title', '')} {record['text']}".lower()))
    return words


def jaccard(a, b):
    return len(a & b) / len(a | b) if a or b else 1.0


class Truth:
    def __init__(self, folder, name):
        oracle, level = SETS[name]
        self.words = read_words(folder)
        self.false = collections.defaultdict(set)
        for query, docs in (read_oracle(folder, oracle) if oracle else {}).items():
            self.false[query] = {d for d, g in docs.items() if g >= level}


def mine(binary, folder, options, work):
    out = os.path.join(work, "out.jsonl")
    command = [binary, "mine", folder, "-o", out, "--force", "--format", "native", "-q", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    columns = ["query_id", "doc_id", "status", "score", "rank", "pick"]
    table = pq.read_table(out + ".candidates.parquet", columns=columns)
    with open(out + ".manifest.json", encoding="utf-8") as f:
        return table.to_pydict(), json.load(f)


def score(rows, manifest, truth):
    """One line of the table from a candidates file."""
    k = manifest["config"]["select"]["negatives"]
    by_query = collections.defaultdict(list)
    for row in zip(rows["query_id"], rows["doc_id"], rows["status"], rows["score"], rows["rank"], rows["pick"]):
        by_query[row[0]].append(row[1:])
    selected = false = far = 0
    ideal = ideal_kept = 0
    ranks, scores = [], []
    for query, cells in by_query.items():
        positives = {d for d, status, *_ in cells if status == "positive"}
        wrong = truth.false[query] - positives
        pool = [c for c in cells if c[1] != "positive" and c[0] not in positives]
        ranked = sorted((c for c in pool if c[3] is not None), key=lambda c: c[3])
        hardest = [c for c in ranked if c[0] not in wrong][:k]
        ideal += len(hardest)
        ideal_kept += sum(c[1] == "selected" for c in hardest)
        for doc, status, value, rank, _ in pool:
            if status != "selected":
                continue
            selected += 1
            if rank is not None:
                ranks.append(rank)
                scores.append(value)
            if doc in wrong:
                false += 1
                far += all(jaccard(truth.words[doc], truth.words[p]) < 0.4 for p in positives)
    counts = manifest["counts"]
    return {
        "negatives": selected / max(1, counts["anchors"]),
        "fn": false / max(1, selected),
        "far": far / max(1, selected),
        "ideal": ideal_kept / max(1, ideal),
        "rank": float(np.mean(ranks)) if ranks else float("nan"),
        "score": float(np.mean(scores)) if scores else float("nan"),
        "short": counts["short"] / max(1, counts["requested"]),
    }


def line(name, r):
    return (
        f"| {name} | {r['negatives']:.2f} | {r['fn']:.4f} | {r['far']:.4f} | {r['ideal']:.3f} | {r['rank']:.1f} "
        f"| {r['score']:.2f} | {r['short']:.3f} |"
    )


HEAD = "| {} | negatives / anchor | FN share | FN < 40 % | ideal kept | rank | score | short |\n|---|---|---|---|---|---|---|---|"


def main():
    args = argparse.ArgumentParser(usage=__doc__)
    args.add_argument("binary")
    args.add_argument("data")
    args.add_argument("--sets", default="debian-packages,wordnet,cwe,esco")
    args.add_argument("--curve", action="store_true")
    args.add_argument("--presets", default=";".join(name for name, _ in PRESETS), help="names parted by semicolons")
    args.add_argument("--extra", default="", help="options for every run, e.g. '--bm25-b 0.4'")
    args.add_argument("--filters", default="", help="filter lists parted by semicolons, a row each, e.g. 'known;known,kin:0.4'")
    args = args.parse_args()
    binary = os.path.abspath(args.binary)
    extra = args.extra.split()
    for name in args.sets.split(","):
        folder = os.path.join(args.data, name)
        truth = Truth(folder, name)
        with tempfile.TemporaryDirectory() as work:
            print(f"\n### {name}\n\n{HEAD.format('preset')}")
            for preset, options in PRESETS:
                if preset not in args.presets.split(";"):
                    continue
                print(line(preset, score(*mine(binary, folder, extra + options, work), truth)), flush=True)
            lists = [f for f in args.filters.split(";") if f]
            if not args.curve and not lists:
                continue
            print(f"\n{HEAD.format('five hardest, filter')}")
            for filters in lists:
                print(line(filters, score(*mine(binary, folder, extra + ["--filter", filters], work), truth)), flush=True)
            if not args.curve:
                continue
            base = "known,text"
            curves = [("no filter", ["--filter", base])]
            curves += [(f"kin:{t}", ["--filter", f"{base},kin:{t}"]) for t in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)]
            curves += [(f"near:{t}", ["--filter", f"{base},near:{t}"]) for t in (0.3, 0.5, 0.8)]
            curves += [(f"relative margin {m}", ["--filter", base, "--relative-margin", str(m)]) for m in (0.05, 0.1, 0.2, 0.4)]
            curves += [(f"rank from {r}", ["--filter", base, "--range-min", str(r)]) for r in (1, 3, 10)]
            for label, options in curves:
                print(line(label, score(*mine(binary, folder, extra + options, work), truth)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
