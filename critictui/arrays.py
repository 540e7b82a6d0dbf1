"""numpy as a monitor needs it: loaded without the threads of its linear algebra."""

from __future__ import annotations

import os

_THREADS = "OPENBLAS_NUM_THREADS"


def load_numpy() -> None:
    """Import numpy with one OpenBLAS thread, unless the environment asks for more.

    OpenBLAS starts a thread for each core when it is loaded, which costs 60 ms with two cores, and nothing that
    watches a run multiplies matrices. The variable is taken back: the worker's torch has use for all cores.
    """
    chosen = os.environ.get(_THREADS)
    os.environ.setdefault(_THREADS, "1")
    try:
        import numpy as np  # noqa: F401  only to load it
    finally:
        if chosen is None:
            del os.environ[_THREADS]
