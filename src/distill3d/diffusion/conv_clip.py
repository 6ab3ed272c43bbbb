"""A text-image encoder small enough to be trained on a CPU: convolutions that see, a CLIP text encoder that hears.

A vision transformer of the same cost learns shapes far more slowly: it has to find out first that neighbouring pixels
belong together. So the picture's tower is a plain convolutional network, and the folder is this package's own.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.diffusion.weight_files import check_safetensors, read_json

MODEL_TYPE = "distill3d_conv_clip"  # in config.json, where transformers' folders say "clip"
WEIGHTS = "model.safetensors"
_COUNTER = "num_batches_tracked"  # of BatchNorm, which makes no use of it here


@dataclass(frozen=True)
class ConvClipShape:
    """Sizes of both towers."""

    size: int = 64  # pixels
    widths: tuple[int, int, int, int] = (24, 48, 96, 192)  # channels at 32, 16, 8 and 4 pixels
    text_width: int = 96
    text_layers: int = 2
    tokens: int = 16
    vocabulary: int = 158  # words; the last one is the token that ends a text
    space: int = 128  # length of the vectors that are compared


class ConvClip(nn.Module):
    """Seven convolutions over RGB pictures in -1..1, and a transformers CLIP text encoder.

    Attributes:
        logit_scale: log of the learnt inverse temperature.
    """

    def __init__(self, shape: ConvClipShape) -> None:
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection  # takes seconds

        super().__init__()
        self.shape = shape
        a, b, c, d = shape.widths
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        for before, after, stride in ((12, a, 1), (a, b, 2), (b, b, 1), (b, c, 2), (c, c, 1), (c, d, 2), (d, d, 1)):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.visual_projection = nn.Linear(2 * d, shape.space, bias=False)
        self.text = CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=shape.vocabulary,
                hidden_size=shape.text_width,
                intermediate_size=2 * shape.text_width,
                num_hidden_layers=shape.text_layers,
                num_attention_heads=4,
                max_position_embeddings=shape.tokens,
                pad_token_id=0,
                bos_token_id=shape.vocabulary - 1,
                eos_token_id=shape.vocabulary - 1,
                projection_dim=shape.space,
            )
        )
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))  # log(1 / 0.07), as CLIP starts

    def see(self, pixels: Tensor) -> Tensor:
        """[B, 3, size, size] in -1..1 to [B, space], not normalised."""
        maps = self.trunk(pixels.contiguous(memory_format=torch.channels_last))
        return self.visual_projection(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1))

    def hear(self, tokens: Tensor) -> Tensor:
        """[N, L] integers to [N, space], not normalised."""
        return self.text(input_ids=tokens).text_embeds

    def save(self, folder: Path) -> None:
        """Shape and weights, these in half precision; the tokenizer is the caller's to add."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {k: v for k, v in self.state_dict().items() if not k.endswith(_COUNTER)}
        save_file({k: v.detach().cpu().half().contiguous() for k, v in tensors.items()}, folder / WEIGHTS)
        content = {"model_type": MODEL_TYPE, **asdict(self.shape)}
        (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> ConvClip:
        """What `save` has written, in float32, frozen and in evaluation mode.

        Raises:
            UserError: a file is missing or damaged, or the weights do not fit the shape.
        """
        from safetensors.torch import load_file

        content: dict[str, Any] = read_json(folder / "config.json")
        check_safetensors(folder / WEIGHTS)
        try:
            content = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items() if k != "model_type"}
            clip = cls(ConvClipShape(**content))
            counters = {k: v for k, v in clip.state_dict().items() if k.endswith(_COUNTER)}
            clip.load_state_dict(load_file(folder / WEIGHTS) | counters)
        except (TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{folder}: weights do not fit config.json: {reason}") from error
        return clip.to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
