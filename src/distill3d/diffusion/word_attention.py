"""Where a denoiser looks for some words of its text: cross-attention maps (Hertz et al. 2022, "Prompt-to-Prompt"; Tang
et al. 2023, "What the DAAM")."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.base import Prior
from distill3d.diffusion.condition import Condition


class ListeningAttention:
    """An attention processor of diffusers that writes down how much each place attends to some tokens, and changes
    nothing.

    Args:
        inner: what computes the attention. tokens: positions in the text. heard: what is written into, maps
            [B, L], mean over the heads, sum over the tokens.
    """

    def __init__(self, inner: Any, tokens: list[int], heard: list[Tensor]) -> None:
        self.inner, self.tokens, self.heard = inner, tokens, heard

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        if encoder_hidden_states is not None:
            query = attn.head_to_batch_dim(attn.to_q(hidden_states))
            key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
            shares = attn.get_attention_scores(query, key)  # [B heads, L, T], adds up to 1 over the tokens
            shares = shares.view(len(hidden_states), -1, *shares.shape[1:])
            self.heard.append(shares[..., self.tokens].float().sum(-1).mean(1))
        return self.inner(attn, hidden_states, encoder_hidden_states, *args, **kwargs)


@contextmanager
def listening(unet: Any, tokens: list[int]) -> Iterator[list[Tensor]]:
    """As long as it lasts, every cross-attention of a `UNet2DConditionModel` adds a map [B, L] to the list.

    Raises:
        UserError: the network has no cross-attention that can be heard.
    """
    before = dict(getattr(unet, "attn_processors", {}))
    heard: list[Tensor] = []
    if not any(name.endswith("attn2.processor") for name in before):
        raise UserError("this prior's network has no cross-attention to its text: locate words by difference instead")
    unet.set_attn_processor(
        {
            name: ListeningAttention(inner, tokens, heard) if name.endswith("attn2.processor") else inner
            for name, inner in before.items()
        }
    )
    try:
        yield heard
    finally:
        unet.set_attn_processor(before)


@torch.no_grad()
def attention_to(prior: Prior, x_t: Tensor, t: Tensor, condition: Condition, tokens: list[int]) -> Tensor:
    """How much each place attends to the tokens, [B, h, w] in 0..1 at the size of x_t: the mean over all layers.

    Args:
        x_t: [B, c, h, w], of squares; t: [B]. tokens: their positions in the text, see `token_positions`.
    Raises:
        UserError: see `listening`.
    """
    with listening(getattr(prior, "unet", None), tokens) as heard:
        prior.denoise(x_t, t, condition)
    maps = []
    for flat in heard:
        side = round(flat.shape[1] ** 0.5)
        small = flat.view(len(flat), 1, side, side)
        maps.append(F.interpolate(small, x_t.shape[-2:], mode="bilinear", align_corners=False)[:, 0])
    return torch.stack(maps).mean(0)


def token_positions(tokenizer: Any, sentence: str, words: str, limit: int | None = None) -> list[int]:
    """Where the tokens of `words` stand in those of `sentence`, the first time that they come one after the other.

    Raises:
        UserError: the sentence does not say the words, or it is cut off before them.
    """
    length = limit or int(tokenizer.model_max_length)
    told = tokenizer(sentence, truncation=True, max_length=length)["input_ids"]
    asked = tokenizer(words, add_special_tokens=False)["input_ids"]
    for start in range(len(told) - len(asked) + 1):
        if asked and told[start : start + len(asked)] == asked:
            return list(range(start, start + len(asked)))
    raise UserError(
        f"the sentence {sentence!r} does not say {words!r}: a region by words is looked for by what it says"
    )
