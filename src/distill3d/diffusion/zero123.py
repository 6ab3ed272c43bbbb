"""Zero-1-to-3 and Stable Zero123: checkpoints that turn one picture into another view of the same thing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.errors import UserError
from distill3d.diffusion import folder as folders
from distill3d.diffusion.checkpoint import predicted_kind
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.latents import LatentCodec
from distill3d.diffusion.novel_view import NovelViewPrior, Reference
from distill3d.diffusion.options import DtypeName, chosen_dtype
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.relative_view import relative_pose
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.weight_files import read_json

Pose = Literal["zero123", "stable"]
NETWORKS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "image_encoder": "CLIPVisionModelWithProjection"}
PROJECTIONS = {"clip_camera_projection": "CLIPCameraProjection", "cc_projection": "CCProjection"}
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def pose_numbers(cameras: Cameras, reference: Cameras, pose: Pose) -> Tensor:
    """The four numbers that the checkpoints are told of each camera, [B, 4].

    The polar angle that is gone, sine and cosine of the azimuth that is gone, and the distance that is gone (Liu et
    al. 2023, section 3.2; their code); "stable": instead of the distance the reference's own polar angle, with which
    Stable Zero123 was trained. Radians and world units.
    """
    polar, turn, farther = relative_pose(cameras, reference)
    last = farther if pose == "zero123" else (math.pi / 2 - reference.elevation).expand(turn.shape)
    return torch.stack([polar, turn.sin(), turn.cos(), last], -1)


class Zero123(NovelViewPrior):
    """Zero-1-to-3, Zero123-XL and Stable Zero123, from a folder in diffusers layout.

    The picture is told twice: as one token, its CLIP vector and the pose through a linear layer, and as its latent
    beside x_t (not scaled, as it was trained). Without a picture both are zero. The background is white.

    Raises:
        UserError: the folder is not whole, or of another kind.
    """

    kind: ClassVar[str] = "zero123"

    class Config(Config):
        """`model`: the folder. `pose`: "zero123", or "stable" for Stable Zero123. `dtype`: of the networks; auto is
        float16 on CUDA and float32 elsewhere. `allow_pickle`: read pickled weights where there are no others."""

        model: str
        pose: Pose = "zero123"
        dtype: DtypeName = "auto"
        allow_pickle: bool = False

    def __init__(self, config: Any, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.config = config
        path, projection = checked_folder(config.model, config.allow_pickle)
        dtype = chosen_dtype(config.dtype, torch.device(device))
        half = dtype != torch.float32

        def network(name: str, class_name: str) -> Any:
            return folders.load_network(path, name, class_name, dtype, config.allow_pickle, half)

        self.unet, vae, self.image_encoder = (network(name, class_name) for name, class_name in NETWORKS.items())
        self.projection = network(projection, PROJECTIONS[projection])
        self.codec = LatentCodec(vae)
        scheduler = read_json(path / "scheduler" / "scheduler_config.json")
        self.schedule, self.predicts = NoiseSchedule.from_config(scheduler), predicted_kind(scheduler, path)
        self._latent = int(vae.config.latent_channels)
        self._side = int(self.unet.config.sample_size)
        if self.unet.config.in_channels != 2 * self._latent:
            taken = f"{self.unet.config.in_channels} channels; {2 * self._latent}, x_t and a picture, are needed"
            raise UserError(f"{path}: its unet takes {taken}")
        self.channels, self.resolution, self.clip_range = 3, self._side * self.codec.scale, None
        self.sees_cameras = True
        self.to(device)

    @classmethod
    def examine(cls, config: Any) -> None:
        checked_folder(config.model, config.allow_pickle)

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.codec.encode(images, generator)

    def decode(self, x: Tensor) -> Tensor:
        return self.codec.decode(x)

    def x_shape(self, batch: int) -> tuple[int, ...]:
        return batch, self._latent, self._side, self._side

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
    def remember(self, picture: Tensor, camera: Cameras, prompt: str = "", light: float = 1.0) -> Reference:
        device, dtype = self.unet.device, self.unet.dtype
        white = (picture[..., :3] + 1 - picture[..., 3:]).permute(2, 0, 1)[None].to(device)
        pixels = self.image_encoder.config.image_size
        small = F.interpolate(white, (pixels, pixels), mode="bicubic", align_corners=False, antialias=True)
        mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (_CLIP_MEAN, _CLIP_STD))
        vector = self.image_encoder(((small - mean) / std).to(dtype)).image_embeds.float()
        side = (self.resolution, self.resolution)
        shown = F.interpolate(white, side, mode="bilinear", antialias=True).permute(0, 2, 3, 1)
        return Reference(vector, self.encode(shown) / self.codec.scaling_factor, camera.to(device))

    @torch.no_grad()
    def seen_from(self, reference: Reference, cameras: Cameras, light: float | Tensor | None = None) -> Condition:
        pose = pose_numbers(cameras, reference.camera, self.config.pose)
        told = torch.cat([reference.vector.expand(len(cameras), -1), pose.to(reference.vector)], -1)
        token = self.projection(told.to(self.unet.dtype)).float()[:, None]
        beside = reference.beside.expand(len(cameras), -1, -1, -1)
        nothing = Condition(torch.zeros_like(token), image=torch.zeros_like(beside))
        return Condition(token, unconditional=nothing, image=beside)

    def denoise(self, x_t: Tensor, t: Tensor, condition: Condition) -> Prediction:
        condition = condition.expand(len(x_t))
        assert condition.image is not None
        dtype, t = self.unet.dtype, t.to(x_t.device)
        seen = torch.cat([x_t, condition.image], 1).to(dtype)
        output = self.unet(seen, t, encoder_hidden_states=condition.text.to(dtype)).sample.to(x_t.dtype)
        return Prediction.of(self.predicts, output, x_t, *self.schedule.at(t, x_t))


def checked_folder(model: str, allow_pickle: bool = False) -> tuple[Path, str]:
    """The folder, every file of it there and whole, and the name of its projection.

    Raises:
        UserError: naming what is missing, truncated, or of another class.
    """
    path = Path(model).expanduser()
    if not path.is_dir():
        raise UserError(f"prior.model {model}: no such folder; it should hold a Zero-1-to-3 in diffusers layout")
    read_json(path / "scheduler" / "scheduler_config.json")
    for name, class_name in NETWORKS.items():
        folders.check_network(path / name, class_name, allow_pickle)
    found = [name for name in PROJECTIONS if (path / name).is_dir()]
    if not found:
        raise UserError(f"prior.model {path}: it has neither {' nor '.join(PROJECTIONS)}, so it is no Zero-1-to-3")
    folders.check_network(path / found[0], PROJECTIONS[found[0]], allow_pickle)
    return path, found[0]
