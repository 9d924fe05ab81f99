"""bm25s on the texts of the BM25 benchmark: bm25_peers.py DOCS QUERIES [K] [ROUNDS], one line a round.

Given token lists (splitting is not timed), numpy back end, method "atire" with Lucene's idf: the formula of hardrock, factor
k1 + 1 included; its speed is that of its default method. Needs PyPI bm25s (numpy comes with it).
"""
import sys, time

import bm25s


def main(docs, queries, k=100, rounds=1):
    split = lambda path: [line.split() for line in open(path, encoding="utf-8")]
    docs, queries = split(docs), split(queries)
    for _ in range(int(rounds)):
        clock = time.perf_counter()
        index = bm25s.BM25(method="atire", idf_method="lucene", k1=1.2, b=0.75)
        index.index(docs, show_progress=False)
        built = time.perf_counter() - clock
        clock = time.perf_counter()
        _, scores = index.retrieve(queries, k=int(k), show_progress=False, n_threads=0)
        asked = time.perf_counter() - clock
        print(f"bm25s index {len(docs) / built:.0f} docs/s search {len(queries) / asked:.0f} queries/s "
              f"checksum {scores.astype('float64').sum():.1f}", flush=True)


main(*sys.argv[1:])
