"""How much two sets of pictures of one object differ."""

from __future__ import annotations

from dataclasses import dataclass

from distill3d.core.rendering import Rendering


@dataclass(frozen=True)
class Agreement:
    """Of two renderings of the same cameras.

    Args:
        color_difference: mean absolute difference of the object's own colour over pixels and channels where both show
            the object (alpha > 1/2), 0..1; 1 where they share no pixel.
        silhouette_iou: intersection over union of {alpha > 1/2}, over all pictures together; 1 if both are empty.
    """

    color_difference: float
    silhouette_iou: float


def compare_renderings(first: Rendering, second: Rendering) -> Agreement:
    """Compares renderings over a black background, light and size alike."""
    shown = [r.alpha[..., 0].detach().cpu() > 0.5 for r in (first, second)]
    both, either = shown[0] & shown[1], shown[0] | shown[1]
    if not either.any():
        return Agreement(0.0, 1.0)
    colors = [(r.rgb.detach().cpu() / r.alpha.detach().cpu().clamp_min(1e-6))[both] for r in (first, second)]
    difference = float((colors[0] - colors[1]).abs().mean()) if both.any() else 1.0
    return Agreement(difference, float(both.sum() / either.sum()))
