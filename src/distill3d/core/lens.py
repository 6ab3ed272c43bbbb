"""What a real lens does to straight lines, and its inverse, as OpenCV and COLMAP define it.

Axes here are OpenCV's: x right, y down, looking along +z. A lens maps the direction of a ray to a distorted point on
the plane z = 1; focal length and principal point (the intrinsics) then map that to pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

ROUNDS = 20  # Newton's method doubles the digits each time; a photograph's lens needs four or five
TOLERANCE = 1e-9  # of the distorted point, in focal lengths: a hundred thousandth of a pixel


@dataclass(frozen=True)
class Lens:
    """The distortion of `B` cameras.

    Args:
        model: "opencv", radial and tangential (Brown-Conrady): with r^2 = x^2 + y^2 and
            q = (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6),
            x' = q x + 2 p1 x y + p2 (r^2 + 2 x^2), y' = q y + p1 (r^2 + 2 y^2) + 2 p2 x y;
            "fisheye", equidistant (Kannala-Brandt): with a the angle to the axis,
            |(x', y')| = a (1 + k1 a^2 + k2 a^4 + k3 a^6 + k4 a^8).
        coefficients: [B, 8] float64: k1, k2, p1, p2, k3, k4, k5, k6, or k1 ... k4 and zeros.
    """

    model: Literal["opencv", "fisheye"]
    coefficients: Tensor

    def __getitem__(self, index: int | slice | Tensor) -> Lens:
        return Lens(self.model, self.coefficients[index])

    def to(self, device: torch.device | str) -> Lens:
        return Lens(self.model, self.coefficients.to(device))

    def distort(self, directions: Tensor) -> Tensor:
        """Distorted points [B, N, 2] of directions [B, N, 3], in float64. In front of the camera for "opencv"."""
        x, y, z = directions.double().unbind(-1)
        if self.model == "fisheye":
            flat = torch.hypot(x, y)
            angle = torch.atan2(flat, z)
            stretch = self._fisheye(angle)[0] / flat.clamp(min=1e-30)
            near = torch.where(flat > 0, stretch, 1.0)
            return torch.stack([x * near, y * near], -1)
        return torch.stack(self._opencv(x / z, y / z)[0], -1)

    def directions(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Directions of the rays that land on distorted points, by Newton's method.

        Args:
            points: [B, N, 2], in focal lengths from the principal point.

        Returns:
            [B, N, 3] float64, with z = 1 ("opencv") or unit length ("fisheye"); and [B, N] bool, whether there is such
            a ray: far from the axis a lens may fold, and points beyond the fold are nobody's picture.
        """
        points = points.double()
        return self._undo_fisheye(points) if self.model == "fisheye" else self._undo_opencv(points)

    def _opencv(self, x: Tensor, y: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]:
        """The distorted point, and its derivatives: dx'/dx, dx'/dy, dy'/dx, dy'/dy."""
        k1, k2, p1, p2, k3, k4, k5, k6 = self.coefficients[:, :, None].unbind(1)
        s = x * x + y * y
        upper, lower = 1 + s * (k1 + s * (k2 + s * k3)), 1 + s * (k4 + s * (k5 + s * k6))
        q = upper / lower
        slope = ((k1 + s * (2 * k2 + 3 * s * k3)) - q * (k4 + s * (2 * k5 + 3 * s * k6))) / lower  # dq/ds
        xd = q * x + 2 * p1 * x * y + p2 * (s + 2 * x * x)
        yd = q * y + p1 * (s + 2 * y * y) + 2 * p2 * x * y
        mixed = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        return (xd, yd), (
            q + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x,
            mixed,
            mixed,
            q + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x,
        )

    def _fisheye(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """The distorted radius and its derivative."""
        k1, k2, k3, k4 = self.coefficients[:, :4, None].unbind(1)
        s = angle * angle
        radius = angle * (1 + s * (k1 + s * (k2 + s * (k3 + s * k4))))
        return radius, 1 + s * (3 * k1 + s * (5 * k2 + s * (7 * k3 + s * 9 * k4)))

    def _undo_opencv(self, points: Tensor) -> tuple[Tensor, Tensor]:
        goal_x, goal_y = points.unbind(-1)
        x, y = goal_x.clone(), goal_y.clone()
        for _ in range(ROUNDS):
            (xd, yd), (a, b, c, d) = self._opencv(x, y)
            ex, ey = xd - goal_x, yd - goal_y
            det = a * d - b * c
            step_x, step_y = (d * ex - b * ey) / det, (a * ey - c * ex) / det
            length = torch.hypot(step_x, step_y)
            held = torch.where(length > 0.5, 0.5 / length, 1.0)  # a near-fold must not throw the point away
            x, y = x - held * step_x, y - held * step_y
            if not (length > TOLERANCE).any():
                break
        (xd, yd), (a, b, c, d) = self._opencv(x, y)
        found = (torch.hypot(xd - goal_x, yd - goal_y) < TOLERANCE) & (a * d - b * c > 0) & (a + d > 0)
        x, y = torch.where(found, x, goal_x), torch.where(found, y, goal_y)
        return torch.stack([x, y, torch.ones_like(x)], -1), found

    def _undo_fisheye(self, points: Tensor) -> tuple[Tensor, Tensor]:
        goal = points.norm(dim=-1)
        angle = goal.clone()
        for _ in range(ROUNDS):
            radius, slope = self._fisheye(angle)
            step = ((radius - goal) / slope).clamp(-0.5, 0.5)
            angle = angle - step
            if not (step.abs() > TOLERANCE).any():
                break
        radius, slope = self._fisheye(angle)
        found = ((radius - goal).abs() < TOLERANCE) & (slope > 0) & (angle >= 0) & (angle < torch.pi)
        angle = torch.where(found, angle, 0.0)
        along = torch.where(goal > 0, angle.sin() / goal.clamp(min=1e-30), 0.0)
        return torch.cat([points * along[..., None], angle.cos()[..., None]], -1), found
