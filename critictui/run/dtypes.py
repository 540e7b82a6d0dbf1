"""The kinds of columns that a run is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
SmallIntArray = NDArray[np.signedinteger[Any]]
"""int32 where all of it fits, or int64."""
