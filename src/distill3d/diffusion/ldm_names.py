"""What diffusers and transformers call a weight, and what the files of Stability AI call it.

The files of Stable Diffusion that go round as one `.safetensors` have the names of the program that trained them
(Rombach et al. 2022, "ldm"), and so have many LoRA files for SDXL. The networks here are diffusers'. These functions
say where a weight of such a network stands in such a file.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final",
    "text_projection.weight": "text_projection",
}
_OPEN_CLIP_LAYER = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


class Place(NamedTuple):
    """Where a weight stands in a file.

    Args:
        name: of the tensor there.
        third: which third of its rows, where queries, keys and values stand together; None is all.
        transposed: whether it is stored the other way round.
    """

    name: str
    third: int | None = None
    transposed: bool = False


def unet_name(name: str, layers: int, names: Collection[str]) -> str:
    """The ldm name of a weight or a module of a UNet2DConditionModel.

    Args:
        name: dotted, for example down_blocks.1.resnets.0.conv1.weight.
        layers: the network's `layers_per_block`.
        names: of all its weights or modules: they tell which blocks have attention.
    """
    for end, ldm in _UNET_ENDS.items():
        if name == end or name.startswith(end + "."):
            return ldm + name[len(end) :]
    match = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name)
    if match:
        kind, i, rest = match[1], int(match[2]), match[3]
        return f"middle_block.{2 * i if kind == 'resnets' else 1}." + _inside(kind, rest)
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name)
    if not match:
        return name
    side, block, kind, i, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * (layers + 1)}.0.op" + rest.removeprefix("conv")
    if kind == "upsamplers":
        attends = any(n.startswith(f"up_blocks.{block}.attentions.") for n in names)
        return f"output_blocks.{block * (layers + 1) + layers}.{2 if attends else 1}.{rest}"
    place = block * (layers + 1) + i
    start = f"input_blocks.{place + 1}" if side == "down" else f"output_blocks.{place}"
    return f"{start}.{0 if kind == 'resnets' else 1}." + _inside(kind, rest)


def vae_name(name: str, levels: int) -> str:
    """The ldm name of a weight of an AutoencoderKL with `levels` resolutions."""
    name = name.replace(".conv_norm_out.", ".norm_out.").replace(".conv_shortcut.", ".nin_shortcut.")
    match = re.fullmatch(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d)\.(.+)", name)
    if match:
        side, kind, i, rest = match[1], match[2], int(match[3]), match[4]
        if kind == "resnets":
            return f"{side}.mid.block_{i + 1}.{rest}"
        part = next(p for p in _VAE_ATTENTION if rest.startswith(p + "."))
        return f"{side}.mid.attn_1.{_VAE_ATTENTION[part]}{rest[len(part) :]}"
    match = re.fullmatch(r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    if not match:
        return name
    side, block, kind, i, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    level = block if side == "encoder.down" else levels - 1 - block  # the decoder counts from the finest level
    inside = f"block.{i}" if kind == "resnets" else kind.removesuffix("rs")
    return f"{side}.{level}.{inside}.{rest}"


def open_clip_place(name: str) -> Place:
    """Where a weight of a CLIPTextModel stands among those of OpenCLIP's text transformer."""
    for ours, theirs in _OPEN_CLIP.items():
        if name == ours or name.startswith(ours + "."):
            return Place(theirs + name[len(ours) :], transposed=theirs == "text_projection")
    match = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if not match:
        return Place(name)
    layer, part, kind = f"transformer.resblocks.{match[1]}", match[2], match[3]
    if part in _OPEN_CLIP_LAYER:
        return Place(f"{layer}.{_OPEN_CLIP_LAYER[part]}.{kind}")
    third = {"self_attn.q_proj": 0, "self_attn.k_proj": 1, "self_attn.v_proj": 2}.get(part)
    return Place(name) if third is None else Place(f"{layer}.attn.in_proj_{kind}", third)


def _inside(kind: str, rest: str) -> str:
    """The name within a residual block; within attention both call everything the same."""
    part = next((p for p in _RESNET if rest == p or rest.startswith(p + ".")), None) if kind == "resnets" else None
    return rest if part is None else _RESNET[part] + rest[len(part) :]
