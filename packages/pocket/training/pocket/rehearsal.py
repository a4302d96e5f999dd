"""Sizes for a rehearsal: with REHEARSAL=1 every phase takes a few steps of two pictures, which a processor can do.

It shows that the commands of a run work from beginning to end before they are given time on GPUs; what comes out is worthless.
"""

import os

REHEARSAL = bool(os.environ.get("REHEARSAL"))
STEPS = 3  # that each phase takes


def size(full, small):
    """A size as trained with, or as rehearsed with."""
    return small if REHEARSAL else full
