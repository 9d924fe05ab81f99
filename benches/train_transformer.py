"""Steps of training a transformer of the shape of MiniLM-L6 in PyTorch; the twin of examples/train_transformer_bench.rs.

usage: train_transformer.py LENGTHS BATCH STEPS THREADS     (LENGTHS: a number of tokens, or a file with one per line)

The batch is padded to its longest text, as sentence-transformers pads it.
"""
import itertools
import statistics
import sys
import time

import torch
from transformers import BertConfig, BertModel

lengths, batch, steps, threads = sys.argv[1], *map(int, sys.argv[2:5])
torch.set_num_threads(threads)
torch.manual_seed(0)
lengths = [int(lengths)] if lengths.isdigit() else [int(line) for line in open(lengths)]
config = BertConfig(vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
model = BertModel(config, add_pooling_layer=False).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01)
following = itertools.cycle(lengths)
times = []
for step in range(steps):
    own = [next(following) for _ in range(batch)]
    ids = torch.randint(0, 30522, (batch, max(own)))
    mask = (torch.arange(max(own))[None, :] < torch.tensor(own)[:, None]).long()
    start = time.perf_counter()
    optimizer.zero_grad()
    out = model(input_ids=ids, attention_mask=mask).last_hidden_state
    pooled = (out * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    vectors = torch.nn.functional.normalize(pooled)
    (vectors * torch.cos(torch.arange(vectors.numel()).float()).view_as(vectors) * 1e-2).sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    times.append(time.perf_counter() - start)
    print(f"step {step}: {sum(own)} tokens of {mask.numel()}, {times[-1]:.3f} s")
print(f"median {statistics.median(times):.3f} s, {batch / statistics.median(times):.1f} texts/s")
