"""Writes the texts of the BM25 benchmark: DOCS and QUERIES, one text a line, lower-case tokens parted by one space.

usage: bm25_data.py SHARED_DATA OUT_FOLDER
100,000 documents: all of debian-packages, filled up with wordnet; 10,000 queries: synopses and usage examples in
the same proportion. `short.txt` holds the first 26 tokens of each document, `long.txt` all of them.
"""
import gzip, json, re, sys

DOCS, QUERIES, SHORT = 100_000, 10_000, 26


def rows(path):
    with gzip.open(path, "rt", encoding="utf-8") as f:
        for line in f:
            row = json.loads(line)
            text = (row.get("title", "") + " " + row["text"]).lower()
            yield re.findall(r"\w+", text)


def main(data, out):
    def take(kind, n):
        debian = [t for t in rows(f"{data}/debian-packages/{kind}.jsonl.gz") if t]
        wordnet = [t for t in rows(f"{data}/wordnet/{kind}.jsonl.gz") if t]
        if kind == "queries":
            debian = debian[: n * 57 // 100]
        return (debian + wordnet)[:n]

    docs, queries = take("corpus", DOCS), take("queries", QUERIES)
    for name, texts in [("long", docs), ("short", [t[:SHORT] for t in docs]), ("queries", queries)]:
        with open(f"{out}/{name}.txt", "w", encoding="utf-8") as f:
            f.writelines(" ".join(t) + "\n" for t in texts)
        print(name, len(texts), "texts, mean", round(sum(map(len, texts)) / len(texts), 1), "tokens")


main(*sys.argv[1:])
