"""A batch of cameras: pinholes, with a real lens in front where there is one.

World: right-handed, z up, the object inside the unit ball at the origin. Camera: OpenGL axes (x right, y up,
looks along -z). Azimuth 0 looks at the object's front from +x and grows counter-clockwise seen from above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from distill3d.core.lens import Lens

DEFAULT_FOV = math.radians(45.0)


def _as_batch(value: float | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(like.shape).clone()


@dataclass(frozen=True)
class Cameras:
    """`B` cameras that share one picture size.

    Args:
        camera_to_world: [B, 4, 4], rigid.
        intrinsics: [B, 3, 3], in pixels; the centre of the top-left pixel is (0.5, 0.5).
        height, width: picture size in pixels.
        lens: its distortion; None is a pinhole. Rays know it; what projects points by `intrinsics` does not.
    """

    camera_to_world: Tensor
    intrinsics: Tensor
    height: int
    width: int
    lens: Lens | None = None

    @classmethod
    def orbit(
        cls,
        azimuth: float | Tensor,
        elevation: float | Tensor = 0.0,
        distance: float | Tensor = 3.0,
        fov: float | Tensor = DEFAULT_FOV,
        size: int | tuple[int, int] = 64,
    ) -> Cameras:
        """Cameras on a sphere around the origin, looking at it.

        Args:
            azimuth, elevation, fov: radians, numbers or [B]; `fov` is vertical.
            distance: world units, a number or [B].
            size: pixels, one number for a square or (height, width).
        """
        height, width = (size, size) if isinstance(size, int) else size
        shapes = [torch.as_tensor(v).reshape(-1).shape[0] for v in (azimuth, elevation, distance, fov)]
        device = next((v.device for v in (azimuth, elevation, distance, fov) if isinstance(v, Tensor)), None)
        base = torch.zeros(max(shapes), device=device)
        azimuth, elevation, distance, fov = (
            _as_batch(v.reshape(-1) if isinstance(v, Tensor) else v, base) for v in (azimuth, elevation, distance, fov)
        )
        backward = torch.stack(  # from the object to the camera: the camera's +z
            [elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()], -1
        )
        right = torch.stack([-azimuth.sin(), azimuth.cos(), torch.zeros_like(azimuth)], -1)
        up = torch.linalg.cross(backward, right)
        pose = torch.eye(4, device=device).repeat(len(base), 1, 1)
        pose[:, :3, 0], pose[:, :3, 1], pose[:, :3, 2] = right, up, backward
        pose[:, :3, 3] = backward * distance[:, None]
        focal = 0.5 * height / (0.5 * fov).tan()
        intrinsics = torch.zeros(len(base), 3, 3, device=device)
        intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
        intrinsics[:, 0, 2], intrinsics[:, 1, 2], intrinsics[:, 2, 2] = 0.5 * width, 0.5 * height, 1.0
        return cls(pose, intrinsics, height, width)

    def __len__(self) -> int:
        return self.camera_to_world.shape[0]

    def __getitem__(self, index: int | slice | Tensor) -> Cameras:
        if isinstance(index, int):
            index = slice(index, index + 1) if index != -1 else slice(-1, None)
        lens = None if self.lens is None else self.lens[index]
        return Cameras(self.camera_to_world[index], self.intrinsics[index], self.height, self.width, lens)

    def to(self, device: torch.device | str) -> Cameras:
        lens = None if self.lens is None else self.lens.to(device)
        return Cameras(self.camera_to_world.to(device), self.intrinsics.to(device), self.height, self.width, lens)

    @property
    def device(self) -> torch.device:
        return self.camera_to_world.device

    @property
    def position(self) -> Tensor:
        """[B, 3], world units."""
        return self.camera_to_world[:, :3, 3]

    @property
    def distance(self) -> Tensor:
        """[B], world units from the origin."""
        return self.position.norm(dim=-1)

    @property
    def azimuth(self) -> Tensor:
        """[B], radians in (-pi, pi]: where the camera stands, 0 on +x."""
        return torch.atan2(self.position[:, 1], self.position[:, 0])

    @property
    def elevation(self) -> Tensor:
        """[B], radians above the horizontal plane."""
        return torch.asin((self.position[:, 2] / self.distance).clamp(-1, 1))

    @property
    def fov(self) -> Tensor:
        """[B], vertical field of view in radians."""
        return 2 * torch.atan(0.5 * self.height / self.intrinsics[:, 1, 1])

    def resized(self, size: int | tuple[int, int]) -> Cameras:
        """The same cameras with another picture size in pixels."""
        height, width = (size, size) if isinstance(size, int) else size
        scale = torch.tensor([width / self.width, height / self.height, 1.0], device=self.device)
        return Cameras(self.camera_to_world, self.intrinsics * scale[None, :, None], height, width, self.lens)

    def zoomed(self, zoom: float, shift: tuple[float, float]) -> Cameras:
        """The pinholes whose pictures, scaled by `zoom` about their middle and then moved by `shift`, are these ones'.

        Args:
            shift: right and down, in halves of the picture's side.
        """
        intrinsics = self.intrinsics.clone()
        half = 0.5 * torch.tensor([self.width, self.height]).to(intrinsics)
        intrinsics[:, :2, :2] /= zoom
        intrinsics[:, :2, 2] = half + (intrinsics[:, :2, 2] - half - half * torch.tensor(shift).to(half)) / zoom
        return Cameras(self.camera_to_world, intrinsics, self.height, self.width)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Where the pinholes see points, the inverse of `rays_at`; a lens is not looked at.

        Args:
            points: [N, 3], world.
        Returns:
            places [B, N, 2], column and row in pixels, pixel (0, 0) covering 0 to 1 in both; and how far ahead each
            point lies, [B, N], world units along the optical axis. Where that is not positive a place means nothing.
        """
        pose, lens = self.camera_to_world.to(points), self.intrinsics.to(points)
        local = (points - pose[:, None, :3, 3]) @ pose[:, :3, :3]
        ahead = -local[..., 2]
        focal = torch.stack([lens[:, 0, 0], -lens[:, 1, 1]], -1)[:, None]
        return local[..., :2] / ahead.clamp(min=1e-9)[..., None] * focal + lens[:, None, :2, 2], ahead

    def rays(self) -> tuple[Tensor, Tensor]:
        """World-space rays through the pixel centres.

        Returns:
            origins, directions: [B, H, W, 3] each; directions have unit length.
        """
        if self.lens is not None:
            return self._rays_through_lens()
        device = self.device
        v, u = torch.meshgrid(
            torch.arange(self.height, device=device) + 0.5,
            torch.arange(self.width, device=device) + 0.5,
            indexing="ij",
        )
        k = self.intrinsics[:, None, None]
        local = torch.stack(
            [
                (u - k[..., 0, 2]) / k[..., 0, 0],
                -(v - k[..., 1, 2]) / k[..., 1, 1],
                -torch.ones_like(u).expand(len(self), -1, -1),
            ],
            -1,
        )
        rotation = self.camera_to_world[:, :3, :3]
        directions = torch.einsum("bij,bhwj->bhwi", rotation, local)
        directions = directions / directions.norm(dim=-1, keepdim=True)
        return self.position[:, None, None].expand_as(directions), directions

    def rays_at(self, camera: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """World-space rays through points of single pictures.

        Args:
            camera: [N] int64, which camera. pixels: [N, 2], column and row; (0.5, 0.5) is the first pixel's centre.

        Returns:
            origins, directions: [N, 3] each; directions have unit length.
        """
        rotation = self.camera_to_world[camera, :3, :3]
        local = self._local_directions(camera, pixels[:, None])[0][:, 0]
        directions = torch.einsum("nij,nj->ni", rotation, local)
        return self.position[camera], directions / directions.norm(dim=-1, keepdim=True)

    def seen(self) -> Tensor:
        """[B, H, W] bool: the pixels that any ray of light reaches. A pinhole's are all; a lens may fold at the rim."""
        if self.lens is None:
            return torch.ones(len(self), self.height, self.width, dtype=torch.bool, device=self.device)
        return self._over_pictures()[1]

    def _rays_through_lens(self) -> tuple[Tensor, Tensor]:
        local = self._over_pictures()[0]
        directions = torch.einsum("bij,bhwj->bhwi", self.camera_to_world[:, :3, :3], local)
        directions = directions / directions.norm(dim=-1, keepdim=True)
        return self.position[:, None, None].expand_as(directions), directions

    def _over_pictures(self) -> tuple[Tensor, Tensor]:
        """`_local_directions` of every pixel, [B, H, W, 3] and [B, H, W]; cameras alike are worked out once."""
        v, u = torch.meshgrid(
            torch.arange(self.height, device=self.device) + 0.5,
            torch.arange(self.width, device=self.device) + 0.5,
            indexing="ij",
        )
        assert self.lens is not None
        keys = torch.cat([self.intrinsics.reshape(len(self), 9).double(), self.lens.coefficients], 1)
        _, alike = torch.unique(keys, dim=0, return_inverse=True)
        kinds = int(alike.max()) + 1 if len(alike) else 0
        first = torch.stack([(alike == kind).nonzero()[0, 0] for kind in range(kinds)]) if kinds else alike
        points = torch.stack([u, v], -1).view(1, -1, 2).expand(kinds, -1, -1)
        local, seen = self._local_directions(first, points)
        shape = (kinds, self.height, self.width)
        return local.view(*shape, 3)[alike], seen.view(shape)[alike]

    def _local_directions(self, camera: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Directions [N, M, 3] in OpenGL axes of points [N, M, 2] of the pictures of cameras [N], and whether seen."""
        k = self.intrinsics[camera][:, None]
        x = (pixels[..., 0] - k[..., 0, 2]) / k[..., 0, 0]
        y = (pixels[..., 1] - k[..., 1, 2]) / k[..., 1, 1]
        if self.lens is None:
            return torch.stack([x, -y, -torch.ones_like(x)], -1), torch.ones_like(x, dtype=torch.bool)
        local, seen = self.lens[camera].directions(torch.stack([x, y], -1))
        flip = torch.tensor([1.0, -1.0, -1.0], dtype=local.dtype, device=local.device)
        return (local * flip).to(self.camera_to_world.dtype), seen
