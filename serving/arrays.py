"""NumPy arrays in a folder, one file each, memory-mapped when they are opened: pages are read when they are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SUFFIX = ".npy"


def save_arrays(folder: Path, arrays: Mapping[str, npt.NDArray[Any] | None]) -> None:
    """Write arrays under their names into a new folder; None is left out."""
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        if array is not None:
            np.save(folder / f"{name}{SUFFIX}", array, allow_pickle=False)


def open_arrays(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a folder by name, read-only; as plain views, since every index into a `memmap` costs 40 microseconds.

    Raises:
        ValueError: a file is not an array.
    """
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    return {path.name.removesuffix(SUFFIX): np.asarray(np.load(path, mmap_mode="r")) for path in paths}
