"""How well pictures and texts go together in the space of a text-image encoder: numbers for tables, no gradients.

All functions take unit vectors, as the encoders of `diffusion.text_image` return them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_CHANGE = 1e-6  # length of a difference below which it has no direction


@torch.no_grad()
def retrieved(pictures: Tensor, texts: Tensor, own: Tensor) -> Tensor:
    """Whether each picture's own text is nearer to it than every other one, [B] bool.

    Args:
        pictures: [B, D]. texts: [N, D]. own: [B] row of its own text. A tie with another text does not count.
    """
    scores = pictures @ texts.T
    mine = scores.gather(1, own[:, None])
    return (scores >= mine).sum(1) == 1


def r_precision(pictures: Tensor, texts: Tensor, own: Tensor) -> float:
    """Share of pictures that retrieve their own text among all (Park et al. 2021); see `retrieved`."""
    return float(retrieved(pictures, texts, own).float().mean())


@torch.no_grad()
def directional_similarity(before: Tensor, after: Tensor, text_before: Tensor, text_after: Tensor) -> Tensor:
    """Cosine between the change of a picture and the change of its text, [B] (Gal et al. 2022, eq. 2).

    1 for a picture that changed as the text did, 0 where either did not change at all (which has no direction).

    Args:
        before, after: [B, D], the picture. text_before, text_after: [B or 1, D].
    """
    seen, said = after - before, text_after - text_before
    both = (seen.norm(dim=1) > LEAST_CHANGE) & (said.norm(dim=1) > LEAST_CHANGE)
    return torch.where(both, F.cosine_similarity(seen, said, dim=1), 0.0)


@torch.no_grad()
def consistency(before: Sequence[Tensor] | Tensor, after: Sequence[Tensor] | Tensor) -> float:
    """Mean cosine between the changes of neighbouring views (Haque et al. 2023, section 4.2): whether an edit is the
    same one from each side.

    Args:
        before, after: [V, D], views along a path of cameras, in order.
    """
    a, b = (v if isinstance(v, Tensor) else torch.stack(list(v)) for v in (before, after))
    change = b - a
    return float(F.cosine_similarity(change[1:], change[:-1], dim=1).mean())
