"""The one door to any 2D diffusion model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from distill3d.core.cameras import Cameras
from distill3d.core.component import Component, Config
from distill3d.core.errors import UserError
from distill3d.diffusion import folder as folders
from distill3d.diffusion.condition import Condition, TextEncoder, pooled
from distill3d.diffusion.latents import LatentCodec
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.prediction import Kind, Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.view import VIEW_SIZE, null_view, view_vector

_KINDS: dict[str, Kind] = {"epsilon": "noise", "v_prediction": "velocity", "sample": "clean"}


class Prior(Component, nn.Module):
    """What guidance and sampling may ask of a 2D model.

    Attributes:
        schedule: its noise schedule.
        channels: of the pictures it knows, 3 (RGB) or 4 (RGBA).
        resolution: side of those pictures in pixels.
        background: grey level 0..1 that an RGBA prior's colour is composited over; None without alpha.
        sees_cameras: whether `condition` makes use of cameras.
        clip_range: limits of a clean x, or None where it has none (latents).
    """

    family: ClassVar[str] = "prior"
    schedule: NoiseSchedule
    channels: int
    resolution: int
    background: float | None = None
    sees_cameras: bool = False
    clip_range: tuple[float, float] | None = None

    @property
    def sees_alpha(self) -> bool:
        """Whether pictures are RGBA."""
        return self.channels == 4

    @abstractmethod
    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pictures [B, H, W, C] in 0..1 to the prior's space [B, c, h, w]; differentiable."""

    @abstractmethod
    def decode(self, x: Tensor) -> Tensor:
        """[B, c, h, w] back to pictures [B, H, W, C]; not clamped."""

    @abstractmethod
    def x_shape(self, batch: int) -> tuple[int, ...]:
        """(batch, c, h, w) of the prior's space."""

    @abstractmethod
    def condition(
        self,
        prompts: str | Sequence[str],
        cameras: Cameras | None = None,
        light: float | Tensor | None = None,
        negative: str | Sequence[str] = "",
        drop_view: bool = False,
    ) -> Condition:
        """Text and cameras as the denoiser takes them; the result knows its unconditional branch.

        Args:
            prompts: one for all pictures, or one a picture.
            cameras: `B` cameras, or None for "no camera is given".
            light: share of shading, a number or [B]; None is 1. Only heard with cameras.
            negative: text of the unconditional branch.
            drop_view: whether the unconditional branch loses the camera too; it keeps it by default.
        """

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that this prior cannot hear; none where it takes any text apart into pieces."""
        return []

    @abstractmethod
    def denoise(self, x_t: Tensor, t: Tensor, condition: Condition) -> Prediction:
        """One network call for x_t [B, c, h, w] and t [B] integers."""


class DiffusionPrior(Prior):
    """A model in diffusers layout: the embedded one, Stable Diffusion 1 and 2, or a folder of the same make.

    Raises:
        UserError: the folder is incomplete, truncated, or holds what this prior does not know.
    """

    kind: ClassVar[str] = "diffusion"

    class Config(Config):
        """`model`: toybox (embedded), sd15, sd21, sd21-base, a hub id, or a folder in diffusers layout.
        `dtype`: of the networks; auto is float16 on CUDA and float32 elsewhere."""

        model: str = "toybox"
        dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"

    def __init__(self, config: Any = None, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.config = config = config or self.Config()
        device = torch.device(device)
        dtype = _dtype(config.dtype, device)
        path = folders.locate(config.model)
        parts = folders.read_index(path)
        folders.check(path, parts)

        scheduler = folders.read_json(path / "scheduler" / "scheduler_config.json")
        predicts = scheduler.get("prediction_type", "epsilon")
        if predicts not in _KINDS:
            raise UserError(f"{path}: prediction_type {predicts!r} is not one of {', '.join(_KINDS)}")
        self.predicts = _KINDS[predicts]
        self.schedule = NoiseSchedule.from_config(scheduler)

        self.unet: Any = folders.load_network(path, "unet", parts["unet"], dtype)
        self.text_encoder = folders.load_network(path, "text_encoder", parts["text_encoder"], dtype)
        self.text = TextEncoder(folders.load_tokenizer(path, parts["tokenizer"]), self.text_encoder)
        self.canvas: Any = folders.load_network(path, "canvas", parts["canvas"], dtype) if "canvas" in parts else None
        self.codec: PatchCodec | LatentCodec
        if "patches" in parts:
            self.codec = PatchCodec.from_config(folders.read_json(path / "patches" / "config.json"))
        elif "vae" in parts:
            self.codec = LatentCodec(folders.load_network(path, "vae", parts["vae"], dtype))
        else:
            self.codec = PatchCodec(channels=self.unet.config.in_channels)
        self._settle(path)
        self.to(device)

    def _settle(self, path: Any) -> None:
        """Derive what the prior can do from its networks, and refuse what it cannot serve."""
        codec = self.codec
        unet: Any = self.unet.config
        self.channels, self.background, self.clip_range = (codec.channels, codec.background, codec.clip_range)
        self.resolution = int(unet.sample_size) * codec.scale
        labels = unet.projection_class_embeddings_input_dim if unet.class_embed_type == "projection" else 0
        self._labels_hear_text = labels == VIEW_SIZE + unet.cross_attention_dim
        self.sees_cameras = labels == VIEW_SIZE or self._labels_hear_text
        if (unet.class_embed_type is not None or unet.num_class_embeds) and not self.sees_cameras:
            raise UserError(f"{path}: its unet wants class labels that are not a camera vector of {VIEW_SIZE} numbers")
        self._inside = unet.in_channels - (self.canvas.config.channels if self.canvas is not None else 0)
        if isinstance(codec, PatchCodec) and self._inside != codec.channels * codec.patch_size**2:
            raise UserError(
                f"{path}: patches give {codec.channels * codec.patch_size**2} channels, unet takes {self._inside}"
            )
        if self.channels not in (3, 4):
            raise UserError(f"{path}: pictures of {self.channels} channels; 3 (RGB) or 4 (RGBA) are known")

    @property
    def device(self) -> torch.device:
        return next(self.unet.parameters()).device

    def _apply(self, fn: Any, recurse: bool = True) -> DiffusionPrior:
        self.text.forget()  # what it remembers lies on the old device
        return super()._apply(fn, recurse)

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.codec.encode(images, generator)

    def decode(self, x: Tensor) -> Tensor:
        return self.codec.decode(x)

    def x_shape(self, batch: int) -> tuple[int, ...]:
        return batch, self._inside, self.unet.config.sample_size, self.unet.config.sample_size

    def condition(
        self,
        prompts: str | Sequence[str],
        cameras: Cameras | None = None,
        light: float | Tensor | None = None,
        negative: str | Sequence[str] = "",
        drop_view: bool = False,
    ) -> Condition:
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        batch = len(prompts) if cameras is None else len(cameras)
        view = empty = None
        if self.sees_cameras:
            empty = null_view(batch, self.device)
            view = empty if cameras is None else view_vector(cameras, light).to(self.device)
        negative = [negative] if isinstance(negative, str) else list(negative)
        unconditional = Condition(self._text(negative, batch), empty if drop_view else view)
        return Condition(self._text(prompts, batch), view, unconditional)

    def unknown_words(self, prompt: str) -> list[str]:
        return self.text.unknown_words(prompt)

    def _text(self, prompts: list[str], batch: int) -> Tensor:
        if len(prompts) not in (1, batch):
            raise ValueError(f"{len(prompts)} prompts for {batch} pictures: give one, or one a picture")
        return self.text(prompts).expand(batch, -1, -1)

    def denoise(self, x_t: Tensor, t: Tensor, condition: Condition) -> Prediction:
        condition = condition.expand(x_t.shape[0])
        dtype = self.unet.dtype
        labels = condition.view
        if labels is not None and self._labels_hear_text:
            labels = torch.cat([labels, pooled(condition.text).to(labels)], -1)
        seen = x_t.to(dtype)
        if self.canvas is not None and labels is not None:
            seen = torch.cat([seen, self.canvas(labels.to(dtype))], 1)
        output = self.unet(
            seen,
            t.to(x_t.device),
            encoder_hidden_states=condition.text.to(dtype),
            class_labels=None if labels is None else labels.to(dtype),
        ).sample[:, : x_t.shape[1]]  # a learned variance, where there is one, stands after the prediction
        alpha, sigma = self.schedule.at(t, x_t)
        return Prediction.of(self.predicts, output.to(x_t.dtype), x_t, alpha, sigma)


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    return getattr(torch, name)
