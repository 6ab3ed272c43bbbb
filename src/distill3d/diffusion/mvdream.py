"""MVDream's published checkpoint: its network in the names of the program that trained it, and its cameras.

The network (Shi et al. 2024) is Stable Diffusion 2.1's UNet whose self-attention sees four views as one, with the
camera added to the time embedding. diffusers has it all but the joint attention: so its weights go into a
`UNet2DConditionModel` with a projection of "class labels", and `diffusion.joint_attention` does the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.ldm_names import unet_name
from distill3d.diffusion.tensor_file import TensorFile
from distill3d.diffusion.weight_files import read_json, weights

_CAMERA = {"class_embedding.linear_1": "camera_embed.0", "class_embedding.linear_2": "camera_embed.2"}


def camera_matrix(cameras: Cameras) -> Tensor:
    """What MVDream is told of each camera, [B, 16]: its camera-to-world matrix, row by row, at distance 1.

    Its axes are OpenGL's, as ours; its world has z up too, and the front looks along -y, where ours looks along +x.
    """
    quarter = torch.eye(4, dtype=cameras.camera_to_world.dtype, device=cameras.camera_to_world.device)
    quarter[:2, :2] = quarter.new_tensor([[0.0, 1.0], [-1.0, 0.0]])
    turned = (quarter @ cameras.camera_to_world).clone()
    turned[:, :3, 3] = turned[:, :3, 3] / turned[:, :3, 3].norm(dim=1, keepdim=True).clamp(min=1e-8)
    return turned.flatten(1)


def diffusers_config(config: dict[str, Any], where: Any) -> dict[str, Any]:
    """The arguments of the `UNet2DConditionModel` that a config of MVDream's `MultiViewUNetModel` describes.

    Raises:
        UserError: a number is missing, or asks for what that network has no place for.
    """
    try:
        width, multiples = int(config["model_channels"]), [int(m) for m in config["channel_mult"]]
        attends = {int(resolution) for resolution in config["attention_resolutions"]}
        layers, per_head = int(config["num_res_blocks"]), int(config["num_head_channels"])
        size, text, camera = int(config["image_size"]), int(config["context_dim"]), int(config["camera_dim"])
        channels, given = int(config["in_channels"]), int(config["out_channels"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where}: this is no config of a MultiViewUNetModel: {error}") from error
    if config.get("ip_dim"):
        raise UserError(f"{where}: an ImageDream, which is told a picture; only MVDream is known")
    if config.get("transformer_depth", 1) != 1 or config.get("use_scale_shift_norm") or config.get("resblock_updown"):
        raise UserError(f"{where}: blocks of a kind that MVDream's published network does not have")
    blocks = [width * m for m in multiples]
    deep = [2**level in attends for level in range(len(blocks))]
    return {
        "sample_size": size,
        "in_channels": channels,
        "out_channels": given,
        "block_out_channels": tuple(blocks),
        "layers_per_block": layers,
        "down_block_types": tuple("CrossAttnDownBlock2D" if d else "DownBlock2D" for d in deep),
        "up_block_types": tuple("CrossAttnUpBlock2D" if d else "UpBlock2D" for d in reversed(deep)),
        "attention_head_dim": tuple(b // per_head for b in blocks),  # of this class: the number of heads
        "cross_attention_dim": text,
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": camera,
    }


def load_multi_view_unet(folder: Path, dtype: torch.dtype, allow_pickle: bool = False, half: bool = False) -> Any:
    """The network of a folder with MVDream's `config.json` and weights, frozen and in evaluation mode.

    Raises:
        UserError: a tensor is missing, misshapen, or has no place in the network.
    """
    from diffusers import UNet2DConditionModel

    config = read_json(folder / "config.json")
    network = UNet2DConditionModel(**diffusers_config(config, folder / "config.json"))
    files = [TensorFile(path, allow_pickle) for path in weights(folder, allow_pickle, half)[0]]
    wanted = network.state_dict()
    state, used = {}, set()
    for key, empty in wanted.items():
        name = mvdream_name(key, int(config["num_res_blocks"]), wanted)
        file = next((f for f in files if name in f), None)
        if file is None:
            raise UserError(f"{folder}: {name!r} is missing")
        if file.shapes[name] != tuple(empty.shape):
            raise UserError(f"{folder}: {name!r} is {list(file.shapes[name])}, not {list(empty.shape)}")
        state[key] = torch.empty(empty.shape, dtype=dtype).copy_(file.tensor(name))
        used.add(name)
    extra = sorted(name for file in files for name in file.shapes if name not in used)
    if extra:
        raise UserError(f"{folder}: weights do not fit config.json, which has no place for {extra[0]!r}")
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def mvdream_name(key: str, layers: int, names: Collection[str]) -> str:
    """Where a weight of the diffusers network stands in MVDream's."""
    for ours, theirs in _CAMERA.items():
        if key.startswith(ours + "."):
            return theirs + key[len(ours) :]
    return unet_name(key, layers, names)
