"""What a prior has to be able to do to judge a scene by one picture of it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.diffusion.base import Prior
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.pose_search import Sight


@dataclass(frozen=True)
class Reference:
    """A picture as a prior remembers it, and the camera that took it.

    Args:
        vector: [1, D], what is in it, or [1, L, D], one a token.
        beside: [1, c, h, w], what the denoiser sees beside x_t.
        sight: what it shows and from which side, for priors that read that off it.
    """

    vector: Tensor
    beside: Tensor
    camera: Cameras
    sight: Sight | None = None


class NovelViewPrior(Prior):
    """A prior that is told a picture and from where another camera sees the same thing (Liu et al. 2023)."""

    @abstractmethod
    def remember(self, picture: Tensor, camera: Cameras, prompt: str = "", light: float = 1.0) -> Reference:
        """The picture [H, W, 4] in 0..1, colour premultiplied by coverage, as `seen_from` takes it; once a run.

        Args:
            prompt: what it shows; light: share of shading in it, 0..1. Both for priors that can be told.
        """

    @abstractmethod
    def seen_from(self, reference: Reference, cameras: Cameras, light: float | Tensor | None = None) -> Condition:
        """What `B` cameras see of the reference. The unconditional branch knows neither picture nor camera.

        Args:
            light: share of shading in the views, a number or [B], for priors that can be told.
        """
