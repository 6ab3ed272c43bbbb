"""SPAGHETTI (Hertz et al. 2022): a shape's latent vector, its parts, and where it is solid.

    grid -> z -> part embeddings -> per part (intrinsics s_j, Gaussian G_j) -> mixing -> occupancy at any point

The paper learns z of every training shape as a free parameter (an auto-decoder). Here a small convolutional encoder
reads it off a grid of the shape, because the procedural world never shows a shape twice; fitting z to a shape by
descent (`inversion.py`) stays possible and is how the paper inverts. The paper's occupancy transformer compares the
point's position with the parts; ours sees the point in the frame of each part besides, in standard deviations of its
Gaussian, and attends to the likeliest parts alone. That makes it follow a part that is moved without having to learn
what moving is, and makes a point cost some ten thousand multiplications instead of millions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill3d.parts.gaussians import SIZE, PartGaussians

CELLS = 32  # of the grid that the encoder reads, along each side


@dataclass(frozen=True)
class PartSizes:
    """Sizes of the network."""

    parts: int = 16
    latent: int = 256  # of a shape
    intrinsics: int = 32  # of a part (512 in the paper)
    width: int = 128  # of the transformers
    depth: int = 3  # layers of each of the two transformers
    heads: int = 4
    pair: int = 64  # width of the network that looks at a point in the frame of a part
    nearest: int = 4  # parts that a point attends to, those most likely to have made it
    symmetric: bool = False  # half of the parts, and their mirror images across y = 0 (the paper's reflective symmetry)


class Encoder(nn.Module):
    """Filled share of cells [B, 32, 32, 32], 0..1, indexed [x, y, z], to a latent [B, latent].

    Blocks of 4, 2 and 2 cells a side are read one after the other: convolutions whose windows do not overlap, written
    as the matrix products that they are (a 3D convolution of torch takes several times as long on a CPU).
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.blocks, widths = (4, 2, 2), (1, 48, 96, 192)
        pairs = zip(self.blocks, widths[:-1], widths[1:], strict=True)
        self.layers = nn.ModuleList(nn.Linear(block**3 * before, after) for block, before, after in pairs)
        self.out = nn.Linear(8 * widths[-1], latent)

    def forward(self, cells: Tensor) -> Tensor:
        x = cells[..., None]
        for block, layer in zip(self.blocks, self.layers, strict=True):
            x = functional.silu(layer(_blocks(x, block)))
        return self.out(x.flatten(1))


class Decomposition(nn.Module):
    """A latent [B, latent] to the parts: intrinsics [B, P, intrinsics] and Gaussians."""

    def __init__(self, sizes: PartSizes) -> None:
        super().__init__()
        self.symmetric = sizes.symmetric
        self.count = sizes.parts // 2 if sizes.symmetric else sizes.parts
        self.split = nn.Linear(sizes.latent, self.count * sizes.width)
        self.transformer = set_transformer(sizes.width, sizes.depth, sizes.heads)
        self.intrinsics = nn.Linear(sizes.width, sizes.intrinsics)
        self.extrinsics = nn.Linear(sizes.width, SIZE)
        self.start = nn.Parameter(_spread(self.count))

    def forward(self, z: Tensor) -> tuple[Tensor, PartGaussians]:
        tokens = self.transformer(self.split(z).unflatten(-1, (self.count, -1)))
        intrinsics = functional.layer_norm(self.intrinsics(tokens), (self.intrinsics.out_features,))
        gaussians = PartGaussians.from_raw(self.extrinsics(tokens) + self.start)
        if self.symmetric:
            return torch.cat([intrinsics, intrinsics], 1), gaussians.joined(gaussians.reflected())
        return intrinsics, gaussians


class Mixing(nn.Module):
    """Parts that know of each other: (s_j, G_j) to contextual embeddings [B, P, width], for any number of parts."""

    def __init__(self, sizes: PartSizes) -> None:
        super().__init__()
        self.intrinsics = nn.Linear(sizes.intrinsics, sizes.width)
        self.extrinsics = nn.Linear(SIZE, sizes.width)
        self.transformer = set_transformer(sizes.width, sizes.depth, sizes.heads)

    def forward(self, intrinsics: Tensor, gaussians: PartGaussians) -> Tensor:
        return self.transformer(self.intrinsics(intrinsics) + self.extrinsics(gaussians.vectors()))


