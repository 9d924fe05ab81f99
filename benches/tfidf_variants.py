"""Which tf-idf formula tells false negatives from true ones: tfidf_variants.py BEIR_FOLDER [ANCHORS]

Candidates are BM25's top 20 and top 100 without the labelled positives (train split); their score is the cosine to the nearest positive;
a false negative is what the oracle calls relevant (oracle_strict where there is one, and then what only the wider
oracle names is left out). The oracle is read here to score, nowhere else. Needs PyPI bm25s, PyStemmer, scikit-learn.
"""
import gzip, json, os, random, re, sys

import bm25s
import numpy as np
import scipy.sparse as sp
import Stemmer
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import normalize

IDF = {
    "1 + ln((1+N)/(1+df))": lambda n, df: 1 + np.log((1 + n) / (1 + df)),
    "ln(1 + (N-df+.5)/(df+.5))": lambda n, df: np.log1p((n - df + 0.5) / (df + 0.5)),
    "ln((1+N)/df)": lambda n, df: np.log((1 + n) / df),
}
STEM = Stemmer.Stemmer("english")


def plain(text):
    return re.findall(r"\w+", text.lower())


def stemmed(text):
    return STEM.stemWords([w for w in plain(text) if w not in ENGLISH_STOP_WORDS])


def opened(path):
    return open(path, encoding="utf-8") if os.path.exists(path) else gzip.open(path + ".gz", "rt", encoding="utf-8")


def qrels(path):
    found = {}
    with opened(path) as f:
        next(f)
        for line in f:
            query, doc, grade = line.rstrip("\n").split("\t")
            found.setdefault(query, {})[doc] = int(grade)
    return found


def main(folder, anchors=3000):
    ids, texts = [], []
    for row in map(json.loads, opened(f"{folder}/corpus.jsonl")):
        ids.append(row["_id"])
        texts.append((row.get("title", "") + " " + row["text"]).strip())
    number = {name: i for i, name in enumerate(ids)}
    query_text = {row["_id"]: row["text"] for row in map(json.loads, opened(f"{folder}/queries.jsonl"))}
    judged, wide = qrels(f"{folder}/qrels/train.tsv"), qrels(f"{folder}/qrels/oracle.tsv")
    strict = wide
    if any(os.path.exists(f"{folder}/qrels/oracle_strict.tsv{end}") for end in ("", ".gz")):
        strict = qrels(f"{folder}/qrels/oracle_strict.tsv")
    queries = sorted(judged)
    random.Random(1).shuffle(queries)
    queries = queries[: int(anchors)]
    index = bm25s.BM25(k1=1.2)
    index.index([stemmed(t) for t in texts], show_progress=False)
    retrieved, _ = index.retrieve([stemmed(query_text[q]) for q in queries], k=100, show_progress=False)

    print("| words | counts | idf | AUC top 20 | AP top 20 | AUC top 100 | AP top 100 |\n|---|---|---|---|---|---|---|")
    for words, analyzer in [("plain", plain), ("stop words, stems", stemmed)]:
        counts = CountVectorizer(analyzer=analyzer).fit_transform(texts).tocsr().astype(np.float64)
        df = np.bincount(counts.indices, minlength=counts.shape[1])
        for tf in ("tf", "1 + ln tf"):
            for name, idf in IDF.items():
                weights = counts.copy()
                if tf != "tf":
                    weights.data = 1 + np.log(weights.data)
                weights = normalize(weights @ sp.diags(idf(counts.shape[0], df)))
                cells = []
                for top in (20, 100):
                    scores, truth = [], []
                    for query, row in zip(queries, retrieved):
                        positives = [number[d] for d in judged[query]]
                        candidates = [c for c in row[:top] if c not in positives]
                        cosine = (weights[candidates] @ weights[positives].T).max(axis=1).toarray().ravel()
                        for candidate, score in zip(candidates, cosine):
                            doc = ids[candidate]
                            false = strict.get(query, {}).get(doc, 0) > 0
                            if false or wide.get(query, {}).get(doc, 0) <= 0:
                                scores.append(score)
                                truth.append(false)
                    cells += [roc_auc_score(truth, scores), average_precision_score(truth, scores)]
                print(f"| {words} | {tf} | {name} | " + " | ".join(f"{c:.4f}" for c in cells) + " |", flush=True)


main(*sys.argv[1:])
