"""Encoding texts: hardrock beside sentence-transformers (torch), one pinned core, in turns.

usage: encode.py ENCODE_BENCH DATA_FOLDER MODEL_FOLDER [--texts 800] [--rounds 3] [--inputs real,32,128] [--wall]
(ENCODE_BENCH is `target/release/examples/encode_bench`: cargo build --release -p hardrock --example encode_bench)

Three inputs: descriptions of debian-packages' subset-5k (real lengths), and texts of a fixed 32 and 128 tokens. The peer is
the torch model of sentence-transformers, given token ids (tokenising is not counted for it, but is for hardrock), sorted by length, batches
of 32, padded to the longest of the batch. hardrock runs in 32-bit floats and in int8. Prints medians of sentences per second of processor time (with --wall, of the
clock), their ratios by round, and the share of the machine's rate of fused multiply-adds that the floats reach, measured in the same process. Needs torch, sentence-transformers; Linux.
"""
import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile

PEER = """
import sys, time, json
import torch
from sentence_transformers import SentenceTransformer
torch.set_num_threads(1)
model = SentenceTransformer(sys.argv[1], device="cpu").eval()
texts = open(sys.argv[2], encoding="utf-8").read().splitlines()
ids = model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)["input_ids"]
order = sorted(range(len(texts)), key=lambda i: len(ids[i]))
batches = []
for start in range(0, len(order), 32):
    rows = [ids[i] for i in order[start:start + 32]]
    width = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    batches.append({"input_ids": tokens, "attention_mask": mask})
with torch.inference_mode():
    model(dict(batches[0]))
    start, cpu = time.time(), time.process_time()
    for batch in batches:
        model(dict(batch))
    seconds, cpu = time.time() - start, time.process_time() - cpu
print(json.dumps({"rate": len(texts) / seconds, "cpu_rate": len(texts) / cpu, "tokens": sum(map(len, ids))}))
"""



def inputs(data, count, folder):
    source = f"{data}/debian-packages"
    with open(f"{source}/subset-5k.tsv", encoding="utf-8") as lines:
        wanted = {line.strip() for line in lines}
    texts = []
    with gzip.open(f"{source}/corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            if record["_id"] in wanted and len(texts) < count:
                texts.append(" ".join(f"{record.get('title', '')} {record['text']}".split()))
    # One-piece words, so that the number of tokens is known: [CLS], words, [SEP].
    words = "the quick brown fox over a lazy dog and some more small words of every day".split()
    fixed = {n: [" ".join(words[(i + j) % len(words)] for j in range(n - 2)) for i in range(count // 4)] for n in (32, 128)}
    for name, rows in (("real", texts), ("32 tokens", fixed[32] * 4), ("128 tokens", fixed[128])):
        path = f"{folder}/{name.replace(' ', '-')}.txt"
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(rows) + "\n")
        yield name, path


def run(command):
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    done = subprocess.run(["taskset", "-c", "0", *command], capture_output=True, text=True, env={**env, "HF_HUB_OFFLINE": "1", "RAYON_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.strip().splitlines()[-1]


def main():
    args = argparse.ArgumentParser(usage=__doc__)
    args.add_argument("bench")
    args.add_argument("data")
    args.add_argument("model")
    args.add_argument("--texts", type=int, default=800)
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--inputs", default="real,32,128")
    args.add_argument("--wall", action="store_true")
    args = args.parse_args()
    rate, peak = ("rate", "peak_gflops") if args.wall else ("cpu_rate", "cpu_gflops")
    with open(f"{args.model}/config.json", encoding="utf-8") as f:
        c = json.load(f)
    h, layers, inner = c["hidden_size"], c["num_hidden_layers"], c["intermediate_size"]
    print("| input | tokens / text | f32 /s | int8 /s | torch /s | f32 / torch | int8 / torch | int8 / f32 | f32 of the FMA peak | one text f32, int8, ms |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, path in inputs(args.data, args.texts, folder):
            if name.split()[0] not in args.inputs.split(","):
                continue
            count = sum(1 for _ in open(path, encoding="utf-8"))
            ours, eight, theirs = [], [], []
            for _ in range(args.rounds):
                ours.append(json.loads(run([args.bench, args.model, path, "1", "f32"])))
                eight.append(json.loads(run([args.bench, args.model, path, "1", "int8"])))
                theirs.append(json.loads(run([sys.executable, "-c", PEER, args.model, path])))
                print(f"  {name}: {ours[-1]} {eight[-1]} {theirs[-1]}", file=sys.stderr, flush=True)
            mean = theirs[0]["tokens"] / count
            # The layers' products; attention's, which grow with the square of the length, are left out.
            flops = mean * layers * 2 * (4 * h * h + 2 * h * inner)
            share = statistics.median(o[rate] * flops / (o[peak] * 1e9) for o in ours)
            middle = lambda runs, key=rate: statistics.median(r[key] for r in runs)
            ratio = lambda a, b: statistics.median(x[rate] / y[rate] for x, y in zip(a, b))
            print(
                f"| {name} | {mean:.0f} | {middle(ours):.1f} | {middle(eight):.1f} | {middle(theirs):.1f} | {ratio(ours, theirs):.2f} "
                f"| {ratio(eight, theirs):.2f} | {ratio(eight, ours):.2f} | {share:.0%} | {middle(ours, 'latency_ms'):.1f}, {middle(eight, 'latency_ms'):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
