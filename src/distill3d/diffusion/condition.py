"""What a denoiser is told: text, and the camera where it can see one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_CACHED_PROMPTS = 512  # a run uses a handful; a batch over a prompts file must not grow without end


@dataclass(frozen=True)
class Condition:
    """The conditioning of one branch for a batch of pictures.

    Args:
        text: [B, L, D] token embeddings; [1, L, D] serves any batch.
        view: [B, 16] from `view_vector`, or None for a prior that has no camera input.
        unconditional: the branch that guidance moves away from, or None for such a branch itself.
    """

    text: Tensor
    view: Tensor | None = None
    unconditional: Condition | None = None

    def __len__(self) -> int:
        return self.text.shape[0]

    def expand(self, batch: int) -> Condition:
        """This branch alone, repeated to `batch` pictures."""
        view = None if self.view is None else self.view.expand(batch, -1)
        return Condition(self.text.expand(batch, -1, -1), view)


def concatenate(conditions: Sequence[Condition], batch: int) -> Condition:
    """Several branches as one batch of len(conditions) * batch pictures, branch by branch."""
    parts = [c.expand(batch) for c in conditions]
    views = [c.view for c in parts if c.view is not None]
    return Condition(torch.cat([c.text for c in parts]), torch.cat(views) if views else None)


def pooled(text: Tensor) -> Tensor:
    """The mean over tokens, [B, L, D] to [B, D]: what the embedded prior's class embedding hears of the text."""
    return text.mean(1)


class TextEncoder:
    """Prompts to token embeddings: the last hidden state over the padded tokens, as Stable Diffusion uses it.

    Args:
        tokenizer: of transformers; prompts are padded and cut to its `model_max_length`.
        model: a transformers text encoder.
    """

    def __init__(self, tokenizer: Any, model: nn.Module) -> None:
        self.tokenizer, self.model = tokenizer, model
        self._cache: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """[B, L, D], float32, on the model's device. Every prompt is encoded once and remembered."""
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._cache:
                if len(self._cache) >= _CACHED_PROMPTS:
                    self._cache.clear()
                # One by one: a prompt's embedding must not depend, to the last bit, on what shares its batch.
                self._cache[prompt] = self._encode(prompt)
        return torch.cat([self._cache[p] for p in prompts])

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of `prompt` that the tokenizer has no token for (none, for a tokenizer of word pieces)."""
        unknown = self.tokenizer.unk_token_id
        words = prompt.replace(",", " ").replace(".", " ").split()
        return [w for w in words if unknown is not None and unknown in self._ids(w, padding=False)]

    def forget(self) -> None:
        """Drop what is remembered: after the model moved to another device."""
        self._cache.clear()

    def _encode(self, prompt: str) -> Tensor:
        device = next(self.model.parameters()).device
        ids = torch.tensor([self._ids(prompt, padding="max_length")], device=device)
        return self.model(ids).last_hidden_state.float()

    def _ids(self, text: str, padding: Any) -> list[int]:
        limit = self.tokenizer.model_max_length
        return self.tokenizer(text, padding=padding, max_length=limit, truncation=True)["input_ids"]
