"""The extrinsics of a shape: one Gaussian a part says where it is, how large, which way, and how much of the shape."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST = 1e-4  # eigenvalue; a part is at least 0.01 thick (one standard deviation, world units)
SIZE = 16  # numbers of one Gaussian as a vector: mean 3, eigenvectors 9, weight 1, eigenvalues 3


@dataclass(frozen=True)
class PartGaussians:
    """Gaussians of P parts, with any leading axes; Sigma^-1 = E^T diag(1 / lambda) E.

    Args:
        means: [..., P, 3], world units.
        axes: [..., P, 3, 3], E: its rows are the orthonormal eigenvectors.
        eigenvalues: [..., P, 3], lambda: variances along the rows of `axes`, world units squared.
        logits: [..., P], softmax over the parts gives their weights in the mixture.
    """

    means: Tensor
    axes: Tensor
    eigenvalues: Tensor
    logits: Tensor

    @classmethod
    def from_raw(cls, raw: Tensor) -> PartGaussians:
        """From a network's numbers [..., P, 16] (Hertz et al. 2022): eigenvectors by Gram-Schmidt, lambda = raw^2."""
        mean, axes, logit, root = raw.split((3, 9, 1, 3), -1)
        axes = orthonormal(axes.unflatten(-1, (3, 3)))
        return cls(mean, axes, root.square() + SMALLEST, logit.squeeze(-1))

    @classmethod
    def from_vectors(cls, vectors: Tensor) -> PartGaussians:
        """The inverse of `vectors`, [..., P, 16], for any numbers: they are projected on what a Gaussian can be."""
        mean, axes, logit, log_eigenvalues = vectors.split((3, 9, 1, 3), -1)
        eigenvalues = log_eigenvalues.clamp(math.log(SMALLEST), 0.0).exp()
        return cls(mean, orthonormal(axes.unflatten(-1, (3, 3))), eigenvalues, logit.squeeze(-1))

    def vectors(self, centred: bool = True) -> Tensor:
        """[..., P, 16]: mean, rows of eigenvectors, logit, log of eigenvalues.

        SALAD diffuses eigenvalues; their logarithm keeps the relative error of thin parts as small as that of thick
        ones, and cannot leave the positive numbers. Logits are shifted so that their mean is 0: softmax ignores it. For
        some of the parts of a shape, whose logits are about the mean of all, they are left as they are (`centred`).
        """
        logits = self.logits - self.logits.mean(-1, keepdim=True) if centred else self.logits
        return torch.cat([self.means, self.axes.flatten(-2), logits[..., None], self.eigenvalues.log()], -1)

    def __getitem__(self, index: object) -> PartGaussians:
        """Along the leading axes."""
        return PartGaussians(*(getattr(self, name)[index] for name in ("means", "axes", "eigenvalues", "logits")))

    @property
    def covariances(self) -> Tensor:
        """Sigma, [..., P, 3, 3]."""
        return self.axes.mT @ (self.eigenvalues[..., None] * self.axes)

    def local(self, points: Tensor) -> Tensor:
        """Points [..., N, 3] in the frame of each part, in its standard deviations: [..., N, P, 3]."""
        scaled = self.axes / self.eigenvalues.sqrt()[..., None]  # rows e_k / sqrt(lambda_k)
        rotated = torch.einsum("...nc,...pkc->...npk", points, scaled)
        return rotated - torch.einsum("...pc,...pkc->...pk", self.means, scaled)[..., None, :, :]

    def log_densities(self, points: Tensor) -> Tensor:
        """log (w_j N(x; mu_j, Sigma_j)) for points [..., N, 3]: [..., N, P]."""
        return self.log_densities_at(self.local(points))

    def log_densities_at(self, local: Tensor) -> Tensor:
        """The same at places in the parts' own frames, [..., N, P, 3]: [..., N, P]."""
        distance = local.square().sum(-1)
        volume = self.eigenvalues.log().sum(-1) + 3 * math.log(2 * math.pi)
        return functional.log_softmax(self.logits, -1)[..., None, :] - 0.5 * (distance + volume[..., None, :])

    def log_likelihood(self, points: Tensor) -> Tensor:
        """Of the mixture, [..., N]."""
        return self.log_densities(points).logsumexp(-1)

    def assign(self, points: Tensor) -> Tensor:
        """The part that each of `points` [..., N, 3] belongs to, the one most likely to have made it: [..., N]."""
        return self.log_densities(points).argmax(-1)

    def moved(self, rotation: Tensor, scale: Tensor, shift: Tensor, chosen: Tensor) -> PartGaussians:
        """The parts that are `chosen` [..., P] (bool) by x -> scale R x + shift, about the origin; the rest as it is.

        Args:
            rotation: [..., 3, 3]. scale: [...]. shift: [..., 3].
        """
        means = scale[..., None, None] * self.means @ rotation.mT + shift[..., None, :]
        axes = self.axes @ rotation.mT[..., None, :, :]
        eigenvalues = scale[..., None, None].square() * self.eigenvalues
        pick = chosen[..., None]
        return replace(
            self,
            means=torch.where(pick, means, self.means),
            axes=torch.where(pick[..., None], axes, self.axes),
            eigenvalues=torch.where(pick, eigenvalues, self.eigenvalues),
        )

    def reflected(self) -> PartGaussians:
        """The mirror image across y = 0; twice gives the original."""
        flip = self.means.new_tensor([1.0, -1.0, 1.0])
        return replace(self, means=self.means * flip, axes=self.axes * flip)

    def joined(self, other: PartGaussians) -> PartGaussians:
        """The parts of both, as one set."""
        names = (("means", -2), ("axes", -3), ("eigenvalues", -2), ("logits", -1))
        return PartGaussians(*(torch.cat([getattr(self, n), getattr(other, n)], axis) for n, axis in names))

    def only(self, parts: Tensor) -> PartGaussians:
        """The parts at positions `parts` [K] (or a mask [P]) of the last axis."""
        return PartGaussians(
            self.means[..., parts, :],
            self.axes[..., parts, :, :],
            self.eigenvalues[..., parts, :],
            self.logits[..., parts],
        )


def orthonormal(rows: Tensor) -> Tensor:
    """Gram-Schmidt on the rows of [..., 3, 3]; the third keeps its side, so reflections stay reflections.

    The first row keeps its direction. Rows that depend on each other are completed by any perpendicular ones.
    """
    first = functional.normalize(rows[..., 0, :], dim=-1, eps=1e-8)
    first = torch.where(first.norm(dim=-1, keepdim=True) > 0.5, first, first.new_tensor([1.0, 0.0, 0.0]))
    second = _perpendicular(rows[..., 1, :], first)
    third = torch.linalg.cross(first, second)
    side = (third * rows[..., 2, :]).sum(-1, keepdim=True)
    return torch.stack([first, second, torch.where(side < 0, -third, third)], -2)


def _perpendicular(vector: Tensor, unit: Tensor) -> Tensor:
    """The unit vector across `unit` nearest to `vector`, or any where `vector` lies along it."""
    across = vector - (vector * unit).sum(-1, keepdim=True) * unit
    least = functional.one_hot(unit.abs().argmin(-1), 3).to(unit)  # an axis of the world well off `unit`
    instead = least - (least * unit).sum(-1, keepdim=True) * unit
    across = torch.where(across.norm(dim=-1, keepdim=True) > 1e-6, across, instead)
    # Twice, for what is left along `unit` by rounding is large next to a small `across`.
    across = functional.normalize(across, dim=-1)
    return functional.normalize(across - (across * unit).sum(-1, keepdim=True) * unit, dim=-1)
