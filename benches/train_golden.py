"""Vectors of a trained folder in sentence-transformers, beside those of `hardrock embed`.

usage: train_golden.py HARDROCK MODEL_FOLDER TEXTS.jsonl

Loads the folder with the real library, encodes the texts of both programs, and fails where a number differs by more than 2e-6.
Needs sentence-transformers, numpy.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
from sentence_transformers import SentenceTransformer

hardrock, folder, texts = sys.argv[1:]
with open(texts, encoding="utf-8") as lines:
    records = [json.loads(line) for line in lines]
with tempfile.TemporaryDirectory() as work:
    plain = pathlib.Path(work, "texts.jsonl")
    plain.write_text("".join(json.dumps({"_id": str(i), "text": r["text"]}) + "\n" for i, r in enumerate(records)))
    out = pathlib.Path(work, "v.npy")
    subprocess.run([hardrock, "embed", "--model", folder, str(plain), "-o", str(out), "-q"], check=True)
    ours = numpy.load(out)
theirs = SentenceTransformer(folder, device="cpu").encode([r["text"] for r in records])
worst = float(numpy.abs(ours - theirs).max())
print(f"{len(records)} texts of {theirs.shape[1]} columns, largest difference {worst:.1e}")
sys.exit(worst > 2e-6)
