"""Anything that can be looked at, opened again: a run folder, a mesh file, a splat file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.captures import Normalization
from distill3d.files.meshes import read_mesh
from distill3d.files.meshes.reading import UP, Up
from distill3d.renderers.base import Renderer
from distill3d.renderers.gaussians import GaussianRenderer
from distill3d.renderers.nerf import NerfRenderer
from distill3d.run import backend, checkpoint
from distill3d.run.config import ResolvedConfig, load
from distill3d.run.folder import RunFolder
from distill3d.run.splats import is_splat_file, open_splats
from distill3d.systems.base import ExportConfig, System


@dataclass
class Scene:
    """What was opened.

    Args:
        shape: a renderer with the parameters of a run's newest checkpoint, or a mesh in its file's units and place.
        name: what it shows.
        export: the run's own settings of its asset; the defaults for a file.
        placing: how a splat file, or the capture of a run, was moved into the unit ball; None where nothing moved.
        notices: what a person should know about the file, a line each.
    """

    shape: Renderer | Mesh
    name: str
    export: ExportConfig = field(default_factory=ExportConfig)
    placing: Normalization | None = None
    notices: list[str] = field(default_factory=list)


def open_scene(source: str | Path, up: Up | None = None, device: torch.device | None = None) -> Scene:
    """Opens a run folder, a mesh (OBJ, GLB, glTF, PLY, STL) or a 3DGS file.

    Args:
        up: of a mesh file, see `read_mesh`. device: of a renderer; the best one by default.
    Raises:
        UserError: it is none of these, or damaged; says which file and what about it.
    """
    path = Path(source)
    if path.is_dir():
        if up is not None:
            raise UserError(f"--up is for files: {path} is a run folder, whose axes are known")
        return load_scene(path, device or backend.choose_device("auto"))
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder")
    if path.suffix.lower().removeprefix(".") not in UP:
        raise UserError(f"{path}: neither a run folder nor a file that ends in one of: {', '.join(UP)}")
    if is_splat_file(path):
        renderer, placing = open_splats(path)
        notices = [] if placing.scale == 1 else [f"{path}: scaled by {placing.scale:.4g} to fit into the unit ball"]
        return Scene(renderer, path.stem, placing=placing, notices=notices)
    loaded = read_mesh(path, up)
    return Scene(loaded.mesh, loaded.mesh.name, notices=[f"{path}: {line}" for line in loaded.notices])


def load_run(folder: str | Path, device: torch.device | None = None) -> System:
    """The whole system of a run, as it was after the steps of its newest checkpoint: with its prior and its guidance.

    Raises:
        UserError: it is no run folder, another process is in it, it has no checkpoint yet, or that does not fit.
    """
    run = RunFolder.open(folder)
    resolved = _resolved(run)
    with run.locked():
        return _restored(run, resolved, device or backend.choose_device("auto"))


def load_scene(folder: Path, device: torch.device) -> Scene:
    """The renderer of a run. The prior is not loaded where the renderer can be built without it, which is quicker."""
    run = RunFolder.open(folder)
    resolved = _resolved(run)
    name = resolved.config.subject or folder.resolve().name
    with run.locked():
        renderer = _renderer_alone(run, resolved, device)
        if renderer is None:
            renderer = _restored(run, resolved, device).renderer
        moved = checkpoint.read(_newest(run))[1].get("system.normalization")  # of a capture, see `systems.reconstruct`
    placing = None if moved is None else Normalization.from_matrix(moved.numpy())
    return Scene(renderer.eval().requires_grad_(False), name, resolved.config.export, placing=placing)


def _resolved(run: RunFolder) -> ResolvedConfig:
    return load(run.config.absolute())


def _newest(run: RunFolder) -> Path:
    found = checkpoint.latest(run)
    if found is None:
        raise UserError(f"{run.path} has no checkpoint yet; go on with it: distill3d run --resume {run.path}")
    return found


def _restored(run: RunFolder, resolved: ResolvedConfig, device: torch.device) -> System:
    generator = torch.Generator(device).manual_seed(resolved.config.seed)
    system = resolved.system(resolved.config, device=device, generator=generator)
    done, _ = checkpoint.restore(_newest(run), system)
    _as_after(system.renderer, done)
    return system


def _renderer_alone(run: RunFolder, resolved: ResolvedConfig, device: torch.device) -> Renderer | None:
    """The renderer that the config's section names, if the checkpoint holds just its state; else None."""
    section: Any = getattr(resolved.config, "renderer", None)
    if resolved.system.sections.get("renderer") is not Renderer or not isinstance(section, dict):
        return None
    state, tensors = checkpoint.read(_newest(run))
    saved: dict[str, Tensor] = checkpoint.unflatten(state["system"], tensors)
    own = {name.removeprefix("renderer."): value for name, value in saved.items() if name.startswith("renderer.")}
    generator = torch.Generator(device).manual_seed(resolved.config.seed)
    try:
        renderer = Renderer.build(section, "renderer", generator=generator).to(device)
        renderer.load_state_dict(own)
    except (RuntimeError, TypeError):  # a system that changes its renderer, or builds it with more than a generator
        return None
    _as_after(renderer, int(state["step"]))
    return renderer


def _as_after(renderer: Renderer, steps: int) -> None:
    """Puts a renderer into what follows from the number of steps alone, and is in no checkpoint."""
    if isinstance(renderer, NerfRenderer) and steps:
        grid = renderer.config.grid
        if grid.first_levels is not None:
            renderer.field.active_levels = min(grid.levels, grid.first_levels + (steps - 1) // grid.fine_every)
    if isinstance(renderer, GaussianRenderer) and steps:
        renderer.degree = min(renderer.config.sh_degree, (steps - 1) // renderer.config.sh_every)


def free_name(path: Path) -> Path:
    """`path`, or with a number where something stands there already: chair.glb, chair-2.glb, chair-3.glb ..."""
    number = 1
    found = path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found


def chosen_name(out: str | Path | None, default: Path, tell: Callable[[str], object]) -> Path:
    """Where a result goes: `out`, as `distill3d image` does it, saying so if it replaces a file; else a free name.

    Raises:
        UserError: its folder is not there, or it is a folder itself.
    """
    path = free_name(default) if out is None else Path(out)
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file")
    if path.parent.exists() and not path.parent.is_dir():
        raise UserError(f"{path} cannot be written ({path.parent} is a file)")
    if path.exists():
        tell(f"{path} is there already, and will be replaced")
    return path
