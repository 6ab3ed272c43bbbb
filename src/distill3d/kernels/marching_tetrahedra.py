"""From signed distances on tetrahedra to a triangle mesh, differentiable (Shen et al. 2021, "Deep marching tetrahedra",
section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from distill3d.kernels.gather import gather

# One row a set of corners that lie inside (bit k: corner k); up to two triangles of edges, numbered as in
# geometry.tetrahedral_grid.EDGES. Derived, not copied: one corner apart from three cuts its three edges; two against
# two cut the four edges between them, a quad split in two; each triangle is turned so that its normal points from the
# mean of the corners inside to the mean of those outside, in a tetrahedron with det(v1 - v0, v2 - v0, v3 - v0) > 0.
TRIANGLES = (
    (-1, -1, -1, -1, -1, -1),  # none
    (0, 1, 2, -1, -1, -1),  # 0
    (0, 4, 3, -1, -1, -1),  # 1
    (1, 2, 4, 1, 4, 3),  # 0, 1
    (1, 3, 5, -1, -1, -1),  # 2
    (0, 5, 2, 0, 3, 5),  # 0, 2
    (0, 4, 5, 0, 5, 1),  # 1, 2
    (2, 4, 5, -1, -1, -1),  # 0, 1, 2
    (2, 5, 4, -1, -1, -1),  # 3
    (0, 1, 5, 0, 5, 4),  # 0, 3
    (0, 5, 3, 0, 2, 5),  # 1, 3
    (1, 5, 3, -1, -1, -1),  # 0, 1, 3
    (1, 3, 4, 1, 4, 2),  # 2, 3
    (0, 3, 4, -1, -1, -1),  # 0, 2, 3
    (0, 2, 1, -1, -1, -1),  # 1, 2, 3
    (-1, -1, -1, -1, -1, -1),  # 0, 1, 2, 3
)


def marching_tetrahedra(
    positions: Tensor, distance: Tensor, tetrahedra: Tensor, edges: Tensor, tetrahedron_edges: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The surface where the signed distance is zero.

    A vertex sits on every edge whose ends differ in sign, at (p_a s_b - p_b s_a) / (s_b - s_a). Nothing is sorted:
    the edges of the grid are known, so an edge's number is its vertex's.

    Args:
        positions: [V, 3]; distance: [V], negative inside, zero counts as outside.
        tetrahedra [T, 4], edges [E, 2], tetrahedron_edges [T, 6]: of the grid, int64.

    Returns:
        faces [F, 3] int64, counter-clockwise seen from outside; crossed [N] int64, the grid edge that each vertex lies
        on; and share [N], how far along that edge from its first end, with gradient to the distance. The vertices are
        `along(positions, edges[crossed], share)`, and so is anything else that lives at the grid's vertices.
        Where the inside does not touch the grid's border the surface is closed.
    """
    inside = distance.detach() < 0
    ends = inside[edges]
    crosses = ends[:, 0] != ends[:, 1]
    crossed = crosses.nonzero()[:, 0]
    number = torch.full((len(edges),), -1, dtype=torch.int64, device=edges.device)
    number[crossed] = torch.arange(len(crossed), device=edges.device)
    corners = inside[tetrahedra]
    cut = (corners.any(1) & ~corners.all(1)).nonzero()[:, 0]
    case = (corners[cut].long() * torch.tensor([1, 2, 4, 8], device=edges.device)).sum(1)
    rows = torch.tensor(TRIANGLES, device=edges.device)[case].view(-1, 2, 3)
    used = rows[..., 0] >= 0
    owner = cut[:, None].expand(-1, 2)[used]
    faces = number[tetrahedron_edges[owner[:, None], rows[used]]]
    s_a, s_b = gather(distance[:, None], edges[crossed])[..., 0].unbind(1)
    return faces, crossed, s_a / (s_a - s_b)


def along(values: Tensor, ends: Tensor, share: Tensor) -> Tensor:
    """`values` [V, C] between the `ends` [N, 2] of edges, a `share` [N] of the way -> [N, C]."""
    a, b = gather(values, ends).unbind(1)
    return a + share[:, None] * (b - a)
