"""The edges of a triangle mesh and the faces on either side of each: what silhouettes and regularisers start from."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class MeshEdges:
    """Every edge once.

    Args:
        ends: [E, 2] int32, vertices, the smaller first.
        starts: [E + 1] int32; the faces at edge e are `sides[starts[e]:starts[e + 1]]`: one at a border, two inside a
            surface, more where surfaces meet.
        sides: [3 F] int32, 2 * face + 1 where the face runs along the edge from its first to its second end, 2 * face
            where it runs back.
    """

    ends: Tensor
    starts: Tensor
    sides: Tensor

    def pairs(self) -> Tensor:
        """[N, 2] int64, the faces of the edges that have two, for what compares neighbours."""
        starts = self.starts.long()
        two = starts[:-1][starts[1:] - starts[:-1] == 2]
        return torch.stack([self.sides[two] // 2, self.sides[two + 1] // 2], 1).long()


def mesh_edges(faces: Tensor, count: int) -> MeshEdges:
    """Finds the edges of `faces` [F, 3] among `count` vertices; order and orientation of the faces do not matter.

    Half edges are sorted into buckets by their smaller end (a counting sort), and matched within a bucket.
    """
    corners = faces.detach().to("cpu", torch.int32).contiguous().numpy()
    ends, starts, sides = _edges(corners, count)
    return MeshEdges(*(torch.from_numpy(a).to(faces.device) for a in (ends, starts, sides)))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _edges(faces, count):  # type: ignore[no-untyped-def]
    total = 3 * len(faces)
    bucket = np.zeros(count + 1, np.int32)
    for f in range(len(faces)):
        for k in range(3):
            bucket[min(faces[f, k], faces[f, (k + 1) % 3]) + 1] += 1
    for v in range(count):
        bucket[v + 1] += bucket[v]
    other, side = np.empty(total, np.int32), np.empty(total, np.int32)  # by bucket: the larger end, the face
    place = bucket[:-1].copy()
    for f in range(len(faces)):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            at = place[min(a, b)]
            other[at], side[at] = max(a, b), 2 * f + (1 if a < b else 0)
            place[min(a, b)] += 1
    ends, starts = np.empty((total, 2), np.int32), np.zeros(total + 1, np.int32)
    found = 0
    for v in range(count):
        low, high = bucket[v], bucket[v + 1]
        for i in range(low + 1, high):  # insertion sort, stable: buckets hold about three
            o, s, j = other[i], side[i], i - 1
            while j >= low and other[j] > o:
                other[j + 1], side[j + 1] = other[j], side[j]
                j -= 1
            other[j + 1], side[j + 1] = o, s
        for i in range(low, high):
            if i == low or other[i] != other[i - 1]:
                ends[found, 0], ends[found, 1], starts[found] = v, other[i], i
                found += 1
    starts[found] = total
    return ends[:found].copy(), starts[: found + 1].copy(), side
