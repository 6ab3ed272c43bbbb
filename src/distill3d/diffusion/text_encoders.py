"""Prompts to what a denoiser hears of them, as each family of models was trained to hear it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.diffusion.checkpoint import Checkpoint

LONGEST_PROMPT = 4000  # characters; a prompt is cut to 77 tokens, so whatever is longer was not meant as a prompt
_CACHED_PROMPTS = 512  # a run uses a handful; a batch over a prompts file must not grow without end
_T5_TOKENS = 77  # T5 takes any length, DeepFloyd IF was trained with this one


class TextEncoder:
    """The last hidden state over the padded tokens, as Stable Diffusion 1 and 2 use it.

    Args:
        tokenizer: of transformers; prompts are padded and cut to its `model_max_length`.
        model: a transformers text encoder.
    """

    def __init__(self, tokenizer: Any, model: nn.Module) -> None:
        self.tokenizer, self.model = tokenizer, model
        places = getattr(model.config, "max_position_embeddings", None)
        self.limit = min(int(tokenizer.model_max_length), int(places or tokenizer.model_max_length))
        self._cache: dict[str, tuple[Tensor, Tensor | None]] = {}

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """[B, L, D], float32, on the model's device. Every prompt is encoded once and remembered.

        Raises:
            UserError: a prompt of more than `LONGEST_PROMPT` characters.
        """
        return torch.cat([self._look_up(p)[0] for p in prompts])

    @torch.no_grad()
    def sentences(self, prompts: Sequence[str]) -> Tensor | None:
        """One vector a prompt, [B, P], for models that hear one beside the tokens; None for others."""
        vectors = [self._look_up(p)[1] for p in prompts]
        return torch.cat([v for v in vectors if v is not None]) if vectors[0] is not None else None

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of `prompt` that the tokenizer has no token for (none, for a tokenizer of word pieces)."""
        unknown = self.tokenizer.unk_token_id
        if unknown is None or unknown == self.tokenizer.eos_token_id:  # CLIP's own: it takes any text apart
            return []
        words = prompt.replace(",", " ").replace(".", " ").split()
        return [w for w in words if unknown in self._tokens(w, truncation=True, max_length=self.limit)["input_ids"]]

    def unheard(self, prompt: str) -> str:
        """The end of a prompt that is cut off because it does not fit; empty where all of it is heard."""
        ids = self._tokens(prompt, verbose=False)["input_ids"]
        return "" if len(ids) <= self.limit else self.tokenizer.decode(ids[self.limit - 1 : -1]).strip()

    def forget(self) -> None:
        """Drop what is remembered: after the model moved to another device."""
        self._cache.clear()

    def _look_up(self, prompt: str) -> tuple[Tensor, Tensor | None]:
        if len(prompt) > LONGEST_PROMPT:
            raise UserError(
                f"a prompt has {len(prompt)} characters; {LONGEST_PROMPT} are the most ({prompt[:30]!r}...)"
            )
        if prompt not in self._cache:
            if len(self._cache) >= _CACHED_PROMPTS:
                self._cache.clear()
            # One by one: a prompt's embedding must not depend, to the last bit, on what shares its batch.
            self._cache[prompt] = self._encode(prompt)
        return self._cache[prompt]

    def _encode(self, prompt: str) -> tuple[Tensor, Tensor | None]:
        """[1, L, D] and [1, P] or None, float32."""
        return self.model(self._padded(prompt, self.tokenizer)).last_hidden_state.float(), None

    def _padded(self, prompt: str, tokenizer: Any) -> Tensor:
        ids = tokenizer(prompt, padding="max_length", max_length=self.limit, truncation=True)["input_ids"]
        return torch.tensor([ids], device=next(self.model.parameters()).device)

    def _tokens(self, text: str, **options: Any) -> Any:
        return self.tokenizer(text, **options)


class PairEncoder(TextEncoder):
    """Two CLIP encoders side by side, as SDXL uses them (Podell et al. 2024, section 2.1).

    Tokens are the last hidden layer but one of both, joined along the features; the sentence vector is the projected
    one of the second.

    Args:
        tokenizers, models: two each.
    """

    def __init__(self, tokenizers: Sequence[Any], models: Sequence[nn.Module]) -> None:
        super().__init__(tokenizers[0], models[0])
        self.second_tokenizer, self.second = tokenizers[1], models[1]

    def _encode(self, prompt: str) -> tuple[Tensor, Tensor | None]:
        first = self.model(self._padded(prompt, self.tokenizer), output_hidden_states=True)
        second = self.second(self._padded(prompt, self.second_tokenizer), output_hidden_states=True)
        tokens = torch.cat([first.hidden_states[-2].float(), second.hidden_states[-2].float()], -1)
        return tokens, second.text_embeds.float()


class T5Encoder(TextEncoder):
    """The encoder of T5 over padded tokens that do not attend to the padding, as DeepFloyd IF uses it.

    Prompts are lower case. DeepFloyd's own cleaning of web captions (of links, mentions and the like) is left out.
    """

    def __init__(self, tokenizer: Any, model: nn.Module) -> None:
        super().__init__(tokenizer, model)
        self.limit = _T5_TOKENS

    def _encode(self, prompt: str) -> tuple[Tensor, Tensor | None]:
        ids = self._padded(prompt, self.tokenizer)
        heard = self._tokens(prompt, padding="max_length", max_length=self.limit, truncation=True)["attention_mask"]
        mask = torch.tensor([heard], device=ids.device)
        return self.model(ids, attention_mask=mask).last_hidden_state.float(), None

    def _padded(self, prompt: str, tokenizer: Any) -> Tensor:
        return super()._padded(_lower(prompt), tokenizer)

    def _tokens(self, text: str, **options: Any) -> Any:
        return super()._tokens(_lower(text), **options)


def text_encoder_of(checkpoint: Checkpoint, models: Sequence[Any]) -> TextEncoder:
    """The encoder that a checkpoint's family hears with.

    Raises:
        UserError: a tokenizer's files do not make one.
    """
    first = checkpoint.tokenizer("tokenizer")
    if len(models) > 1:
        return PairEncoder([first, checkpoint.tokenizer("tokenizer_2")], models)
    kind = T5Encoder if checkpoint.parts["text_encoder"] == "T5EncoderModel" else TextEncoder
    return kind(first, models[0])


def _lower(prompt: str) -> str:
    return prompt.lower().strip()
