"""Where a density field is worth evaluating: a grid that remembers where it was opaque."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from distill3d.kernels.marching import chebyshev_distance


class OccupancyGrid(nn.Module):
    """Cells of the cube [-1, 1]^3 that may hold something, refreshed while the field changes.

    As in Instant-NGP (Mueller et al. 2022, appendix C): each cell remembers the largest optical thickness seen in it,
    which decays, so that a cell empties only after it was found empty several times. Cells outside the unit ball are
    always empty, the others start occupied. The state is in `state_dict()`.

    Args:
        resolution: cells along each side.
        threshold: optical thickness of one sample (density times step) above which a cell counts as occupied; the
            mean over the ball where that is lower, so that thin fog still gets samples.
        decay: factor on the memory at each refresh.
    """

    memory: Tensor  # [G, G, G] largest remembered optical thickness
    distance: Tensor  # [G, G, G] uint8, cells to the nearest occupied one
    ball: Tensor  # [cells] flat indices of the cells that touch the unit ball

    def __init__(self, resolution: int = 64, threshold: float = 0.005, decay: float = 0.9) -> None:
        super().__init__()
        self.resolution, self.threshold, self.decay = resolution, threshold, decay
        side = (torch.arange(resolution) + 0.5) / resolution * 2 - 1
        nearest = (side.abs() - 1 / resolution).square()  # of a cell's points to the origin, squared, along one axis
        inside = nearest[:, None, None] + nearest[:, None] + nearest < 1
        self.register_buffer("ball", inside.flatten().nonzero()[:, 0], persistent=False)
        self.register_buffer("memory", torch.zeros(resolution, resolution, resolution))
        self.register_buffer("distance", chebyshev_distance(inside))

    @torch.no_grad()
    def refresh(
        self, density: Callable[[Tensor], Tensor], step: float, generator: torch.Generator | None, share: float = 1.0
    ) -> None:
        """Looks at one random point in each cell, or in a random share of the cells and in all occupied ones.

        Args:
            density: points [N, 3] of the world -> [N].
            step: length of a sample's interval, world units.
            generator: source of the points; None looks at the cells' centres.
            share: of the cells in the ball, 0 to 1.
        """
        cells, device, n = self.ball, self.memory.device, self.resolution
        if share < 1:
            chosen = torch.rand(len(cells), generator=generator, device=_home(generator, device)).to(device) < share
            cells = cells[chosen | (self.distance.view(-1)[cells] == 0)]
        corner = torch.stack([cells // (n * n), cells // n % n, cells % n], -1).float()
        if generator is None:
            offset = torch.full_like(corner, 0.5)
        else:
            offset = torch.rand(corner.shape, generator=generator, device=generator.device).to(device)
        points = (corner + offset) / n * 2 - 1
        memory = self.memory.view(-1)
        memory[cells] = torch.maximum(memory[cells] * self.decay, density(points).float() * step)
        occupied = torch.zeros_like(memory, dtype=torch.bool)
        in_ball = memory[self.ball]
        occupied[self.ball] = in_ball > in_ball.mean().clamp(max=self.threshold)
        self.distance.copy_(chebyshev_distance(occupied.view(n, n, n)))

    @property
    def occupied(self) -> Tensor:
        """[G, G, G] bool."""
        return self.distance == 0


def _home(generator: torch.Generator | None, device: torch.device) -> torch.device:
    return generator.device if generator is not None else device
