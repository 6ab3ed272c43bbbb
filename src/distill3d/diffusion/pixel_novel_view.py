"""The embedded novel-view model: the embedded prior, whose canvas also hears a given picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.errors import UserError
from distill3d.diffusion import folder as folders
from distill3d.diffusion.aliases import NOVEL_VIEW
from distill3d.diffusion.condition import Condition, pooled
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.joint_canvas import JointCanvas, load_attention
from distill3d.diffusion.mean_picture import MeanPicture
from distill3d.diffusion.novel_view import NovelViewPrior, Reference
from distill3d.diffusion.options import DtypeName
from distill3d.diffusion.pose_search import Knowledge, find_sight, likely_captions, moved
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.tensor_file import TensorFile
from distill3d.diffusion.text_image import check as check_text_image
from distill3d.diffusion.text_image import load_text_image
from distill3d.diffusion.view import VIEW_SIZE, view_vector
from distill3d.diffusion.weight_files import read_json

ATTENTION = "attention.safetensors"  # in the folder: over the noisy picture and the given one
CAPTIONS = "captions.json"  # what a picture may show
PRIOR = "config.json"  # which prior it was trained for
STILL = 1e-3  # the noise level, sigma, that a given picture is said to have


class PixelNovelView(NovelViewPrior):
    """A folder that `distill3d toybox train-novel-view` has written: a picture and a camera to what that sees.

    The prior is told what the thing is and from which side of it the view is taken, as always; attention over the noisy
    view and the given picture paints the canvas that fits both (`diffusion.joint_canvas`). What the thing is and from
    where it was taken is read off the picture first (`diffusion.pose_search`), once a run. RGBA: there is no background
    to take away.

    Raises:
        UserError: the folder is not whole, or of another kind.
    """

    kind: ClassVar[str] = "novel_view"

    class Config(Config):
        """`model`: toybox-novel-view (embedded), or a folder. `clip`: the text-image encoder that proposes captions,
        as for guidance clip. `heard_from`: the noise level, a share of the schedule, from which the picture is heard;
        below it the noisy view itself says more, at 1 the picture is never heard. `dtype`: of the networks; auto is
        float16 on CUDA and float32 elsewhere."""

        model: str = NOVEL_VIEW
        clip: str = "toybox"
        heard_from: float = Field(0.8, ge=0, le=1)
        dtype: DtypeName = "auto"

    def __init__(self, config: Any = None, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.config = config = config or self.Config()
        path = checked_folder(config.model)
        self.prior = DiffusionPrior(DiffusionPrior.Config(model=prior_of(path), dtype=config.dtype), device)
        unet = self.prior.unet
        attention = load_attention(path / ATTENTION, self.prior.canvas, unet.device, unet.dtype)
        if attention is None:
            raise UserError(f"{path / ATTENTION}: this is no attention before a canvas")
        self.attention = attention
        self.captions = [str(caption) for caption in read_json(path / CAPTIONS)["captions"]]
        self._mean, self._given_mean = MeanPicture(), MeanPicture()
        for name in ("schedule", "channels", "background", "resolution", "clip_range"):
            setattr(self, name, getattr(self.prior, name))
        self.sees_cameras = True

    @classmethod
    def examine(cls, config: Any) -> None:
        path = checked_folder(config.model)
        DiffusionPrior.examine(DiffusionPrior.Config(model=prior_of(path)))
        check_text_image(config.clip, "prior.clip")

    @property
    def device(self) -> torch.device:
        return self.prior.device

    def _apply(self, fn: Any, recurse: bool = True) -> PixelNovelView:
        self._mean.forget()  # they lie on the old device
        self._given_mean.forget()
        return super()._apply(fn, recurse)

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.prior.encode(images, generator)

    def decode(self, x: Tensor) -> Tensor:
        return self.prior.decode(x)

    def x_shape(self, batch: int) -> tuple[int, ...]:
        return self.prior.x_shape(batch)

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
        device, side = self.device, (self.resolution, self.resolution)
        small = F.interpolate(picture.permute(2, 0, 1)[None].to(device), side, mode="bilinear", antialias=True)
        small, camera = small[0].permute(1, 2, 0), camera.to(device)
        captions = [prompt] if prompt else self._likely(small)
        sight = find_sight(small, captions, self._knowledge(captions, camera, light))
        lens = torch.tensor([sight.zoom], device=device), torch.tensor([sight.shift], device=device)
        beside = self._encode_over_grey(moved(small, *lens))
        return Reference(self._words([sight.caption]), beside, camera.zoomed(sight.zoom, sight.shift), sight)

    def _likely(self, picture: Tensor) -> list[str]:
        encoder = load_text_image(self.config.clip, picture.device, "prior.clip")
        return likely_captions(encoder, picture, self.captions)

    def _grey_behind(self, pictures: Tensor) -> Tensor:
        """What the prior's background adds to the colours of pictures [B, H, W, 4]: [B, H, W, 4], 0 for coverage."""
        grey = (0.5 if self.background is None else self.background) * (1 - pictures[..., 3:])
        return F.pad(grey.expand(*grey.shape[:-1], 3), (0, 1))

    def _encode_over_grey(self, pictures: Tensor) -> Tensor:
        return self.encode(pictures + self._grey_behind(pictures))

    def _knowledge(self, captions: Sequence[str], camera: Cameras, light: float) -> Knowledge:
        """What the model knows of things seen from where the camera stands, with no picture given."""
        words = dict(zip(captions, self._words(captions), strict=True))

        def asked(said: Sequence[str], azimuths: Tensor) -> Condition:
            return Condition(torch.stack([words[c] for c in said]), view_vector(from_front(camera, azimuths), light))

        def clean(x_t: Tensor, t: Tensor, said: Sequence[str], azimuths: Tensor) -> Tensor:
            return self.prior.denoise(x_t, t, asked(said, azimuths)).clean

        def means(said: Sequence[str], azimuths: Tensor) -> Tensor:
            pictures = self.decode(self.prior.canvas(self._labels(asked(said, azimuths))).float())
            return pictures - self._grey_behind(pictures)

        return Knowledge(means, clean, self._encode_over_grey, self.schedule)

    @torch.no_grad()
    def seen_from(self, reference: Reference, cameras: Cameras, light: float | Tensor | None = None) -> Condition:
        sight, batch, cameras = reference.sight, len(cameras), cameras.to(self.device)
        assert sight is not None
        right, down = sight.shift
        taken = reference.camera.zoomed(1 / sight.zoom, (-right / sight.zoom, -down / sight.zoom))  # as it was given
        turns = cameras.azimuth - taken.azimuth + sight.azimuth
        given = view_vector(from_front(taken, torch.tensor([sight.azimuth]).to(turns)))
        view = torch.cat([view_vector(from_front(cameras, turns), light), given.expand(batch, -1)], -1)
        text, beside = reference.vector.expand(batch, -1, -1), reference.beside.expand(batch, -1, -1, -1)
        mute = self._words([""]).expand(batch, -1, -1)
        nothing = Condition(mute, torch.zeros_like(view), image=torch.zeros_like(beside))
        return Condition(text, view, nothing, image=beside)

    def denoise(self, x_t: Tensor, t: Tensor, condition: Condition) -> Prediction:
        condition = condition.expand(len(x_t))
        assert condition.view is not None
        assert condition.image is not None
        view, given_view = condition.view.split(VIEW_SIZE, -1)
        told = Condition(condition.text, view)
        labels = self._labels(told)
        canvas = self._mean(self.prior.canvas, labels)
        t = t.to(x_t.device)
        seen = (given_view[:, 0] > 0) & (t >= self.config.heard_from * len(self.schedule))
        if seen.any():
            given_labels = self._labels(Condition(condition.text, given_view))[seen]
            given = condition.image[seen].to(canvas.dtype)
            means = torch.stack([canvas[seen], self._given_mean(self.prior.canvas, given_labels)], 1)
            better = painted(
                self.attention, self.schedule, x_t[seen], t[seen], given, means, labels[seen], given_labels
            )
            canvas = canvas.index_put((seen,), better)
        return self.prior.denoise(x_t, t, told, canvas)

    def _labels(self, condition: Condition) -> Tensor:
        """Camera and pooled text, [B, labels]."""
        assert condition.view is not None
        return torch.cat([condition.view, pooled(condition.text)], -1).to(self.prior.unet.dtype)

    @torch.no_grad()
    def _words(self, captions: Sequence[str]) -> Tensor:
        """[B, L, D]."""
        return self.prior.condition(list(captions)).text.float()


