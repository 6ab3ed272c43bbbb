"""The embedded prior without its camera: what a side is asked for has to be said in words, as with Stable Diffusion.

It is there to be compared with. Its captions hold no views, so the words of view-dependent prompts are taken out of the
prompt and put where the camera stands: a word is a whole range of cameras, and the prior hears the middle of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.view import null_view, view_vector

_WORDS = re.compile(r", (front|side|back|overhead) view$")
_AZIMUTHS = {"front": 0.0, "side": 90.0, "back": 180.0}  # degrees; the word does not say which side: it is always one
_ELEVATION, _OVERHEAD = 20.0, 75.0  # degrees: amid those at which people stand, and amid those beyond 60


class TextOnlyPrior(DiffusionPrior):
    """A prior without its camera, which hears ", front view" and the like at a prompt's end.

    Raises:
        UserError: the prior has no such camera.
    """

    kind: ClassVar[str] = "text_only"

    def __init__(self, config: Any = None, device: torch.device | str = "cpu") -> None:
        super().__init__(config, device)
        if not self.sees_cameras or self._mvdream:
            raise UserError(f"the prior {self.config.model!r} has no camera, as the toybox has, to leave out")
        self.sees_cameras = False

    def _branch(self, prompts: list[str], batch: int, view: Tensor | None, *rest: Any, **named: Any) -> Condition:
        texts, views = spoken(prompts)
        return super()._branch(texts, batch, views.to(self.device).expand(batch, -1), *rest, **named)


def spoken(prompts: Sequence[str]) -> tuple[list[str], Tensor]:
    """Prompts without their words for a view, and what these words say of the camera, [B, 16]: zeros without them."""
    found = [_WORDS.search(prompt) for prompt in prompts]
    texts = [_WORDS.sub("", prompt) for prompt in prompts]
    views = [null_view(1)[0] if match is None else spoken_view(match[1]) for match in found]
    return texts, torch.stack(views)


def spoken_view(name: str) -> Tensor:
    """What a word says of the camera, [16]: front, side, back, or overhead, from any side."""
    above = name == "overhead"
    turns = [math.radians(turn) for turn in ((0.0, 90.0, 180.0, 270.0) if above else (_AZIMUTHS[name],))]
    cameras = Cameras.orbit(torch.tensor(turns), math.radians(_OVERHEAD if above else _ELEVATION))
    return view_vector(cameras).mean(0)
