#!/bin/bash
# The same with the time limits of a real Slurm; takes about ten minutes.
QGALORE_SLURM_LIMITS=yes exec bash tests/faults/slurm.sh
