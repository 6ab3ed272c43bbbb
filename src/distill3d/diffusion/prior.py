"""The one door to any 2D diffusion model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.errors import UserError
from distill3d.diffusion import control as controls
from distill3d.diffusion import memory
from distill3d.diffusion.base import Prior
from distill3d.diffusion.checkpoint import NETWORKS, Checkpoint, codec_of, open_checkpoint, predicted_kind
from distill3d.diffusion.condition import Condition, pooled
from distill3d.diffusion.control_loading import load_controls, locate_control
from distill3d.diffusion.denoiser_inputs import cells, read_inputs
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.latents import LatentCodec
from distill3d.diffusion.learned_variance import UncertainPrediction
from distill3d.diffusion.lora import add_loras, find_lora
from distill3d.diffusion.mean_picture import MeanPicture
from distill3d.diffusion.mvdream import camera_matrix
from distill3d.diffusion.options import ControlConfig, DtypeName, LoraConfig, MicroConfig, chosen_dtype
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.text_encoders import text_encoder_of
from distill3d.diffusion.view import null_view, view_vector

__all__ = ["DiffusionPrior", "Prior"]


class DiffusionPrior(Prior):
    """A checkpoint in diffusers layout, or in one file: the embedded prior, Stable Diffusion 1, 2 and XL, DeepFloyd IF
    and InstructPix2Pix, with LoRAs and ControlNets.

    Raises:
        UserError: the checkpoint is incomplete, truncated, or holds what this prior does not know.
    """

    kind: ClassVar[str] = "diffusion"

    class Config(Config):
        """`model`: toybox, toybox-latent, toybox-instruct (embedded), sd15, sd21, sd21-base, sdxl, if, if-l, if-m,
        ip2p, a hub id, a folder in diffusers layout, or one .safetensors file, whose configs come from `layout`.
        `dtype`: of the networks; auto is float16 on CUDA and float32 elsewhere. `resolution`: in pixels; the model's
        own by default. `lora`, `control`: lists of LoRAs and ControlNets. `micro`: what SDXL is told of the size.
        `attention_slicing`, `vae_tiling` and `offload` ("text" encoders; "layers" of the denoiser too) save memory on
        the device. `allow_pickle`: read pickled weights where there are no others."""

        model: str = "toybox"
        layout: str | None = None
        dtype: DtypeName = "auto"
        resolution: int | None = Field(None, ge=8, le=4096)
        lora: tuple[LoraConfig, ...] = ()
        control: tuple[ControlConfig, ...] = ()
        micro: MicroConfig = MicroConfig()
        attention_slicing: bool = False
        vae_tiling: bool = False
        offload: memory.Offload = "none"
        allow_pickle: bool = False

    def __init__(self, config: Any = None, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.config = config = config or self.Config()
        device = torch.device(device)
        dtype = chosen_dtype(config.dtype, device)
        half = dtype != torch.float32
        checkpoint = open_checkpoint(config.model, config.layout, config.allow_pickle, half)
        assert checkpoint is not None  # it was fetched, or an error told why not

        scheduler = checkpoint.config("scheduler")
        self.predicts = predicted_kind(scheduler, checkpoint.name)
        self.schedule = NoiseSchedule.from_config(scheduler)
        networks = {name: checkpoint.network(name, dtype) for name in NETWORKS if name in checkpoint.parts}
        self.unet: Any = networks["unet"]
        self._mvdream = checkpoint.parts["unet"] == "MultiViewUNetModel"
        self.canvas: Any = networks.get("canvas")
        self._mean = MeanPicture()
        self.text_encoder: Any = networks["text_encoder"]
        self.text_encoder_2: Any = networks.get("text_encoder_2")
        self.text = text_encoder_of(checkpoint, self._encoders())
        self.codec = codec_of(checkpoint, self.unet, dtype)
        self._settle(checkpoint)
        add_loras(config.lora, networks, config.allow_pickle)
        self.controls = load_controls(config.control, checkpoint, dtype, self.codec.scale)
        self._place(device)

    @classmethod
    def examine(cls, config: Any) -> None:
        open_checkpoint(config.model, config.layout, config.allow_pickle, download=False)
        for section in config.control:
            locate_control(section.model, config.allow_pickle, download=False)
        for section in config.lora:
            find_lora(section.file, download=False)

    def _settle(self, checkpoint: Checkpoint) -> None:
        """Derive what the prior can do from its networks, and refuse what it cannot serve."""
        codec, unet, where = self.codec, self.unet.config, checkpoint.name
        canvas = None if self.canvas is None else self.canvas.config
        self._inputs = read_inputs(where, unet, canvas, codec, [e.config for e in self._encoders()])
        self._side = cells(where, unet, canvas, codec.scale, self.config.resolution)
        self.channels, self.background, self.clip_range = (codec.channels, codec.background, codec.clip_range)
        self.resolution = self._side * codec.scale
        self.sees_cameras, self.sees_image = self._inputs.camera, self._inputs.image > 0
        self.says_variance = self._inputs.uncertain  # its predictions are `UncertainPrediction`
        pair = self.text_encoder_2 is not None
        self._mute_empty = pair and bool(checkpoint.index().get("force_zeros_for_empty_prompt", True))

    def _place(self, device: torch.device) -> None:
        """Every network where it belongs, with what saves memory switched on."""
        denoisers = [self.unet, *self.controls.networks]
        for network in denoisers if self.config.attention_slicing else ():
            memory.slice_attention(network)
        if self.config.vae_tiling and isinstance(self.codec, LatentCodec):
            memory.tile_autoencoder(self.codec.vae)
        memory.place(self, self._encoders(), denoisers, device, self.config.offload)

    def _encoders(self) -> list[Any]:
        return [e for e in (self.text_encoder, self.text_encoder_2) if e is not None]

    @property
    def device(self) -> torch.device:
        return next(self.unet.parameters()).device

    def _apply(self, fn: Any, recurse: bool = True) -> DiffusionPrior:
        self.text.forget()  # what they remember lies on the old device
        self._mean.forget()
        return super()._apply(fn, recurse)

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        height, width, channels = images.shape[1:]
        if height % self.codec.scale or width % self.codec.scale or channels != self.channels:
            wanted = f"multiples of {self.codec.scale} pixels with {self.channels} channels"
            raise UserError(f"pictures of {height} x {width} with {channels} channels; this prior takes {wanted}")
        return self.codec.encode(images, generator)

    def decode(self, x: Tensor) -> Tensor:
        return self.codec.decode(x)

    def x_shape(self, batch: int) -> tuple[int, ...]:
        return batch, self._inputs.x, self._side, self._side

    def condition(
        self,
        prompts: str | Sequence[str],
        cameras: Cameras | None = None,
        light: float | Tensor | None = None,
        negative: str | Sequence[str] = "",
        drop_view: bool = False,
        image: Tensor | None = None,
        control: Hint | Sequence[Hint | None] | None = None,
    ) -> Condition:
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        negative = [negative] if isinstance(negative, str) else list(negative)
        batch = len(prompts) if cameras is None else len(cameras)
        view = empty = None
        if self.sees_cameras:
            empty = null_view(batch, self.device)
            view = empty if cameras is None else self._look(cameras, light).to(self.device)
        hints = controls.checked(control, len(self.controls), batch, self.resolution)
        beside = self._beside(image, batch)
        without = None if beside is None else torch.zeros_like(beside)
        hidden = empty if drop_view else view
        mute = self._mute_empty
        unconditional = self._branch(negative, batch, hidden, None, without, hints, mute)
        if beside is not None:  # two steps away: first the text is lost, then the picture
            unconditional = self._branch(negative, batch, hidden, unconditional, beside, hints, mute)
        return self._branch(prompts, batch, view, unconditional, beside, hints)

    def _look(self, cameras: Cameras, light: float | Tensor | None) -> Tensor:
        """What the denoiser is told of each camera, [B, 16]."""
        return camera_matrix(cameras) if self._mvdream else view_vector(cameras, light)

    def unknown_words(self, prompt: str) -> list[str]:
        return self.text.unknown_words(prompt)

    def unheard(self, prompt: str) -> str:
        return self.text.unheard(prompt)

    def _branch(
        self,
        prompts: list[str],
        batch: int,
        view: Tensor | None,
        unconditional: Condition | None,
        image: Tensor | None,
        hints: tuple[Hint | None, ...],
        mute_empty: bool = False,
    ) -> Condition:
        """One branch. `mute_empty`: an empty text is all zeros, as SDXL was trained, and not what the encoders make."""
        if len(prompts) not in (1, batch):
            raise ValueError(f"{len(prompts)} prompts for {batch} pictures: give one, or one a picture")
        text, sentence, sizes = self.text(prompts), self.text.sentences(prompts), None
        if mute_empty:
            heard = torch.tensor([float(p != "") for p in prompts], device=text.device)
            text = text * heard.view(-1, 1, 1)
            sentence = None if sentence is None else sentence * heard.view(-1, 1)
        if self._inputs.sentence:
            sizes = torch.tensor([self.config.micro.numbers(self.resolution)], device=text.device).expand(batch, -1)
            sentence = None if sentence is None else sentence.expand(batch, -1)
        return Condition(
            text=text.expand(batch, -1, -1),
            view=view,
            unconditional=unconditional,
            sentence=sentence if self._inputs.sentence else None,
            sizes=sizes,
            image=image,
            control=hints,
        )

    @torch.no_grad()
    def _beside(self, image: Tensor | None, batch: int) -> Tensor | None:
        """The picture that stands beside x_t, in the prior's space, [B, c, h, w]. Latents are not scaled, as
        InstructPix2Pix was trained."""
        if image is None and not self.sees_image:
            return None
        if image is None:
            raise UserError(f"the prior {self.config.model!r} edits a picture: it needs one beside the prompt")
        if not self.sees_image:
            raise UserError(f"the prior {self.config.model!r} takes no picture beside the prompt")
        if image.shape[0] not in (1, batch) or image.shape[1:] != (self.resolution, self.resolution, self.channels):
            wanted = [batch, self.resolution, self.resolution, self.channels]
            raise UserError(f"the picture to edit is {list(image.shape)} (B, H, W, C); this prior takes {wanted}")
        x = self.encode(image.to(self.device))
        return (x / self.codec.scaling_factor if isinstance(self.codec, LatentCodec) else x).expand(batch, -1, -1, -1)

    def _paint(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """The canvas that stands beside x_t, [B, C, h, w]; labels [B, labels]."""
        return self._mean(self.canvas, labels)

    def denoise(self, x_t: Tensor, t: Tensor, condition: Condition, canvas: Tensor | None = None) -> Prediction:
        """As of every prior. `canvas`: what stands beside x_t instead of what the prior's own paints, [B, C, h, w]."""
        condition = condition.expand(x_t.shape[0])
        dtype = self.unet.dtype
        t, text, seen = t.to(x_t.device), condition.text.to(dtype), x_t.to(dtype)
        told: dict[str, Any] = {}
        if condition.view is not None:
            labels = condition.view
            if self._inputs.camera_and_text:
                labels = torch.cat([labels, pooled(condition.text).to(labels)], -1)
            told["class_labels"] = labels.to(dtype)
            if self.canvas is not None:
                beside = self._paint(x_t, t, told["class_labels"]) if canvas is None else canvas
                seen = torch.cat([seen, beside.to(dtype)], 1)
        if condition.sentence is not None and condition.sizes is not None:
            told["added_cond_kwargs"] = {
                "text_embeds": condition.sentence.to(dtype),
                "time_ids": condition.sizes.to(dtype),
            }
        if condition.image is not None:
            seen = torch.cat([seen, condition.image.to(dtype)], 1)
        residuals = self.controls(seen, t, text, condition.control, told) if condition.control else None
        down, middle = residuals or (None, None)
        output = self.unet(
            seen,
            t,
            encoder_hidden_states=text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            **told,
        ).sample.to(x_t.dtype)
        alpha, sigma = self.schedule.at(t, x_t)
        predict = UncertainPrediction.split if self._inputs.uncertain else Prediction.of
        return predict(self.predicts, output, x_t, alpha, sigma)
