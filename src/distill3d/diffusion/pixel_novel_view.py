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
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.relative_view import reference_vector, turned_view
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.view import VIEW_SIZE
from distill3d.diffusion.weight_files import read_json

NETWORKS = {"unet": "UNet2DConditionModel", "canvas": "Canvas", "picture_tokens": "PictureTokens"}


class PixelNovelView(NovelViewPrior):
    """A folder that `distill3d toybox train-novel-view` has written: a picture and a camera to what it sees.

    The picture is told twice, as in Zero-1-to-3: as tokens that the denoiser attends to, and beside x_t. The camera is
    told as a vector, its azimuth counted from the picture's. Without a picture all three are zero. RGBA: there is no
    background to take away.

    Raises:
        UserError: the folder is not whole, or of another kind.
    """

    kind: ClassVar[str] = "novel_view"

    class Config(Config):
        """`model`: toybox-novel-view (embedded), or a folder. `dtype`: of the networks; auto is float16 on CUDA and
        float32 elsewhere."""

        model: str = NOVEL_VIEW
        dtype: DtypeName = "auto"

    def __init__(self, config: Any = None, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.config = config = config or self.Config()
        path = checked_folder(config.model)
        dtype = chosen_dtype(config.dtype, torch.device(device))
        self.unet, self.canvas, self.eye = (
            folders.load_network(path, name, class_name, dtype) for name, class_name in NETWORKS.items()
        )
        self.codec = PatchCodec.from_config(read_json(path / "patches" / "config.json"))
        scheduler = read_json(path / "scheduler" / "scheduler_config.json")
        self.schedule, self.predicts = NoiseSchedule.from_config(scheduler), predicted_kind(scheduler, path)
        self._mean = MeanPicture()
        self._inside = self.codec.channels * self.codec.patch_size**2
        self._side = int(self.unet.config.sample_size)
        labels = VIEW_SIZE + int(self.eye.config.token)
        told = self.unet.config.in_channels, self.unet.config.projection_class_embeddings_input_dim
        if told != (3 * self._inside, labels) or self.unet.config.cross_attention_dim != self.eye.config.token:
            raise UserError(f"{path}: its unet does not take what its picture_tokens, canvas and patches give")
        self.channels, self.background = self.codec.channels, self.codec.background
        self.resolution, self.clip_range = self._side * self.codec.scale, self.codec.clip_range
        self.sees_cameras = True
        self.to(device)

    @classmethod
    def examine(cls, config: Any) -> None:
        checked_folder(config.model)

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
        raise UserError("a novel-view prior hears no prompt; it needs a picture: distill3d run zero123 image=FILE")

    @torch.no_grad()
    def remember(self, picture: Tensor, camera: Cameras) -> Reference:
        grey = 0.5 if self.background is None else self.background
        shown = torch.cat([picture[..., :3] + grey * (1 - picture[..., 3:]), picture[..., 3:]], -1)
        side = (self.resolution, self.resolution)
        small = F.interpolate(shown.permute(2, 0, 1)[None].to(self.unet.device), side, mode="bilinear", antialias=True)
        beside = self.encode(small.permute(0, 2, 3, 1))
        camera = camera.to(self.unet.device)
        tokens, front = self.eye(beside.to(self.unet.dtype), reference_vector(camera).to(self.unet.dtype))
        return Reference(tokens.float(), beside, camera, front.float())

    @torch.no_grad()
    def seen_from(self, reference: Reference, cameras: Cameras, light: float | Tensor | None = None) -> Condition:
        assert reference.front is not None
        batch = len(cameras)
        view = turned_view(reference.front, cameras.to(self.unet.device), reference.camera, light)
        text, beside = reference.vector.expand(batch, -1, -1), reference.beside.expand(batch, -1, -1, -1)
        mute = self.eye.nothing.float().expand(batch, -1, -1)
        nothing = Condition(mute, torch.zeros_like(view), image=torch.zeros_like(beside))
        return Condition(text, view, nothing, image=beside)

    def denoise(self, x_t: Tensor, t: Tensor, condition: Condition) -> Prediction:
        condition = condition.expand(len(x_t))
        assert condition.view is not None
        assert condition.image is not None
        dtype, t = self.unet.dtype, t.to(x_t.device)
        labels = torch.cat([condition.view, pooled(condition.text)], -1).to(dtype)
        seen = torch.cat([x_t.to(dtype), self._mean(self.canvas, labels), condition.image.to(dtype)], 1)
        told = {"encoder_hidden_states": condition.text.to(dtype), "class_labels": labels}
        output = self.unet(seen, t, **told).sample.to(x_t.dtype)
        return Prediction.of(self.predicts, output, x_t, *self.schedule.at(t, x_t))


def checked_folder(model: str) -> Path:
    """The folder, every file of it there and whole.

    Raises:
        UserError: naming what is missing, truncated, or of another class.
    """
    path = folders.local(model)
    if path is None or not path.is_dir():
        raise UserError(f"prior.model {model}: no such folder; `distill3d toybox train-novel-view` makes one")
    read_json(path / "scheduler" / "scheduler_config.json")
    read_json(path / "patches" / "config.json")
    for name, class_name in NETWORKS.items():
        folders.check_network(path / name, class_name)
    return path
