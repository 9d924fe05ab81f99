"""Loads every output with the library it is for and holds columns, types, counts and texts to the native file.

Usage: check_outputs.py FOLDER   (made by make_outputs.sh)
"""

import csv
import gzip
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

import datasets
import ir_measures
import pandas as pd
import pyarrow.parquet as pq

datasets.disable_progress_bars()
FOLDER = Path(sys.argv[1])
CACHE = tempfile.mkdtemp()
N = 3  # negatives in a line of the n-tuples; 6 in the open ones


def full(doc):
    """Title and text as one, as a model reads them."""
    return f"{doc['title']} {doc['text']}".strip() if doc.get("title") else doc["text"]


def native():
    with open(FOLDER / "native.jsonl", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) > 100, "the example is not there"
    assert all(row["query_id"] and row["query"] and row["positives"] for row in rows)
    return rows


ROWS = native()
FULL = [r for r in ROWS if len(r["negatives"]) >= N]
checked = []


def loaded(name):
    """The file as `datasets` loads it."""
    path = str(FOLDER / name)
    plain = name.removesuffix(".gz").removesuffix(".zst")
    kind, options = {
        ".jsonl": ("json", {}),
        ".csv": ("csv", {}),
        ".tsv": ("csv", {"sep": "\t"}),
        ".parquet": ("parquet", {}),
    }[plain[plain.rindex("."):]]
    checked.append(name)
    # keep_default_na would turn a text such as "null" into nothing.
    if kind == "csv":
        options["keep_default_na"] = False
    return datasets.load_dataset(kind, data_files=path, split="train", cache_dir=CACHE, **options)


def kinds(table):
    """Column names with their types, floats and integers of any width alike."""

    def kind(feature):
        if isinstance(feature, (datasets.List, datasets.LargeList)):
            return [kind(feature.feature)]
        dtype = feature.dtype
        return "text" if "string" in dtype else dtype.rstrip("0123456789")

    return {name: kind(feature) for name, feature in table.features.items()}


def same(name, table, columns, expected):
    """Columns by name, order and type; then every value."""
    assert kinds(table) == columns, f"{name}: {kinds(table)}"
    assert list(table.features) == list(columns), f"{name}: order {list(table.features)}"
    assert len(table) == len(expected), f"{name}: {len(table)} rows, {len(expected)} expected"
    for i, (got, want) in enumerate(zip(table, expected)):
        values = list(got.values())
        for g, w in zip(values, want):
            close = g == w or (isinstance(w, (float, list)) and near(g, w))
            assert close, f"{name} row {i}: {g!r} instead of {w!r}"


def near(got, want):
    if isinstance(want, list):
        return len(got) == len(want) and all(near(g, w) for g, w in zip(got, want))
    # Scores are 32-bit floats.
    return isinstance(want, float) and abs(got - want) <= 1e-6 * max(1.0, abs(want))


TEXT2 = {"anchor": "text", "positive": "text"}
TRIPLET = TEXT2 | {"negative": "text"}


def n_tuple(n):
    return TEXT2 | {f"negative_{i}": "text" for i in range(1, n + 1)}


def triplets(scores=False):
    for r in ROWS:
        for p in r["positives"]:
            for n in r["negatives"]:
                yield [r["query"], full(p), full(n)] + ([[p["score"], n["score"]]] if scores else [])


def n_tuples(scores=False):
    for r in FULL:
        for p in r["positives"]:
            docs = [p, *r["negatives"][:N]]
            yield [r["query"], *map(full, docs)] + ([[d["score"] for d in docs]] if scores else [])


def open_tuples():
    for r in ROWS:
        for p in r["positives"]:
            if r["negatives"]:
                negatives = [full(d) for d in r["negatives"][:6]]
                yield [r["query"], full(p), *negatives, *[None] * (6 - len(negatives))]


def pairs(scores=False):
    for r in ROWS:
        for label, docs in ((1, r["positives"]), (0, r["negatives"])):
            for d in docs:
                yield [r["query"], full(d), d["score"] if scores else label]


def lists(scores=False):
    for r in ROWS:
        for p in r["positives"]:
            docs = [p, *r["negatives"]]
            last = [d["score"] for d in docs] if scores else [1] + [0] * len(r["negatives"])
            yield [r["query"], [full(d) for d in docs], last]


def sentence_transformers():
    for ending in ("jsonl", "csv", "tsv", "parquet", "jsonl.gz"):
        name = f"st-triplet.{ending}"
        same(name, loaded(name), TRIPLET, list(triplets()))
        name = f"st-n-tuple.{ending}"
        same(name, loaded(name), n_tuple(N), list(n_tuples()))
        name = f"st-labeled-pair.{ending}"
        same(name, loaded(name), TEXT2 | {"label": "int"}, list(pairs()))
    for ending in ("jsonl", "parquet"):
        columns = {"anchor": "text", "positive": ["text"]}
        name = f"st-labeled-list.{ending}"
        same(name, loaded(name), columns | {"labels": ["int"]}, list(lists()))
        name = f"scored.st-labeled-list.{ending}"
        same(name, loaded(name), columns | {"scores": ["float"]}, list(lists(scores=True)))
        name = f"scored.st-triplet.{ending}"
        same(name, loaded(name), TRIPLET | {"scores": ["float"]}, list(triplets(scores=True)))
        name = f"scored.st-n-tuple.{ending}"
        same(name, loaded(name), n_tuple(N) | {"scores": ["float"]}, list(n_tuples(scores=True)))
    name = "open.st-n-tuple.parquet"
    same(name, loaded(name), n_tuple(6), list(open_tuples()))
    # A column of nothing but null has no type in JSON, so only the values are held here.
    name = "open.st-n-tuple.jsonl"
    table = loaded(name)
    assert [list(row.values()) for row in table] == list(open_tuples()), name
    name = "scored.st-labeled-pair.csv"
    same(name, loaded(name), TEXT2 | {"score": "float"}, list(pairs(scores=True)))


