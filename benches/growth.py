"""Time and memory of the whole job as the corpus grows.

usage: growth.py HARDROCK_BINARY DATA_FOLDER [--sizes 10000,100000,1000000] [--queries 2000]

Corpora are made of the sentences of debian-packages and wordnet, shuffled and joined anew until they reach the size, so that word
frequencies are those of real text. BM25, default filters, 5 negatives. Prints a table.
"""
import argparse
import gzip
import json
import os
import random
import resource
import subprocess
import tempfile
import time


def sentences(data):
    out = []
    for name in ("debian-packages", "wordnet"):
        with gzip.open(os.path.join(data, name, "corpus.jsonl.gz"), "rt", encoding="utf-8") as lines:
            for line in lines:
                out += [s.strip() for s in json.loads(line)["text"].replace("\n", ". ").split(". ") if len(s) > 20]
    return out


def main():
    args = argparse.ArgumentParser(usage=__doc__)
    args.add_argument("binary")
    args.add_argument("data")
    args.add_argument("--sizes", default="10000,100000,1000000")
    args.add_argument("--queries", type=int, default=2000)
    args = args.parse_args()
    pool = sentences(args.data)
    print("| documents | text MB | hash + read s | terms s | candidates s | judge s | write s | whole s | cpu s | peak MiB |\n|---|---|---|---|---|---|---|---|---|---|")
    for size in map(int, args.sizes.split(",")):
        rng = random.Random(size)
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(f"{folder}/qrels")
            total = 0
            step = max(1, size // args.queries)
            with open(f"{folder}/corpus.jsonl", "w") as corpus, open(f"{folder}/queries.jsonl", "w") as queries, \
                    open(f"{folder}/qrels/train.tsv", "w") as qrels:
                qrels.write("query-id\tcorpus-id\tscore\n")
                for i in range(size):
                    text = ". ".join(rng.choice(pool) for _ in range(3))
                    total += len(text)
                    corpus.write(json.dumps({"_id": f"d{i}", "text": text}) + "\n")
                    if i % step == 0:
                        words = text.split()
                        queries.write(json.dumps({"_id": f"q{i}", "text": " ".join(rng.sample(words, min(7, len(words))))}) + "\n")
                        qrels.write(f"q{i}\td{i}\t1\n")
            start, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run([args.binary, "mine", folder, "-o", f"{folder}/out.jsonl", "--json"],
                                  capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr)
            whole, after = time.time() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            manifest = json.loads(done.stdout)["data"]
            took = dict(manifest["seconds"])
            of = lambda *names: sum(s for n, s in took.items() if n in names)
            print(f"| {size} | {total / 1e6:.0f} | {of('hash inputs', 'read'):.1f} | {of('terms'):.1f} "
                  f"| {of('index', 'candidates: bm25'):.1f} | {of('facts', 'judge'):.1f} | {of('write'):.1f} | {whole:.1f} | {cpu:.1f} "
                  f"| {manifest['peak_memory'] / 2**20:.0f} |", flush=True)


if __name__ == "__main__":
    main()