def painted(
    attention: JointCanvas,
    schedule: NoiseSchedule,
    x_t: Tensor,
    t: Tensor,
    given: Tensor,
    canvases: Tensor,
    labels: Tensor,
    given_labels: Tensor,
) -> Tensor:
    """The canvases of noisy views, each of which is shown a given picture of the same thing, [B, C, h, w].

    Args:
        x_t, given: [B, C, h, w], in the prior's space. t: [B].
        canvases: [B, 2, C, h, w], what the prior's canvas paints of either. labels, given_labels: [B, labels].
    """
    x = torch.stack([x_t.to(given), given], 1).flatten(0, 1)
    alpha, sigma = (v.to(given) for v in schedule.at(t, x_t))
    alpha = torch.stack([alpha, torch.ones_like(alpha)], 1).flatten(0, 1)
    sigma = torch.stack([sigma, torch.full_like(sigma, STILL)], 1).flatten(0, 1)
    both = torch.stack([labels, given_labels], 1).flatten(0, 1)
    joint: Tensor = attention(x, canvases.flatten(0, 1), both, alpha, sigma, 2)
    return joint[::2]


def from_front(camera: Cameras, azimuths: Tensor) -> Cameras:
    """The camera, or as many as there are azimuths, on the same circle, with azimuths [B] from the thing's front."""
    elevation, distance, fov = (v.expand(len(azimuths)) for v in (camera.elevation, camera.distance, camera.fov))
    return Cameras.orbit(azimuths, elevation, distance, fov, camera.height)


def checked_folder(model: str) -> Path:
    """The folder, every file of it there and whole.

    Raises:
        UserError: naming what is missing or damaged.
    """
    path = folders.local(model)
    if path is None or not path.is_dir():
        raise UserError(f"prior.model {model}: no such folder; `distill3d toybox train-novel-view` makes one")
    for file in (PRIOR, CAPTIONS):
        read_json(path / file)
    TensorFile(path / ATTENTION)
    return path


def prior_of(folder: Path) -> str:
    """The prior that a novel-view model was trained for.

    Raises:
        UserError: its config does not say.
    """
    prior = read_json(folder / PRIOR).get("prior")
    if not isinstance(prior, str):
        raise UserError(f"{folder / PRIOR} does not say for which prior it was trained")
    return prior