class Occupancy(nn.Module):
    """Whether points are inside: each attends to the parts likeliest to have made it, in their own frames."""

    def __init__(self, sizes: PartSizes) -> None:
        super().__init__()
        width = sizes.pair
        self.nearest, self.width = sizes.nearest, width
        self.of_part = nn.Linear(sizes.width, 3 * width)  # what a part adds in the first layer, scales and adds then
        self.of_place = nn.Linear(15, width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, width + 1)  # a value, and how much the point listens to it
        self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, embeddings: Tensor, gaussians: PartGaussians, points: Tensor) -> Tensor:
        """Logits [B, N] at points [B, N, 3] from embeddings [B, P, width]; positive inside."""
        local = gaussians.local(points)
        # By density, not by distance in standard deviations: a part that holds nothing is wide, and would be near all.
        density = gaussians.log_densities_at(local)
        near = density.topk(min(self.nearest, density.shape[-1]), dim=-1, sorted=False).indices
        local = local.gather(2, near[..., None].expand(-1, -1, -1, 3))
        of_part = self.of_part(embeddings)
        rows = (near + torch.arange(len(near), device=near.device)[:, None, None] * of_part.shape[1]).flatten()
        add, scale, shift = of_part.flatten(0, 1).index_select(0, rows).view(*near.shape, -1).chunk(3, -1)
        h = functional.silu(self.of_place(_place(local)) + add)
        h = functional.silu(self.hidden(h) * (1 + scale) + shift)
        value, listen = self.out(h).split((self.width, 1), -1)
        weight = (listen + 0.5 * density.gather(2, near)[..., None]).softmax(2)
        return self.head((weight * value).sum(2)).squeeze(-1)


class PartNetwork(nn.Module):
    """The four stages together."""

    def __init__(self, sizes: PartSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = Encoder(sizes.latent)
        self.decomposition = Decomposition(sizes)
        self.mixing = Mixing(sizes)
        self.occupancy = Occupancy(sizes)

    def parts_of(self, cells: Tensor) -> tuple[Tensor, PartGaussians]:
        """Intrinsics [B, P, intrinsics] and Gaussians of shapes given as grids [B, 32, 32, 32]."""
        return self.decomposition(self.encoder(cells))

    def logits(self, intrinsics: Tensor, gaussians: PartGaussians, points: Tensor) -> Tensor:
        """Occupancy logits [B, N] at points [B, N, 3]."""
        return self.occupancy(self.mixing(intrinsics, gaussians), gaussians, points)


def set_transformer(width: int, depth: int, heads: int) -> nn.TransformerEncoder:
    """Self-attention over a set: nothing tells its members' order."""
    layer = nn.TransformerEncoderLayer(
        width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)


def _blocks(x: Tensor, side: int) -> Tensor:
    """A grid [B, n, n, n, C] as blocks of `side` cells a side: [B, n / side, n / side, n / side, side^3 C]."""
    count, n = x.shape[0], x.shape[1] // side
    x = x.reshape(count, n, side, n, side, n, side, x.shape[-1])
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(count, n, n, n, -1)


def _place(local: Tensor) -> Tensor:
    """A place in a part's frame [..., 3] as 15 numbers: itself, tamed far away, and two frequencies."""
    near = local / (1 + local.abs() / 4)
    return torch.cat([near, near.sin(), near.cos(), (2 * near).sin(), (2 * near).cos()], -1)


def _spread(count: int) -> Tensor:
    """Raw Gaussians [count, 16] to begin with: spread over a ball, round, equal."""
    index = torch.arange(count) + 0.5
    height = 1 - 2 * index / count
    turn = torch.pi * (1 + 5**0.5) * index
    flat = (1 - height**2).sqrt()
    raw = torch.zeros(count, SIZE)
    raw[:, :3] = 0.5 * torch.stack([flat * turn.cos(), flat * turn.sin(), height], -1)
    raw[:, 3:12] = torch.eye(3).flatten()
    raw[:, 13:] = 0.25
    return raw
