"""What this machine will compute with, and why."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import torch

from distill3d.kernels import cuda_libraries
from distill3d.kernels.allocator import OPT_OUT, SETTINGS, is_quiet
from distill3d.run.backend import choose_device, count_threads

PEERS = {  # module -> (job, what follows where it is there, what is used without it)
    "nerfacc": ("ray marching, compositing", "called on CUDA", "numba kernels on the CPU, torch on CUDA"),
    "tinycudann": ("hash grid, small networks", "called on CUDA", "numba kernels on the CPU, torch on CUDA"),
    "gsplat": ("splatting", "called on CUDA", "numba kernels on the CPU; splats on CUDA need it"),
    "nvdiffrast": ("rasterising", "called on CUDA", "numba kernels on the CPU, warp's ray casting on CUDA"),
    "warp": ("ray casting", "called on CUDA where nvdiffrast is missing", "numba kernels on the CPU"),
    "tensorboard": ("curves", "written next to metrics.jsonl", "metrics.jsonl alone"),
}


@dataclass(frozen=True)
class Finding:
    """One line of `distill3d doctor`: what was looked at, what was found, what follows."""

    name: str
    found: str
    means: str = ""


def findings() -> list[Finding]:
    """Device, threads, numba's cache, allocator, optional packages and packaged weights."""
    device = choose_device("auto")
    cuda = f"CUDA {torch.version.cuda}" if torch.cuda.is_available() else "no CUDA device"
    return [
        Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Finding("torch", torch.__version__, cuda),
        Finding("device", str(device), "the default, device=auto"),
        Finding("threads", str(count_threads("auto")), f"cores this process may use, of {os.cpu_count()}"),
        numba_cache(),
        allocator(),
        *(peer(module) for module in PEERS),
        *switched_off(),
        *weights(),
    ]


def peer(module: str) -> Finding:
    job, use, fallback = PEERS[module]
    if find_spec(module) is None:
        return Finding(module, "not installed", f"{job}: {fallback}")
    try:
        found = version({"warp": "warp-lang"}.get(module, module))
    except PackageNotFoundError:
        found = "installed"
    return Finding(module, found, f"{job}: {use}")


def switched_off() -> list[Finding]:
    """A line only where the environment keeps the libraries for CUDA out."""
    if os.environ.get(cuda_libraries.OPT_OUT) != "none":
        return []
    return [Finding(cuda_libraries.OPT_OUT, "none", "no library for CUDA is called, whatever is installed")]


def numba_cache() -> Finding:
    """Compiled kernels lie beside the modules, or in numba's own folder where that cannot be written."""
    own = os.environ.get("NUMBA_CACHE_DIR")
    beside = Path(str(files("distill3d")))
    found = list((Path(own) if own else beside).rglob("*.nbc"))
    size = sum(path.stat().st_size for path in found) / 2**20
    if found:
        return Finding("numba cache", f"{len(found)} kernels, {size:.1f} MiB", "first steps start at once")
    means = "kernels are compiled in the first step, some 10 to 60 s, and kept"
    if not own and not os.access(beside, os.W_OK):
        means += " in the user's cache folder"
    return Finding("numba cache", "empty", means)


def allocator() -> Finding:
    if is_quiet():
        return Finding("allocator", "glibc, large blocks kept", "torch's temporaries cause no page faults")
    if platform.libc_ver()[0] != "glibc":
        return Finding("allocator", "not glibc", "left as it is")
    if os.environ.get(OPT_OUT) == "default" or any(name in os.environ for name in SETTINGS):
        return Finding("allocator", "glibc, as the environment says", "left as it is")
    return Finding("allocator", "glibc's defaults", "`distill3d run` starts itself again with large blocks kept")


def weights() -> list[Finding]:
    """The diffusion priors inside the package."""
    package = Path(str(files("distill3d")))
    found = []
    for index in sorted(package.rglob("model_index.json")):
        size = sum(path.stat().st_size for path in index.parent.rglob("*.safetensors")) / 2**20
        found.append(Finding("weights", str(index.parent.relative_to(package)), f"{size:.1f} MiB, embedded"))
    return found or [Finding("weights", "none in the package", "name a prior: prior.model=FOLDER, sd15 ...")]
