"""Time per cell of losses with their gradients by score at 1,024 x 8,192 in PyTorch, one thread.

python benches/losses.py      (beside: cargo run --release -p hardrock-core --example loss_bench)
"""

import time

import torch
import torch.nn.functional as F

ROWS, COLUMNS, ROUNDS = 1024, 8192, 5


def main():
    torch.set_num_threads(1)
    torch.manual_seed(1)
    s = (torch.rand(ROWS, COLUMNS) * 2 - 1).requires_grad_()
    own = torch.arange(ROWS)
    y = F.one_hot(own, COLUMNS).float()
    soft = torch.softmax(s.detach() * 5, dim=1)
    negative = y == 0

    def positive():
        return s[own, own][:, None]

    cases = {
        "list": lambda: F.cross_entropy(s / 0.05, own),
        "list kl": lambda: F.kl_div(F.log_softmax(s / 0.05, dim=1), soft, reduction="batchmean"),
        "pair softplus": lambda: F.softplus(s - positive() + 0.2)[negative].mean(),
        "pair hardest 8": lambda: F.softplus(
            torch.where(negative, s, -torch.inf).topk(8, dim=1).values - positive() + 0.2
        ).mean(),
        "point logistic": lambda: F.binary_cross_entropy_with_logits((s - 0.5) / 0.1, y),
        "point focal": lambda: focal((s - 0.5) / 0.1, y),
        "tversky row": lambda: dice((s - 0.5) / 0.1, y),
    }
    for name, loss in cases.items():
        best = float("inf")
        for _ in range(ROUNDS):
            s.grad = None
            start = time.perf_counter()
            value = loss()
            value.backward()
            best = min(best, time.perf_counter() - start)
        print(f"{name:16} {best * 1e9 / s.numel():6.2f} ns per cell   (loss {value.item():.4f})")


def focal(x, y):
    p = torch.sigmoid(x)
    bce = F.binary_cross_entropy_with_logits(x, y, reduction="none")
    return (bce * (y * (1 - p) ** 2 + (1 - y) * p**2)).mean()


def dice(x, y):
    p = torch.sigmoid(x)
    hit = (p * y).sum(1) + 1
    return (1 - hit / (0.5 * p.sum(1) + 0.5 * y.sum(1) + 1)).mean()


if __name__ == "__main__":
    main()
