"""The update of one LLaMA-7B layer at rank 1024 as GaLore does it: fp32 Adam on the projected gradient, project back in bf16,
add to bf16 weights.

    peer_update.py THREADS

Command: `step`, which answers wall seconds."""
import sys
import time

import torch
from serve import serve

HIDDEN, INNER, RANK, SCALE = 4096, 11008, 1024, 0.25
RATE, BETA1, BETA2, EPS = 1e-3, 0.9, 0.95, 1e-8
SHAPES = [(HIDDEN, HIDDEN)] * 4 + [(INNER, HIDDEN)] * 2 + [(HIDDEN, INNER)]


class Matrix:
    def __init__(self, rows, cols):
        self.right = rows >= cols
        self.basis = (0.02 * torch.randn((RANK, cols) if self.right else (rows, RANK))).bfloat16()
        self.grad = 1e-3 * torch.randn((rows, RANK) if self.right else (RANK, cols))
        self.weight = (0.02 * torch.randn(rows, cols)).bfloat16()
        self.low_rank = torch.nn.Parameter(torch.zeros_like(self.grad))
        self.low_rank.grad = self.grad

    def add_update(self):
        delta = self.low_rank.data.bfloat16()
        back = delta @ self.basis if self.right else self.basis @ delta
        self.weight.add_(back, alpha=SCALE)
        self.low_rank.data.zero_()


matrices = [Matrix(*shape) for shape in SHAPES]
adam = torch.optim.AdamW(
    [m.low_rank for m in matrices], lr=RATE, betas=(BETA1, BETA2), eps=EPS, weight_decay=0, fused=True
)


@torch.no_grad()
def step():
    start = time.perf_counter()
    adam.step()
    for matrix in matrices:
        matrix.add_update()
    return (time.perf_counter() - start,)


torch.set_num_threads(int(sys.argv[1]))
step()
serve({"step": step})
