"""From where an edit looks at its scene: from all around, or from where its photographs were taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.files.captures import Capture, Normalization, read_capture
from distill3d.geometry.region import Region
from distill3d.run.capture_views import capture_of, square_views

AROUND, CAPTURE = "around", "capture"
LOOKED = 32  # pixels across, in which a region is looked for
LEAST = 0.005  # share of a picture that a region fills where a camera sees it


@dataclass(frozen=True)
class OwnViews:
    """Square pinholes of a capture's cameras, those that see the region, and what a person is told of them.

    Args:
        room: whether the photographs show what is behind the subject too.
    """

    cameras: Cameras
    room: bool
    told: str

    @property
    def overrides(self) -> tuple[str, ...]:
        """Of the config, before a person's own: photographs are lit already, and a room is its own background."""
        light = ("light.shaded=0",)
        return (*light, "background.kind=renderer") if self.room else light


def own_views(
    views: str | None, source: str | Path, placing: Normalization | None, region: Region | None
) -> OwnViews | None:
    """What `--views` stands for; None for random cameras all around.

    Args:
        views: "around" or None; "capture" for the photographs that the source was reconstructed from; or a folder with
            a capture, whose poses are in the source's own coordinates.
        placing: from the source's coordinates to the scene's world. region: in the scene's world.
    Raises:
        UserError: there is no such capture, or none of its cameras sees the region.
    """
    if views in (None, AROUND):
        return None
    capture = _capture(str(views), source)
    cameras = replace(capture.cameras, lens=None)
    if views != CAPTURE:
        poses = capture.normalization.inverse.poses(cameras.camera_to_world.double().numpy())
        poses = poses if placing is None else placing.poses(poses)
        cameras = replace(cameras, camera_to_world=torch.from_numpy(poses).to(cameras.camera_to_world))
    square = square_views(cameras, list(range(len(cameras))), 1)
    seen = _that_see(square, region)
    if not seen:
        raise UserError(f"none of the {len(square)} cameras of {capture.folder} sees the region")
    some = square if len(seen) == len(square) else square[torch.tensor(seen)]
    of = f"{len(seen)} of {len(square)}" if region is not None else f"{len(square)}"
    that = " that see the region" if region is not None else ""
    return OwnViews(some, not capture.has_alpha, f"seen from the cameras of {capture.folder}: {of}{that}")


def _capture(views: str, source: str | Path) -> Capture:
    if views != CAPTURE:
        if not Path(views).exists():
            raise UserError(
                f"--views {views} is neither {AROUND!r} nor {CAPTURE!r}, and no folder of that name is there"
            )
        return read_capture(views)
    capture = capture_of(source)
    if capture is None:
        raise UserError(f"--views {CAPTURE}: {source} was not made from photographs; name the folder of a capture")
    return capture


def _that_see(cameras: Cameras, region: Region | None) -> list[int]:
    """The indices of the cameras whose pictures show a region."""
    if region is None:
        return list(range(len(cameras)))
    origins, directions = cameras.resized(LOOKED).rays()
    meets = region.meets(origins.reshape(-1, 3), directions.reshape(-1, 3)).view(len(cameras), -1)
    return (meets.float().mean(1) > LEAST).nonzero()[:, 0].tolist()
