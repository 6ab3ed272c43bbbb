"""Which word of the world a part answers to: "leg", "back", "wing".

The parts are found without words. What they came to hold is learned afterwards, from shapes whose parts have names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distill3d.core.component import nearest
from distill3d.core.errors import UserError
from distill3d.parts.gaussians import SIZE
from distill3d.parts.parts import Parts


class PartNamer(nn.Module):
    """From a part's two vectors to a score for each of `names`."""

    def __init__(self, names: tuple[str, ...], intrinsics: int, width: int = 96) -> None:
        super().__init__()
        self.names = names
        self.own = nn.Linear(SIZE + intrinsics, width)
        self.others = nn.Linear(width, width)  # what the whole shape is
        self.out = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, len(names)))

    def forward(self, parts: Parts) -> Tensor:
        """Scores [B, P, names]."""
        own = self.own(torch.cat([parts.gaussians.vectors(), parts.intrinsics], -1))
        return self.out(own + self.others(own.relu().mean(-2, keepdim=True)))

    def names_of(self, parts: Parts) -> list[str]:
        """The word for each part of one shape."""
        return [self.names[i] for i in self(parts.batch())[0].argmax(-1).tolist()]

    def called(self, parts: Parts, word: str) -> list[int]:
        """The numbers of the parts of one shape that a word names.

        Raises:
            UserError: no such word, or no such part in this shape.
        """
        word = word.lower().strip()
        singular = word if word in self.names else word.removesuffix("s")
        if singular not in self.names:
            raise UserError(f"no part is called {word!r}{nearest(word, self.names)}")
        own = self.names_of(parts)
        found = [i for i, name in enumerate(own) if name == singular]
        if not found:
            raise UserError(f"this shape has no {singular}: it has {', '.join(sorted(set(own)))}")
        return found
