"""What PyTorch does on a GPU with the work of LLaMA-7B: layers forward and backward (bf16, torch.compile, SDPA), the published
Q-GaLore optimizer's step, torch.linalg.svd of a layer's gradients.

    peer_gpu.py [--device cuda] [--hidden 4096] [--layers 2] [--peak TFLOPS] [--json FILE]

Smaller sizes and --device cpu try the script. A part that this machine cannot run says why and is left out."""
import argparse
import json
import statistics
import time

import torch
from llama import Layer, rotary_table

SEQUENCES, LENGTH, HEAD_DIM, MODEL_LAYERS = 16, 256, 128, 32
ROUNDS = 5


def shapes(hidden):
    """Outputs, inputs and how many of a layer's seven matrices."""
    inner = hidden * 43 // 16
    return [(hidden, hidden, 4), (inner, hidden, 2), (hidden, inner, 1)]


class Shape:
    eps = 1e-6

    def __init__(self, hidden):
        self.hidden, self.intermediate, self.heads = hidden, hidden * 43 // 16, max(1, hidden // HEAD_DIM)


class Bench:
    def __init__(self, args):
        self.args, self.device = args, torch.device(args.device)

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def median(self, work):
        """Seconds, after a first call that compiles."""
        work()
        self.wait()
        seconds = []
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            work()
            self.wait()
            seconds.append(time.perf_counter() - begin)
        return statistics.median(seconds)

    def layers(self, recompute):
        """Tokens/s of the layers alone, scaled to all of the model's. FLOPs by the log's convention: 6 N + 6 L C T."""
        shape = Shape(self.args.hidden)
        stack = [Layer(shape).to(self.device, torch.bfloat16) for _ in range(self.args.layers)]
        cos, sin = (t.to(self.device) for t in rotary_table(LENGTH, shape.hidden // shape.heads, 10000.0, torch.bfloat16))
        x = torch.randn(SEQUENCES, LENGTH, shape.hidden, device=self.device, dtype=torch.bfloat16, requires_grad=True)

        def through(x):
            for layer in stack:
                x = torch.utils.checkpoint.checkpoint(layer, x, cos, sin, use_reentrant=False) if recompute else layer(x, cos, sin)
            return x

        compiled = torch.compile(through)

        def step():
            for layer in stack:
                layer.zero_grad(set_to_none=True)
            compiled(x).sum().backward()

        seconds = self.median(step) * MODEL_LAYERS / self.args.layers
        tokens = SEQUENCES * LENGTH
        matrices = sum(m * n * count for m, n, count in shapes(shape.hidden))
        flops = MODEL_LAYERS * (6 * matrices + 6 * shape.hidden * LENGTH) * tokens
        result = {"tokens_per_s": tokens / seconds, "tflops": flops / seconds / 1e12}
        if self.args.peak:
            result["of_peak"] = flops / seconds / 1e12 / self.args.peak
        return result

    def svd(self):
        """Seconds of one matrix of each shape, and of all of the model's."""
        result, total = {}, 0.0
        for m, n, count in shapes(self.args.hidden):
            gradient = torch.randn(m, n, device=self.device)
            begin = time.perf_counter()
            torch.linalg.svd(gradient, full_matrices=False)
            self.wait()
            result[f"{m} x {n}"] = time.perf_counter() - begin
            total += MODEL_LAYERS * count * result[f"{m} x {n}"]
        result["all matrices"] = total
        return result

    def optimizer(self):
        """Seconds of the published optimizer's step over one layer between refreshes, and of the model's layers."""
        from q_galore_torch import QGaLoreAdamW8bit_simulate

        matrices = []
        for m, n, count in shapes(self.args.hidden):
            for _ in range(count):
                matrix = torch.nn.Parameter(0.02 * torch.randn(m, n, device=self.device, dtype=torch.bfloat16))
                matrix.group_size, matrix.stochastic_round = 256, True
                matrix.grad = 1e-3 * torch.randn_like(matrix)
                matrices.append(matrix)
        group = dict(params=matrices, rank=self.args.hidden // 4, update_proj_gap=10**6, scale=0.25, proj_type="std",
                     quant=True, quant_group_size=256, quant_n_bit=4, cos_threshold=0.4, gamma_proj=2, queue_size=5)

        class Optimizer(QGaLoreAdamW8bit_simulate):
            """Two settings that later versions of bitsandbytes dropped and the package still asks for."""

            def get_config(self, *where):
                return dict(percentile_clipping=100, block_wise=True, **super().get_config(*where))

        optimizer = Optimizer([group], lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0)
        seconds = self.median(optimizer.step)
        return {"layer": seconds, "all layers": MODEL_LAYERS * seconds}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--peak", type=float, default=0.0)
    parser.add_argument("--json")
    args = parser.parse_args()
    bench, results = Bench(args), {}
    parts = [("layers", lambda: bench.layers(False)), ("layers, recomputed", lambda: bench.layers(True)),
             ("torch.linalg.svd, seconds", bench.svd), ("q-galore-torch step, seconds", bench.optimizer)]
    for name, part in parts:
        try:
            results[name] = part()
            print(f"{name:30}", ", ".join(f"{key} {value:.4g}" for key, value in results[name].items()), flush=True)
        except Exception as problem:
            print(f"{name:30} skipped: {type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}", flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1)


main()
