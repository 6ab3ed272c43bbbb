"""What a UNet has to be given and what it gives, read from its config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distill3d.core.errors import UserError
from distill3d.diffusion.latents import LatentCodec
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.view import VIEW_SIZE

_SIZES = 6  # numbers of SDXL's micro-conditioning


@dataclass(frozen=True)
class DenoiserInputs:
    """Args:
    x: channels of x_t.
    image: channels of a picture that stands beside x_t; 0 for none.
    camera: whether it hears a camera vector. camera_and_text: whether pooled text is joined to that vector.
    sentence: whether it hears a sentence vector and the picture's sizes.
    uncertain: whether it gives a variance after its prediction.
    """

    x: int
    image: int
    camera: bool
    camera_and_text: bool
    sentence: bool
    uncertain: bool


def read_inputs(
    where: Any, unet: Any, canvas: Any, codec: PatchCodec | LatentCodec, encoders: list[Any]
) -> DenoiserInputs:
    """What the denoiser takes.

    Args:
        where: what error messages call the checkpoint.
        unet: its config. canvas: its canvas's config, or None. encoders: its text encoders' configs.
    Raises:
        UserError: it takes or gives what this prior has no source or no use for.
    """
    labels = unet.projection_class_embeddings_input_dim if unet.class_embed_type == "projection" else 0
    camera_and_text = bool(labels) and labels == VIEW_SIZE + _width(unet.cross_attention_dim)
    camera = labels == VIEW_SIZE or camera_and_text
    if (unet.class_embed_type is not None or unet.num_class_embeds) and not camera:
        raise UserError(f"{where}: its unet wants class labels that are not a camera vector of {VIEW_SIZE} numbers")
    taken = unet.in_channels - (canvas.channels if canvas is not None else 0)
    if isinstance(codec, PatchCodec):
        x = codec.channels * codec.patch_size**2
        if taken not in (x, 2 * x):
            raise UserError(f"{where}: patches give {x} channels, unet takes {taken}; {2 * x} with a picture")
    else:
        x = int(codec.vae.config.latent_channels)  # type: ignore[union-attr, arg-type]
        if taken not in (x, 2 * x):
            raise UserError(f"{where}: its unet takes {taken} channels; {x}, or {2 * x} with a picture, are known")
    if unet.out_channels not in (x, 2 * x):
        raise UserError(f"{where}: its unet gives {unet.out_channels} channels for the {x} of a picture")
    if codec.channels not in (3, 4):
        raise UserError(f"{where}: pictures of {codec.channels} channels; 3 (RGB) or 4 (RGBA) are known")
    _check_text(where, unet, encoders)
    return DenoiserInputs(
        x, taken - x, camera, camera_and_text, unet.addition_embed_type == "text_time", unet.out_channels == 2 * x
    )


def cells(where: Any, unet: Any, canvas: Any, scale: int, resolution: int | None) -> int:
    """Side of x_t for pictures of a resolution in pixels, or for the model's own where that is None.

    Raises:
        UserError: the model cannot take that resolution.
    """
    own = unet.sample_size if isinstance(unet.sample_size, int) else None
    if resolution is None:
        if own is None:
            raise UserError(f"{where}: its unet has no size of its own; say prior.resolution")
        return own
    if canvas is not None and resolution != canvas.size * scale:
        raise UserError(f"prior.resolution {resolution}: this prior was made for {canvas.size * scale} pixels alone")
    least = scale * 2 ** (len(unet.block_out_channels) - 1)
    if resolution % scale or resolution < least:
        raise UserError(f"prior.resolution {resolution}: this prior takes multiples of {scale} from {least} pixels on")
    return resolution // scale


def _check_text(where: Any, unet: Any, encoders: list[Any]) -> None:
    width = sum(int(encoder.hidden_size) for encoder in encoders)
    heard = unet.encoder_hid_dim if unet.encoder_hid_dim_type == "text_proj" else _width(unet.cross_attention_dim)
    if unet.encoder_hid_dim_type not in (None, "text_proj"):
        raise UserError(f"{where}: its unet wants {unet.encoder_hid_dim_type!r} beside text, which no part here makes")
    if width != heard:
        raise UserError(f"{where}: text of width {width} for a unet that takes {heard}")
    if unet.addition_embed_type not in (None, "text", "text_time"):
        raise UserError(f"{where}: its unet wants {unet.addition_embed_type!r} beside text, which no part here makes")
    if unet.addition_embed_type == "text_time":
        sentence = int(encoders[-1].projection_dim) if len(encoders) > 1 else 0
        given = _SIZES * unet.addition_time_embed_dim + sentence
        if not sentence or given != unet.projection_class_embeddings_input_dim:
            wanted = unet.projection_class_embeddings_input_dim
            raise UserError(f"{where}: sentence and sizes are {given} numbers for a unet that takes {wanted}")


def _width(dimension: Any) -> int:
    """The text width of a config that may list it for every block."""
    return int(dimension[0] if isinstance(dimension, (list, tuple)) else dimension)
