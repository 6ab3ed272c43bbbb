"""Whether a shape hangs together, and of several versions of one the version that does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import label

from distill3d.parts.network import PartNetwork
from distill3d.parts.parts import Parts
from distill3d.parts.surface import logit_grid

TRIES = 4  # versions that a completion or an edit chooses among
WHOLE = 0.99  # of the volume in one piece
THINNER = 1.0  # logit of a surface inside the surface: what hangs together by a hair there is apart on another grid


def largest_piece(filled: np.ndarray) -> float:
    """The share of the filled cells of a grid that its largest piece has; 0 where none is filled.

    Cells that touch at a corner belong together.
    """
    pieces, _ = label(filled, np.ones((3, 3, 3), int))
    sizes = np.bincount(pieces.ravel())[1:]
    return float(sizes.max() / sizes.sum()) if len(sizes) else 0.0


def best_connected(network: PartNetwork, versions: Sequence[Parts], resolution: int = 65) -> Parts:
    """The first version that is in one piece, also when it is a little thinner, or the one nearest to that.

    A sampler that knows parts alone now and then leaves a gap that is thinner than its error; but a gap is quickly
    found.

    Args:
        resolution: grid points a side.
    """
    shares = []
    for version in versions:
        logits = logit_grid(network, version, resolution)
        shares.append(min(largest_piece(logits > level) for level in (0.0, THINNER)))
        if shares[-1] >= WHOLE:
            return version
    return versions[int(np.argmax(shares))]
