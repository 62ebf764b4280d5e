#!/usr/bin/env python3
"""Writes reference.json: what the published Q-GaLore code computes for given numbers.

The functions of the package q-galore-torch 1.0 (and the maps of bitsandbytes) are called as they are; only its random
numbers are replaced by given ones, and the SVD of its projector by given vectors. Arrays are hexadecimal strings of
little-endian bytes.

    pip install q-galore-torch==1.0 --no-deps
    pip install torch numpy bitsandbytes
    python3 tests/parity/generate_reference.py tests/parity/reference.json
"""
import importlib.metadata
import json
import math
import sys

import numpy
import torch

# The package decorates one method with this; older releases of torch lack it.
if not hasattr(torch, "_disable_dynamo"):
    torch._disable_dynamo = lambda function: function

import bitsandbytes.functional
from q_galore_torch.q_galore_adamw8bit import AdamW8bit
from q_galore_torch.q_galore_projector import GaLoreProjector

GROUP = 256
random = numpy.random.default_rng(20240711)


def to_hex(array, dtype):
    return numpy.asarray(array).astype(dtype).tobytes().hex()


def normal(spread, shift=0.0):
    return random.normal(shift, spread, (2, GROUP)).astype(numpy.float32)


def cases():
    ties = (numpy.arange(2 * GROUP, dtype=numpy.float32).reshape(2, GROUP) % 64) * 0.5
    ties[:, -1] = 255.0
    constant = numpy.full((2, GROUP), 0.25, dtype=numpy.float32)
    constant[1] = -0.02
    return {
        "weights": normal(0.02),
        "shifted": normal(0.02, 0.01),
        "positive": abs(normal(0.02)) + numpy.float32(0.01),
        "negative": -abs(normal(0.02)) - numpy.float32(0.01),
        "constant": constant,
        "zeros": numpy.zeros((2, GROUP), dtype=numpy.float32),
        "small": normal(1e-8),
        "large": normal(1e20),
        "ties": ties,
    }


def quantized(name, w, n_bit, codes, scales, zeros):
    return {
        "name": name,
        "bits": n_bit,
        "w": to_hex(w, "<f4"),
        "codes": to_hex(codes.reshape(-1), "u1"),
        "scales": to_hex(scales.reshape(-1), "<f4"),
        "zeros": to_hex(zeros.reshape(-1), "u1"),
    }


def nearest_int8(name, w):
    return quantized(name, w, 8, *AdamW8bit._quantize(None, torch.from_numpy(w), q_group_size=GROUP))


def nearest_int4(name, w):
    codes, scales, zeros, _ = GaLoreProjector._quantize(None, torch.from_numpy(w), q_group_size=GROUP, n_bit=4)
    return quantized(name, w, 4, codes, scales, zeros)


def stochastic_int8(name, w):
    """The uniform numbers lie on the grid of 2^-24 that a float drawn from 24 random bits has."""
    uniform = (random.integers(0, 1 << 24, w.shape) / (1 << 24)).astype(numpy.float32)
    original = torch.rand_like
    torch.rand_like = lambda like: torch.from_numpy(uniform)
    try:
        result = AdamW8bit._quantize_stochastic_round(None, torch.from_numpy(w), q_group_size=GROUP)
    finally:
        torch.rand_like = original
    return {**quantized(name, w, 8, *result), "uniform": to_hex(uniform, "<f4")}


def lazy_refresh(update_gap, steps, angles):
    """Steps at which the projector refreshes, the similarity it saw there, and its interval afterwards, when the first
    singular vector turns by angles[k] at refresh k."""
    projector = GaLoreProjector(rank=1, update_proj_gap=update_gap)
    direction, done, history = 0.0, 0, []

    def turned_vector(gradient, rank, type):
        nonlocal direction, done
        direction += angles[done % len(angles)]
        done += 1
        return torch.tensor([[math.cos(direction), math.sin(direction)]], dtype=torch.float32)

    projector.get_orthogonal_matrix = turned_vector
    for step in range(steps):
        before = projector.svd_count
        projector.project(torch.ones(4, 2), step)
        if projector.svd_count > before:
            similarity = projector.queue[-1] if projector.queue else 0.0
            history.append([step, similarity, projector.update_proj_gap])
    return {"update_gap": update_gap, "steps": steps, "refreshes": history}


def main():
    arrays = cases()
    reference = {
        "source": f"q-galore-torch 1.0, torch {torch.__version__.split('+')[0]}, "
        f"bitsandbytes {importlib.metadata.version('bitsandbytes')}",
        "nearest": [f(name, w) for f in (nearest_int8, nearest_int4) for name, w in arrays.items()],
        "stochastic": [stochastic_int8(name, w) for name, w in arrays.items()],
        "signed_map": to_hex(bitsandbytes.functional.create_dynamic_map(signed=True), "<f4"),
        "unsigned_map": to_hex(bitsandbytes.functional.create_dynamic_map(signed=False), "<f4"),
        "lazy": [
            lazy_refresh(10, 400, [0.3]),
            lazy_refresh(10, 400, [0.2, 1.5, 1.4, 0.1, 1.2, 0.9, 3.0]),
            lazy_refresh(7, 300, [1.5]),
        ],
    }
    with open(sys.argv[1], "w") as file:  # not stdout: libraries greet there
        json.dump(reference, file, indent=0)
        file.write("\n")


main()
