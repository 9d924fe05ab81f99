#!/usr/bin/env bash
# Writes the shipped example as a training file of every format into a folder, for check_outputs.py.
# Usage: make_outputs.sh HARDROCK FOLDER
set -euo pipefail
hardrock=$1
folder=$2
example="$(dirname "$0")/../../examples/cwe"

mkdir -p "$folder"
"$hardrock" mine "$example" -o "$folder/native.jsonl" --format native --num-negatives 4 --quiet
convert() { "$hardrock" convert "$folder/native.jsonl" "$@" --quiet; }

convert "$folder/native.parquet" --to parquet
for ending in jsonl csv tsv parquet jsonl.gz; do
  convert "$folder/st-triplet.$ending"
  convert "$folder/st-n-tuple.$ending" --num-negatives 3
  convert "$folder/st-labeled-pair.$ending"
done
for ending in jsonl parquet; do
  convert "$folder/st-labeled-list.$ending"
  convert "$folder/scored.st-triplet.$ending" --scores
  convert "$folder/scored.st-n-tuple.$ending" --scores --num-negatives 3
  convert "$folder/scored.st-labeled-list.$ending" --scores
  convert "$folder/open.st-n-tuple.$ending" --num-negatives 6 --short fewer
done
convert "$folder/scored.st-labeled-pair.csv" --scores
convert "$folder/flagembedding.jsonl"
convert "$folder/scored.flagembedding.jsonl" --scores
convert "$folder/tevatron.jsonl"
convert "$folder/tevatron-v2.jsonl"
convert "$folder/msmarco-triples.tsv"
convert "$folder/msmarco-ids.tsv"
convert "$folder/msmarco-hard-negatives.jsonl"
convert "$folder/trec-run.txt"