def flagembedding():
    want = [[r["query"], [full(d) for d in r["positives"]], [full(d) for d in r["negatives"]]] for r in ROWS]
    columns = {"query": "text", "pos": ["text"], "neg": ["text"]}
    same("flagembedding.jsonl", loaded("flagembedding.jsonl"), columns, want)
    scores = [[[d["score"] for d in r[side]] for side in ("positives", "negatives")] for r in ROWS]
    name = "scored.flagembedding.jsonl"
    columns |= {"pos_scores": ["float"], "neg_scores": ["float"]}
    same(name, loaded(name), columns, [w + s for w, s in zip(want, scores)])


def tevatron():
    table = loaded("tevatron.jsonl")
    assert table.column_names == ["query_id", "query", "positive_passages", "negative_passages"]
    assert len(table) == len(ROWS)
    for got, row in zip(table, ROWS):
        for field, side in (("positive_passages", "positives"), ("negative_passages", "negatives")):
            want = [{"docid": d["doc_id"], "title": d.get("title", ""), "text": d["text"]} for d in row[side]]
            assert list(got[field]) == want, got["query_id"]
    train, corpus = loaded("tevatron-v2.jsonl"), loaded("tevatron-v2.corpus.jsonl")
    assert train.column_names == ["query_id", "query_text", "positive_document_ids", "negative_document_ids"]
    assert corpus.column_names == ["docid", "text"]
    texts = dict(zip(corpus["docid"], corpus["text"]))
    assert len(texts) == len(corpus), "a document stands twice in the corpus"
    for got, row in zip(train, ROWS, strict=True):
        for field, side in (("positive_document_ids", "positives"), ("negative_document_ids", "negatives")):
            assert got[field] == [d["doc_id"] for d in row[side]]
            assert [texts[i] for i in got[field]] == [full(d) for d in row[side]]


def msmarco():
    options = {"sep": "\t", "header": None, "dtype": str, "quoting": csv.QUOTE_NONE, "keep_default_na": False}
    flat = str.maketrans("\t\n\r", "   ")
    for name, want in (
        ("msmarco-triples.tsv", [[text.translate(flat) for text in t] for t in triplets()]),
        (
            "msmarco-ids.tsv",
            [
                [r["query_id"], p["doc_id"], n["doc_id"]]
                for r in ROWS
                for p in r["positives"]
                for n in r["negatives"]
            ],
        ),
    ):
        assert pd.read_csv(FOLDER / name, **options).values.tolist() == want, name
        checked.append(name)
    table = loaded("msmarco-hard-negatives.jsonl")
    for got, row in zip(table, ROWS, strict=True):
        assert str(got["qid"]) == row["query_id"]
        negatives = {str(i) for ids in got["neg"].values() for i in ids or []}
        assert negatives == {d["doc_id"] for d in row["negatives"]}


def trec():
    name = "trec-run.txt"
    run = list(ir_measures.read_trec_run(str(FOLDER / name)))
    want = {(r["query_id"], d["doc_id"]): d["score"] for r in ROWS for d in r["negatives"]}
    assert {(s.query_id, s.doc_id) for s in run} == set(want) and len(run) == len(want)
    assert all(near(s.score, want[s.query_id, s.doc_id]) for s in run)
    # Every negative called relevant: the run must then score 1 where all of a query's documents are in it.
    qrels = [ir_measures.Qrel(query, doc, 1) for query, doc in want]
    assert abs(ir_measures.calc_aggregate([ir_measures.R @ 100], qrels, run)[ir_measures.R @ 100] - 1.0) < 1e-9
    checked.append(name)


def native_parquet():
    name = "native.parquet"
    for rows in (pq.read_table(FOLDER / name).to_pylist(), list(loaded(name))):
        assert len(rows) == len(ROWS)
        for got, want in zip(rows, ROWS):
            assert (got["query_id"], got["query"]) == (want["query_id"], want["query"])
            for side in ("positives", "negatives"):
                for g, w in zip(got[side], want[side], strict=True):
                    assert {k: v for k, v in g.items() if k != "score" and (k != "weight" or v is not None)} == {
                        "doc_id": w["doc_id"],
                        "title": w.get("title", ""),
                        "text": w["text"],
                        "rank": w.get("rank"),
                        "source": w.get("source"),
                    }
                    assert g["score"] is None if w.get("score") is None else near(g["score"], w["score"])
    frame = pd.read_parquet(FOLDER / name)
    assert list(frame.columns) == ["query_id", "query", "positives", "negatives"] and len(frame) == len(ROWS)
    assert pq.ParquetFile(FOLDER / name).metadata.created_by == "hardrock"


for check in (sentence_transformers, flagembedding, tevatron, msmarco, trec, native_parquet):
    check()
with gzip.open(FOLDER / "st-triplet.jsonl.gz", "rb") as packed:
    assert packed.read() == (FOLDER / "st-triplet.jsonl").read_bytes()
unchecked = {p.name for p in FOLDER.iterdir() if p.is_file()} - set(checked) - {"native.jsonl"}
unchecked = {n for n in unchecked if not n.startswith("native.jsonl.")}
assert not unchecked, f"not checked: {sorted(unchecked)}"
print(f"{len(checked)} files of {len(ROWS)} rows load as they should")
