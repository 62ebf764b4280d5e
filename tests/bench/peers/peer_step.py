"""A training step of LLaMA-60M in PyTorch.

    peer_step.py THREADS PRECISION OPTIMIZER COMPILE [STATE]

PRECISION: autocast (fp32 weights, bf16 products), bf16 (bf16 weights), fp32. OPTIMIZER: none (forward and backward alone),
adamw, galore (galore-torch), qgalore (q-galore-torch). COMPILE: yes | no. STATE: weights and tokens that bench_step wrote.
Commands: `step`, and `refresh`, a step that also renews every subspace; both answer wall seconds, CPU seconds, renewed
subspaces and loss."""
import contextlib
import sys
import time

import numpy
import torch
from llama import Llama, Shape
from serve import serve

SEQUENCES, LENGTH, RANK, GAP, SCALE = 8, 256, 128, 200, 0.25
LEARNING_RATE = 1e-3


def random_tokens():
    ids = torch.randint(Shape.vocab, (SEQUENCES, LENGTH + 1), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def load(model, path):
    """int32 inputs and targets, then every parameter as fp32 in the order of the model."""
    with open(path, "rb") as state:
        read = lambda kind, count: torch.from_numpy(numpy.fromfile(state, kind, count))
        ids, targets = (read(numpy.int32, SEQUENCES * LENGTH).view(SEQUENCES, LENGTH).long() for _ in range(2))
        for parameter in model.parameters():
            parameter.data.copy_(read(numpy.float32, parameter.numel()).view_as(parameter))
    return ids, targets


def low_rank_group(model, **more):
    return dict(params=model.projected(), rank=RANK, update_proj_gap=GAP, scale=SCALE, proj_type="std", **more)


def make_galore(model):
    from galore_torch import GaLoreAdamW

    groups = [dict(params=model.dense()), low_rank_group(model)]
    return GaLoreAdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95), eps=1e-8, no_deprecation_warning=True)


def make_qgalore(model):
    """Runs on a CPU with two repairs from outside: no device to wait for, and two settings that later versions of bitsandbytes
    dropped and the package still asks for."""
    torch.cuda.synchronize = lambda *_: None
    from q_galore_torch import QGaLoreAdamW8bit_simulate

    class OnCpu(QGaLoreAdamW8bit_simulate):
        def get_config(self, *where):
            return dict(percentile_clipping=100, block_wise=True, **super().get_config(*where))

    for matrix in model.projected():
        matrix.group_size, matrix.stochastic_round = 256, True
    quantised = dict(
        quant=True, quant_group_size=256, quant_n_bit=4, cos_threshold=0.4, gamma_proj=2, queue_size=5
    )
    groups = [dict(params=model.dense()), low_rank_group(model, **quantised)]
    return OnCpu(groups, lr=LEARNING_RATE, betas=(0.9, 0.95), eps=1e-8, weight_decay=0)


def make_optimizer(kind, model):
    if kind == "none":
        return None
    if kind == "adamw":
        return torch.optim.AdamW(
            model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), eps=1e-8, weight_decay=0, fused=True
        )
    return {"galore": make_galore, "qgalore": make_qgalore}[kind](model)


class Peer:
    def __init__(self, precision, kind, compiled, state):
        self.model = Llama(Shape, LENGTH)
        self.ids, self.targets = load(self.model, state) if state else random_tokens()
        if precision == "bf16":
            self.model.to(torch.bfloat16)
        self.autocast = precision == "autocast"
        self.loss = torch.compile(self.model) if compiled else self.model
        self.optimizer = make_optimizer(kind, self.model)

    def forward_backward(self):
        self.model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16) if self.autocast else contextlib.nullcontext():
            loss = self.loss(self.ids, self.targets)
        loss.backward()
        return loss.item()

    def step(self):
        wall, cpu = time.perf_counter(), time.process_time()
        loss = self.forward_backward()
        if self.optimizer:
            self.optimizer.step()
        return time.perf_counter() - wall, time.process_time() - cpu, 0, loss

    def refresh(self):
        """GaLore's projectors renew their subspace when the step is a multiple of their gap."""
        projectors = [s["projector"] for s in self.optimizer.state.values() if "projector" in s]
        gaps = [p.update_proj_gap for p in projectors]
        for projector in projectors:
            projector.update_proj_gap = 1
        wall, cpu, _, loss = self.step()
        for projector, gap in zip(projectors, gaps):
            projector.update_proj_gap = gap
        return wall, cpu, len(projectors), loss

    def describe(self):
        """Loss and gradient norm before any update, and FLOPs per token as PyTorch counts them."""
        from torch.utils.flop_counter import FlopCounterMode

        compiled, self.loss = self.loss, self.model
        with FlopCounterMode(display=False) as counter:
            loss = self.forward_backward()
        self.loss = compiled
        norm = torch.sqrt(sum(p.grad.float().square().sum() for p in self.model.parameters())).item()
        return loss, norm, counter.get_total_flops() / (SEQUENCES * LENGTH)


def main():
    threads, precision, kind, compiled = sys.argv[1:5]
    torch.set_num_threads(int(threads))
    peer = Peer(precision, kind, compiled == "yes", sys.argv[5] if len(sys.argv) > 5 else None)
    ready = peer.describe()
    peer.step()
    peer.step()
    serve({"step": peer.step, "refresh": peer.refresh}, ready)


main()
