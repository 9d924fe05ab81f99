"""Fits the coefficients of p_fn that hardrock ships, and prints their card.

usage: p_fn_fit.py HARDROCK_BINARY DATA_FOLDER [--rust]

Mines the shared sets with an oracle (debian-packages, wordnet, cwe) with BM25 and the filters known,text, reads what was measured
of every candidate from the candidates files, and fits a logistic regression on the oracle's labels: standardised inputs, L2 with
C = 1 (as in scikit-learn), every set with the same total weight. `--rust` prints the constants of
crates/hardrock-core/src/p_fn/shipped.rs; without it, the card: each set predicted by a model fitted on the other two.
Needs numpy and pyarrow.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from quality import SETS, read_oracle  # noqa: E402

USED = ["kin_cosine", "kin_jaccard", "kin_containment", "kin_neighbour", "share_of_best", "ratio_to_positive", "rank", "query_covered"]
PLACES = [0, 1, 2, 4, 5, 6, 8, 9]


def load(binary, data, name):
    """Features [n, 8], labels [n], ranks [n] of the candidates of one set."""
    folder = os.path.join(data, name)
    oracle, level = SETS[name]
    false = {q: {d for d, g in docs.items() if g >= level} for q, docs in read_oracle(folder, oracle).items()}
    with tempfile.TemporaryDirectory() as work:
        out = os.path.join(work, "out.jsonl")
        command = [binary, "mine", folder, "-o", out, "-q", "--format", "native", "--filter", "known,text", "--p-fn", "shipped"]
        subprocess.run(command, check=True)
        table = pq.read_table(out + ".candidates.parquet").to_pydict()
    rows, labels, ranks = [], [], []
    best, positive = {}, {}
    for q, status, score in zip(table["query_id"], table["status"], table["score"]):
        if score is None:
            continue
        best[q] = max(best.get(q, score), score)
        if status == "positive":
            positive[q] = max(positive.get(q, score), score)
    columns = [table[c] for c in ("query_id", "doc_id", "status", "reason", "score", "rank")]
    signals = [table[c] for c in ("kin_cosine", "kin_jaccard", "kin_containment", "kin_neighbour", "query_covered")]
    for (q, d, status, reason, score, rank), (cosine, jaccard, containment, neighbour, covered) in zip(zip(*columns), zip(*signals)):
        if status == "positive" or reason in ("known", "text") or cosine is None:
            continue
        share = lambda unit: np.clip(score / unit, -3, 3) if unit and unit > 0 else np.nan
        rows.append([
            np.log((cosine + 0.01) / (1.01 - cosine)), jaccard, containment, np.log1p(neighbour),
            share(best[q]), share(positive.get(q)), np.log1p(rank), covered,
        ])
        labels.append(d in false.get(q, ()))
        ranks.append(rank)
    x = np.array(rows, float)
    x = np.where(np.isnan(x), np.nanmean(x, axis=0), x)
    return x, np.array(labels), np.array(ranks)


def fit(sets):
    """Newton's method; every set weighs as much as the mean set."""
    x = np.concatenate([s[0] for s in sets])
    y = np.concatenate([s[1] for s in sets]).astype(float)
    total = len(y) / len(sets)
    w = np.concatenate([np.full(len(s[1]), total / len(s[1])) for s in sets])
    center = np.average(x, axis=0, weights=w)
    scale = np.sqrt(np.average((x - center) ** 2, axis=0, weights=w))
    z = np.hstack([(x - center) / scale, np.ones((len(x), 1))])
    beta = np.zeros(z.shape[1])
    ridge = np.r_[np.ones(len(beta) - 1), 0]
    for _ in range(50):
        p = 1 / (1 + np.exp(-z @ beta))
        gradient = z.T @ (w * (p - y)) + ridge * beta
        hessian = (z * (w * p * (1 - p))[:, None]).T @ z + np.diag(ridge + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        beta -= step
        if np.abs(step).max() < 1e-9:
            break
    return center, scale, beta[:-1], beta[-1]


def predict(model, x):
    center, scale, weights, bias = model
    return 1 / (1 + np.exp(-((x - center) / scale @ weights + bias)))


def auc(p, y):
    order = np.argsort(p, kind="stable")
    ranks = np.empty(len(p))
    ranks[order] = np.arange(1, len(p) + 1)
    values, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    ranks = (np.bincount(inverse, ranks) / counts)[inverse]
    yes = y.sum()
    return (ranks[y].sum() - yes * (yes + 1) / 2) / (yes * (len(y) - yes))


def precision(p, y):
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(y[order])
    return (hits[y[order]] / (np.flatnonzero(y[order]) + 1)).mean()


def error(p, y):
    edges = np.array([0, .001, .003, .01, .03, .1, .2, .3, .4, .5, .6, .7, .8, .9, 1.0001])
    bins = np.digitize(p, edges)
    return sum(abs(p[bins == b].mean() - y[bins == b].mean()) * (bins == b).sum() for b in np.unique(bins)) / len(p)


def main():
    args = argparse.ArgumentParser(usage=__doc__)
    args.add_argument("binary")
    args.add_argument("data")
    args.add_argument("--rust", action="store_true")
    args = args.parse_args()
    names = [n for n in SETS if SETS[n][0]]
    sets = {n: load(os.path.abspath(args.binary), args.data, n) for n in names}
    if args.rust:
        center, scale, weights, bias = fit(list(sets.values()))
        show = lambda v: ", ".join(f"{x:.6}" if "." in f"{x:.6}" else f"{x:.1f}" for x in v)
        print(f"const INPUTS: [usize; {len(PLACES)}] = {PLACES};")
        for name, values in (("CENTER", center), ("SCALE", scale), ("WEIGHTS", weights)):
            print(f"const {name}: [f64; {len(PLACES)}] = [{show(values)}];")
        print(f"const BIAS: f64 = {bias:.6};")
        return
    print("| set | candidates | false negatives | model | AUC, top 20 | AP, top 20 | ECE, top 20 | mean p / truth, top 20 |\n|---|---|---|---|---|---|---|---|")
    whole = fit(list(sets.values()))
    for name, (x, y, ranks) in sets.items():
        top = ranks < 20
        others = fit([s for n, s in sets.items() if n != name])
        for label, model in (("fitted on the others", others), ("as shipped (saw this set)", whole)):
            p, t = predict(model, x[top]), y[top]
            print(f"| {name} | {len(y):,} | {y.sum():,} | {label} | {auc(p, t):.3f} | {precision(p, t):.3f} | {error(p, t):.4f} | {p.mean():.4f} / {t.mean():.4f} |")
    print("\n| feature | weight of the standardised feature |\n|---|---|")
    for name, weight in zip(USED, whole[2]):
        print(f"| {name} | {weight:+.2f} |")
    print(f"| bias | {whole[3]:+.2f} |")


if __name__ == "__main__":
    sys.exit(main())
