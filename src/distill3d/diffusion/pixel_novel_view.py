"""The embedded novel-view model and others of its layout: Zero-1-to-3's task, in pixels and with coverage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.errors import UserError
from distill3d.diffusion import folder as folders
from distill3d.diffusion.aliases import NOVEL_VIEW
from distill3d.diffusion.canvas import MeanPicture
from distill3d.diffusion.checkpoint import predicted_kind
from distill3d.diffusion.condition import Condition, pooled
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.novel_view import NovelViewPrior, Reference
from distill3d.diffusion.options import DtypeName, chosen_dtype
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.pose_search import Knowledge, find_sight, likely_captions, moved
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.text_image import check as check_text_image
from distill3d.diffusion.text_image import load_text_image
from distill3d.diffusion.view import VIEW_SIZE, view_vector
from distill3d.diffusion.weight_files import read_json

NETWORKS = {"unet": "UNet2DConditionModel", "canvas": "Canvas", "text_encoder": "CLIPTextModel"}
CAPTIONS = "captions.json"  # in the folder: what a picture may show


class PixelNovelView(NovelViewPrior):
    """A folder that `distill3d toybox train-novel-view` has written: a picture and a camera to what that sees.

    The denoiser is told what the thing is and from which side of it both pictures are taken; the given one stands
    beside x_t. What the thing is and from where it was taken is read off the picture first (`diffusion.pose_search`),
    once a run. RGBA: there is no background to take away.

    Raises:
        UserError: the folder is not whole, or of another kind.
    """

    kind: ClassVar[str] = "novel_view"

    class Config(Config):
        """`model`: toybox-novel-view (embedded), or a folder. `clip`: the text-image encoder that proposes captions,
        as for guidance clip. `dtype`: of the networks; auto is float16 on CUDA and float32 elsewhere."""

        model: str = NOVEL_VIEW
        clip: str = "toybox"
        dtype: DtypeName = "auto"

    def __init__(self, config: Any = None, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.config = config = config or self.Config()
        path = checked_folder(config.model)
        dtype = chosen_dtype(config.dtype, torch.device(device))
        self.unet, self.canvas, self.text_encoder = (
            folders.load_network(path, name, class_name, dtype) for name, class_name in NETWORKS.items()
        )
        self.tokenizer = folders.load_tokenizer(path, "PreTrainedTokenizerFast")
        self.captions = [str(caption) for caption in read_json(path / CAPTIONS)["captions"]]
        self.codec = PatchCodec.from_config(read_json(path / "patches" / "config.json"))
        scheduler = read_json(path / "scheduler" / "scheduler_config.json")
        self.schedule, self.predicts = NoiseSchedule.from_config(scheduler), predicted_kind(scheduler, path)
        self._mean = MeanPicture()
        self._inside = self.codec.channels * self.codec.patch_size**2
        self._side = int(self.unet.config.sample_size)
        labels = 2 * VIEW_SIZE + int(self.text_encoder.config.hidden_size)
        told = self.unet.config.in_channels, self.unet.config.projection_class_embeddings_input_dim
        if told != (3 * self._inside, labels) or self.canvas.config.labels != labels:
            raise UserError(f"{path}: its unet does not take what a novel-view model is told: is it a prior?")
        self.channels, self.background = self.codec.channels, self.codec.background
        self.resolution, self.clip_range = self._side * self.codec.scale, self.codec.clip_range
        self.sees_cameras = True
        self.to(device)

    @classmethod
    def examine(cls, config: Any) -> None:
        checked_folder(config.model)
        check_text_image(config.clip, "prior.clip")

    def _apply(self, fn: Any, recurse: bool = True) -> PixelNovelView:
        self._mean.forget()  # it lies on the old device
        return super()._apply(fn, recurse)

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.codec.encode(images, generator)

    def decode(self, x: Tensor) -> Tensor:
        return self.codec.decode(x)

    def x_shape(self, batch: int) -> tuple[int, ...]:
        return batch, self._inside, self._side, self._side

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
        raise UserError("a novel-view prior needs a picture beside the prompt: distill3d run zero123 image=FILE")

    @torch.no_grad()
    def remember(self, picture: Tensor, camera: Cameras, prompt: str = "", light: float = 1.0) -> Reference:
        """As for every novel-view prior; what it shows is what `prompt` says, or is read off the picture.

        The prior has things of a size and in a place of its own. So the camera of the reference is the one that sees
        the thing there as the picture has it: its lens is longer or shorter than the given one's, and off its middle.
        """
        device, side = self.unet.device, (self.resolution, self.resolution)
        small = F.interpolate(picture.permute(2, 0, 1)[None].to(device), side, mode="bilinear", antialias=True)
        small, camera = small[0].permute(1, 2, 0), camera.to(device)
        captions = [prompt] if prompt else self._likely(small)
        sight = find_sight(small, captions, self._knowledge(captions, camera, light))
        lens = torch.tensor([sight.zoom], device=device), torch.tensor([sight.shift], device=device)
        beside = self._encode_over_grey(moved(small, *lens))
        return Reference(self._words([sight.caption]), beside, zoomed(camera, sight.zoom, sight.shift), sight)

    def _likely(self, picture: Tensor) -> list[str]:
        grey = 0.5 if self.background is None else self.background
        encoder = load_text_image(self.config.clip, picture.device, "prior.clip")
        return likely_captions(encoder, picture[..., :3] + grey * (1 - picture[..., 3:]), self.captions)

    def _encode_over_grey(self, pictures: Tensor) -> Tensor:
        grey = 0.5 if self.background is None else self.background
        color = pictures[..., :3] + grey * (1 - pictures[..., 3:])
        return self.encode(torch.cat([color, pictures[..., 3:]], -1))

    def _knowledge(self, captions: Sequence[str], camera: Cameras, light: float) -> Knowledge:
        """What the model knows of things seen from where the camera stands, with no picture given."""
        words = dict(zip(captions, self._words(captions), strict=True))

        def asked(said: Sequence[str], azimuths: Tensor) -> Condition:
            view = view_vector(from_front(camera, azimuths), light)
            view = torch.cat([view, torch.zeros_like(view)], -1)  # no picture stands beside, and nobody took it
            unseen = torch.zeros(self.x_shape(len(said)), device=self.unet.device)
            return Condition(torch.stack([words[caption] for caption in said]), view, image=unseen)

        def clean(x_t: Tensor, t: Tensor, said: Sequence[str], azimuths: Tensor) -> Tensor:
            return self.denoise(x_t, t, asked(said, azimuths)).clean

        def means(said: Sequence[str], azimuths: Tensor) -> Tensor:
            pictures = self.decode(self.canvas(self._labels(asked(said, azimuths))).float())
            grey = 0.5 if self.background is None else self.background
            return torch.cat([pictures[..., :3] - grey * (1 - pictures[..., 3:]), pictures[..., 3:]], -1)

        return Knowledge(means, clean, self._encode_over_grey, self.schedule)

    @torch.no_grad()
    def seen_from(self, reference: Reference, cameras: Cameras, light: float | Tensor | None = None) -> Condition:
        sight, batch, cameras = reference.sight, len(cameras), cameras.to(self.unet.device)
        assert sight is not None
        right, down = sight.shift
        taken = zoomed(reference.camera, 1 / sight.zoom, (-right / sight.zoom, -down / sight.zoom))  # as it was given
        turns = cameras.azimuth - taken.azimuth + sight.azimuth
        given = view_vector(from_front(taken, torch.tensor([sight.azimuth]).to(turns)))
        view = torch.cat([view_vector(from_front(cameras, turns), light), given.expand(batch, -1)], -1)
        text, beside = reference.vector.expand(batch, -1, -1), reference.beside.expand(batch, -1, -1, -1)
        mute = self._words([""]).expand(batch, -1, -1)
        nothing = Condition(mute, torch.zeros_like(view), image=torch.zeros_like(beside))
        return Condition(text, view, nothing, image=beside)

    def denoise(self, x_t: Tensor, t: Tensor, condition: Condition) -> Prediction:
        condition = condition.expand(len(x_t))
        assert condition.image is not None
        dtype, t = self.unet.dtype, t.to(x_t.device)
        labels = self._labels(condition)
        seen = torch.cat([x_t.to(dtype), self._mean(self.canvas, labels), condition.image.to(dtype)], 1)
        told = {"encoder_hidden_states": condition.text.to(dtype), "class_labels": labels}
        output = self.unet(seen, t, **told).sample.to(x_t.dtype)
        return Prediction.of(self.predicts, output, x_t, *self.schedule.at(t, x_t))

    def _labels(self, condition: Condition) -> Tensor:
        """Both cameras and the pooled text, [B, labels]."""
        assert condition.view is not None
        return torch.cat([condition.view, pooled(condition.text)], -1).to(self.unet.dtype)

    @torch.no_grad()
    def _words(self, captions: Sequence[str]) -> Tensor:
        """[B, L, D]."""
        length = self.tokenizer.model_max_length
        tokens = self.tokenizer(list(captions), padding="max_length", truncation=True, max_length=length).input_ids
        words: Tensor = self.text_encoder(input_ids=torch.tensor(tokens, device=self.unet.device)).last_hidden_state
        return words.float()


def from_front(camera: Cameras, azimuths: Tensor) -> Cameras:
    """The camera, or as many as there are azimuths, on the same circle, with azimuths [B] from the thing's front."""
    elevation, distance, fov = (v.expand(len(azimuths)) for v in (camera.elevation, camera.distance, camera.fov))
    return Cameras.orbit(azimuths, elevation, distance, fov, camera.height)


