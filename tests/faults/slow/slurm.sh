#!/bin/bash
# The same with the time limits of a real Slurm; takes about six minutes.
QGALORE_SLURM_LIMITS=yes exec bash tests/faults/slurm.sh
