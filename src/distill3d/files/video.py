"""Films as H.264 in MP4, which every browser plays."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from distill3d.core.errors import UserError
from distill3d.files.atomic import written
from distill3d.files.pictures import to_bytes


def write_mp4(frames: Iterable[np.ndarray], path: Path, fps: int = 24, quality: int = 18) -> None:
    """Encodes pictures with the ffmpeg that imageio-ffmpeg brings along; whole or not at all.

    Args:
        frames: [H, W, 3] each, uint8 or 0..1, all of one size; an odd last row or column is doubled (the pixel format
            wants even sizes).
        fps: pictures a second. quality: x264's constant rate factor, 0 (lossless) to 51.
    Raises:
        UserError: no frames, or ffmpeg failed, or the file cannot be written.
    """
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise UserError(f"{path.name}: a film needs at least one frame")
    height, width = first.shape[:2]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width + width % 2}x{height + height % 2}", "-r", str(fps), "-i", "-", "-an", "-c:v", "libx264"]
    command += ["-preset", "veryfast", "-crf", str(quality), "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command += ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1", "-f", "mp4"]
    with written(path) as temporary:
        process = subprocess.Popen(
            [*command, str(temporary)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            for frame in _chain(first, source):
                if frame.shape != first.shape:
                    raise ValueError(f"frame of shape {frame.shape} in a film of shape {first.shape}")
                even = np.pad(to_bytes(frame), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
                process.stdin.write(np.ascontiguousarray(even).tobytes())
            process.stdin.close()
        except BrokenPipeError:  # ffmpeg says why below
            pass
        except BaseException:
            process.kill()
            process.wait()
            raise
        message = process.stderr.read().decode(errors="replace").strip()
        if process.wait() != 0:
            raise UserError(f"{path} cannot be encoded: {message.splitlines()[-1] if message else 'ffmpeg failed'}")


def _chain(first: np.ndarray, rest: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    yield first
    yield from rest
