"""The classes that a checkpoint may name. They are looked up here, and never imported by the name in a file."""

from __future__ import annotations

import importlib
from typing import Any

from distill3d.core.component import nearest
from distill3d.core.errors import UserError

# Class to the module that it is taken from.
NETWORKS = {
    "UNet2DConditionModel": "diffusers",
    "AutoencoderKL": "diffusers",
    "ControlNetModel": "diffusers",
    "CLIPTextModel": "transformers",
    "CLIPTextModelWithProjection": "transformers",
    "T5EncoderModel": "transformers",
    "Canvas": "distill3d.diffusion.networks.canvas",
    "CLIPVisionModelWithProjection": "transformers",
    "CLIPCameraProjection": "distill3d.diffusion.networks.camera_projection",
    "CCProjection": "distill3d.diffusion.networks.camera_projection",
    "MultiViewUNetModel": "mv_unet",  # MVDream's: never imported, see `diffusion.mvdream`
    "EncoderControl": "distill3d.diffusion.networks.encoder_control",
}
TOKENIZERS = {
    name: "transformers"
    for name in ("CLIPTokenizer", "CLIPTokenizerFast", "PreTrainedTokenizerFast", "T5Tokenizer", "T5TokenizerFast")
}
CODECS = {"PatchCodec": "distill3d.diffusion.patches"}
_CLIP_TOKENIZERS = {"CLIPTokenizer", "CLIPTokenizerFast", "PreTrainedTokenizerFast"}

# Part of a pipeline to the classes that it may be of.
PARTS = {
    "unet": {"UNet2DConditionModel", "MultiViewUNetModel"},
    "vae": {"AutoencoderKL"},
    "text_encoder": {"CLIPTextModel", "T5EncoderModel"},
    "text_encoder_2": {"CLIPTextModelWithProjection"},
    "tokenizer": set(TOKENIZERS),
    "tokenizer_2": _CLIP_TOKENIZERS,
    "controlnet": {"ControlNetModel", "EncoderControl"},
    "patches": {"PatchCodec"},
    "canvas": {"Canvas"},
}
# Parts of pipelines that are no part of a prior: never loaded, so it does not matter of what class they are.
IGNORED = {"safety_checker", "feature_extractor", "image_encoder", "watermarker"}

# A scheduler is read for its numbers alone, by `NoiseSchedule`. These are the ones whose numbers mean what it thinks.
SCHEDULERS = {
    "DDPMScheduler",
    "DDIMScheduler",
    "DDIMInverseScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "LCMScheduler",
    "FlowMatchEulerDiscreteScheduler",
}


def check_part(where: Any, name: str, entry: list[Any]) -> str:
    """The class name of one entry [module, class] of a `model_index.json`.

    Raises:
        UserError: a part, a class or a module that is not on the list.
    """
    module, class_name = (str(entry[0]) if len(entry) > 1 else "", str(entry[-1]))
    if name == "scheduler":
        if class_name not in SCHEDULERS:
            raise UserError(
                f"{where}: scheduler of class {class_name!r} is not supported{nearest(class_name, SCHEDULERS)}"
            )
        return class_name
    known = PARTS.get(name)
    if known is None:
        raise UserError(f"{where}: part {name!r} is not supported{nearest(name, [*PARTS, 'scheduler'])}")
    if class_name not in known:
        raise UserError(f"{where}: {name} of class {class_name!r} is not supported{nearest(class_name, known)}")
    allowed = (NETWORKS | TOKENIZERS | CODECS)[class_name]
    if module != allowed:
        raise UserError(f"{where}: {name} is said to come from module {module!r}; {class_name} comes from {allowed!r}")
    return class_name


def get_class(class_name: str) -> Any:
    """The class of that name on the lists above. Imported when needed: the libraries take seconds."""
    return getattr(importlib.import_module((NETWORKS | TOKENIZERS)[class_name]), class_name)
