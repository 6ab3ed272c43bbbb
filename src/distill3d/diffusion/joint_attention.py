"""Several views of one thing, denoised together: self-attention over all of them (MVDream, Shi et al. 2024, sec. 3.1).

The tokens of `views` pictures that follow each other in the batch become one sequence, so that what one view shows
every other can use. The weights are those of the attention within one picture; nothing else of the network changes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class JointAttention:
    """An attention processor of diffusers that lets another one see `views` pictures as one.

    Args:
        inner: what computes the attention. views: how many pictures belong together.
    """

    def __init__(self, inner: Any, views: int) -> None:
        self.inner, self.views = inner, views

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """hidden_states [B, L, C] with B a multiple of the views; the same shape back."""
        batch, length, width = hidden_states.shape
        if batch % self.views:
            raise ValueError(f"{batch} pictures are no whole number of groups of {self.views} views")
        together = hidden_states.reshape(batch // self.views, self.views * length, width)
        return self.inner(attn, together, *args, **kwargs).reshape(batch, length, width)


def see_together(unet: Any, views: int) -> None:
    """Makes all self-attention of a `UNet2DConditionModel` joint over `views` pictures; 1 takes that back."""
    processors = {}
    for name, processor in unet.attn_processors.items():
        inner = processor.inner if isinstance(processor, JointAttention) else processor
        joint = views > 1 and name.endswith("attn1.processor")
        processors[name] = JointAttention(inner, views) if joint else inner
    unet.set_attn_processor(processors)


def self_attention(unet: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that joint attention uses, by their names in the network."""
    return {name: parameter for name, parameter in unet.named_parameters() if ".attn1." in name}