def zoomed(camera: Cameras, zoom: float, shift: tuple[float, float]) -> Cameras:
    """The camera whose picture, scaled by `zoom` about its middle and moved by `shift`, is that of `camera`.

    Args:
        shift: right and down, in halves of the picture's side.
    """
    intrinsics = camera.intrinsics.clone()
    half = 0.5 * torch.tensor([camera.width, camera.height]).to(intrinsics)
    intrinsics[:, 0, 0] /= zoom
    intrinsics[:, 1, 1] /= zoom
    intrinsics[:, :2, 2] = half + (intrinsics[:, :2, 2] - half - half * torch.tensor(shift).to(half)) / zoom
    return Cameras(camera.camera_to_world, intrinsics, camera.height, camera.width)


def checked_folder(model: str) -> Path:
    """The folder, every file of it there and whole.

    Raises:
        UserError: naming what is missing, truncated, or of another class.
    """
    path = folders.local(model)
    if path is None or not path.is_dir():
        raise UserError(f"prior.model {model}: no such folder; `distill3d toybox train-novel-view` makes one")
    for file in (CAPTIONS, "scheduler/scheduler_config.json", "patches/config.json", "tokenizer/tokenizer.json"):
        read_json(path / file)
    for name, class_name in NETWORKS.items():
        folders.check_network(path / name, class_name)
    return path
