"""Steps of a static encoder: hardrock beside a bare PyTorch loop, one pinned core, in turns.

usage: train_static.py TRAIN_STATIC_BENCH [--steps 20] [--rounds 3]
(TRAIN_STATIC_BENCH is `target/release/examples/train_static_bench`:
 cargo build --release -p hardrock-engine --example train_static_bench)

Batch 1,024 with 1,024 mined negatives, a table of 30,000 x 256, anchors of 12 tokens, documents of 40, InfoNCE over 2,048
documents at temperature 0.05. The loop is `EmbeddingBag(mode="mean")`, `normalize`, `matmul`, `cross_entropy`, `Adam`: dense,
as sentence-transformers trains such models; token ids are made beforehand. Prints pairs per second of processor time (that of many steps
less that of few, so that the start does not count and neighbours on the machine count less) and their ratio by round. Needs torch; Linux.
"""
import argparse
import os
import resource
import statistics
import subprocess
import sys

PEER = """
import json, sys, time
import torch
torch.set_num_threads(1)
torch.manual_seed(1)
V, D, B, steps = 30000, 256, 1024, int(sys.argv[1])
bag = torch.nn.EmbeddingBag(V, D, mode="mean")
adam = torch.optim.Adam(bag.parameters(), lr=0.01)
draw = lambda n: (V * torch.rand(B, n) ** 3).long().clamp(max=V - 1)
batches = [[draw(n) for n in (12, 40, 40)] for _ in range(4)]
target = torch.arange(B)
for step in range(steps + 3):
    if step == 3:
        start = time.time()
    a, p, n = (torch.nn.functional.normalize(bag(x), dim=1) for x in batches[step % 4])
    loss = torch.nn.functional.cross_entropy(a @ torch.cat([p, n]).T / 0.05, target)
    adam.zero_grad()
    loss.backward()
    adam.step()
print(json.dumps({"rate": B * steps / (time.time() - start), "loss": loss.item()}))
"""


def seconds(command):
    """Processor time of a command on one core."""
    pinned = {max(os.sched_getaffinity(0))}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, preexec_fn=lambda: os.sched_setaffinity(0, pinned))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rate(command, steps):
    few = 2
    return 1024 * (steps - few) / (seconds(command(steps)) - seconds(command(few)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    ratios = []
    for _ in range(args.rounds):
        ours = rate(lambda steps: [args.bench, str(steps), "1"], args.steps)
        peer = rate(lambda steps: [sys.executable, "-c", PEER, str(steps)], args.steps)
        ratios.append(ours / peer)
        load = os.getloadavg()[0]
        print(f"load {load:.1f}: hardrock {ours:.0f} pairs/s, torch {peer:.0f}, ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
