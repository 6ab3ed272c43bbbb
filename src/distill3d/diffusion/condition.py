"""What a denoiser is told: text, and whatever else it can hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from distill3d.diffusion import hint as hints
from distill3d.diffusion.hint import Hint


@dataclass(frozen=True)
class Condition:
    """The conditioning of one branch for a batch of pictures. A tensor of one row serves any batch.

    Args:
        text: [B, L, D] token embeddings.
        view: [B, 16] from `view_vector`, or None for a prior that has no camera input.
        unconditional: the branch that guidance moves away from, or None for such a branch itself.
        sentence: [B, P], one vector for the whole prompt, where a prior hears one (SDXL).
        sizes: [B, 6], original size, crop and target size in pixels, where a prior hears them (SDXL).
        image: [B, c, h, w], channels that the denoiser sees beside x_t (InstructPix2Pix).
        control: what each of the prior's ControlNets is shown, in their order; None leaves one out.
    """

    text: Tensor
    view: Tensor | None = None
    unconditional: Condition | None = None
    sentence: Tensor | None = None
    sizes: Tensor | None = None
    image: Tensor | None = None
    control: tuple[Hint | None, ...] = ()

    def __len__(self) -> int:
        return self.text.shape[0]

    def expand(self, batch: int) -> Condition:
        """This branch alone, repeated to `batch` pictures."""
        return Condition(
            text=self.text.expand(batch, -1, -1),
            view=_repeat(self.view, batch),
            sentence=_repeat(self.sentence, batch),
            sizes=_repeat(self.sizes, batch),
            image=_repeat(self.image, batch),
            control=tuple(None if h is None else h.expand(batch) for h in self.control),
        )


def concatenate(conditions: Sequence[Condition], batch: int) -> Condition:
    """Several branches as one batch of len(conditions) * batch pictures, branch by branch."""
    parts = [c.expand(batch) for c in conditions]
    nets = max(len(c.control) for c in parts)
    control = [[c.control[i] if i < len(c.control) else None for c in parts] for i in range(nets)]
    return Condition(
        text=torch.cat([c.text for c in parts]),
        view=_join([c.view for c in parts]),
        sentence=_join([c.sentence for c in parts]),
        sizes=_join([c.sizes for c in parts]),
        image=_join([c.image for c in parts]),
        control=tuple(hints.together(branch, batch) for branch in control),
    )


def blended(condition: Condition, shares: Tensor) -> Condition:
    """What lies between the texts of a condition: B pictures that hear N texts in shares of their own.

    Args:
        condition: of N texts; a tensor of one row is the same for all. Pictures and control are not blended.
        shares: [B, N], each row adding up to 1.
    """
    if condition.image is not None or condition.control:
        raise ValueError("texts are blended, pictures are not")

    def mixed(rows: Tensor | None) -> Tensor | None:
        return rows if rows is None or len(rows) == 1 else torch.einsum("bn,n...->b...", shares.to(rows), rows)

    text = mixed(condition.text)
    assert text is not None
    without = None if condition.unconditional is None else blended(condition.unconditional, shares)
    return Condition(text, mixed(condition.view), without, mixed(condition.sentence), mixed(condition.sizes))


def hinted(condition: Condition, control: tuple[Hint | None, ...]) -> Condition:
    """The same, with that shown to the prior's ControlNets in every branch; `control` is for them all, in their order.

    The unconditional branch sees it too, as is usual: what guidance amplifies is the text alone.
    """
    without = condition.unconditional
    return replace(condition, control=control, unconditional=None if without is None else hinted(without, control))


def pooled(text: Tensor) -> Tensor:
    """The mean over tokens, [B, L, D] to [B, D]: what the embedded prior's class embedding hears of the text."""
    return text.mean(1)


def _repeat(value: Tensor | None, batch: int) -> Tensor | None:
    return None if value is None else value.expand(batch, *value.shape[1:])


def _join(values: Sequence[Tensor | None]) -> Tensor | None:
    present = [v for v in values if v is not None]
    if present and len(present) != len(values):
        raise ValueError("some branches have a view, a sentence, a size or a picture that the others lack")
    return torch.cat(present) if present else None
