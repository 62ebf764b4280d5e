"""torch.linalg.svd on the gradients of a file, as GaLore's projector calls it.

    peer_subspace.py FILE RANK

FILE: records of int64 m, int64 n, m * n fp32. Commands: `threads`, one matrix after the other with two threads each;
`matrices`, two matrices at a time with one thread each. Both answer wall seconds, CPU seconds, and mean and
smallest share of a gradient's energy in its first RANK directions."""
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy
import torch
from serve import serve


def read(path):
    with open(path, "rb") as file:
        while (shape := numpy.fromfile(file, numpy.int64, 2)).size == 2:
            yield torch.from_numpy(numpy.fromfile(file, numpy.float32, shape[0] * shape[1]).reshape(*shape))


def solve(gradient):
    return torch.linalg.svd(gradient, full_matrices=False)


class Peer:
    def __init__(self, path, rank):
        self.gradients, self.rank = list(read(path)), rank
        self.pool = ThreadPoolExecutor(2, initializer=lambda: torch.set_num_threads(1))

    def timed(self, solve_all):
        wall, cpu = time.perf_counter(), time.process_time()
        solved = solve_all()
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        shares = [(s[: self.rank].square().sum() / s.square().sum()).item() for _, s, _ in solved]
        return *seconds, sum(shares) / len(shares), min(shares)

    def threads(self):
        torch.set_num_threads(2)
        return self.timed(lambda: [solve(g) for g in self.gradients])

    def matrices(self):
        torch.set_num_threads(1)
        return self.timed(lambda: list(self.pool.map(solve, self.gradients)))


peer = Peer(sys.argv[1], int(sys.argv[2]))
peer.threads()
peer.matrices()
serve({"threads": peer.threads, "matrices": peer.matrices})
