"""A text encoder begins with what the embedded prior's has learnt of the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from distill3d.core.errors import UserError
from distill3d.diffusion.folder import check_network, load_network, load_tokenizer


@torch.no_grad()
def start_from_known_words(encoder: nn.Module, tokenizer: Any, folder: Path) -> int:
    """Copy the layers of the text encoder in `folder`, and the vectors of the words that both tokenizers have whole.

    Places move by one: CLIP's texts begin with a token of their own.

    Args:
        encoder: a CLIPTextModel with a CLIPTokenizer. folder: a prior whose tokenizer knows whole words.
    Returns:
        How many words were known.
    Raises:
        UserError: the folder holds no text encoder, or one of another width or depth.
    """
    check_network(folder / "text_encoder", "CLIPTextModel")
    known = load_network(folder, "text_encoder", "CLIPTextModel", torch.float32).state_dict()
    words = load_tokenizer(folder, "PreTrainedTokenizerFast").get_vocab()
    state = encoder.state_dict()
    token, place = ("embeddings.token_embedding.weight", "embeddings.position_embedding.weight")
    if state.keys() != known.keys() or any(known[k].shape != state[k].shape for k in state.keys() - {token, place}):
        raise UserError(f"{folder / 'text_encoder'} has another shape than the text encoder to train")
    vocabulary = tokenizer.get_vocab()
    rows = [(vocabulary[f"{word}</w>"], i) for word, i in words.items() if f"{word}</w>" in vocabulary]
    for mine, theirs in rows:
        state[token][mine] = known[token][theirs]
    count = min(len(known[place]), len(state[place]) - 1)
    state[place][1 : 1 + count] = known[place][:count]
    encoder.load_state_dict({k: state[k] if k in (token, place) else v for k, v in known.items()})
    return len(rows)
