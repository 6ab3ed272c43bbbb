"""`distill3d.run`: from a config's name to a folder with an asset in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.diffusion.prior import Prior
from distill3d.files.pictures import write_png
from distill3d.guidance.base import Guidance
from distill3d.renderers.base import Renderer
from distill3d.run import backend, checkpoint, splats
from distill3d.run.asset import write_asset
from distill3d.run.config import ResolvedConfig, load, resolve
from distill3d.run.curves import short
from distill3d.run.folder import RunFolder, write_text
from distill3d.run.interrupt import Interrupt
from distill3d.run.loop import make_optimizer, optimise, untouched_generators
from distill3d.run.metrics import MetricsLog
from distill3d.run.progress import Progress
from distill3d.run.report import write_report
from distill3d.run.turntable import write_before_after, write_grid, write_turntable
from distill3d.systems.base import System

MAY_CHANGE = ("steps", "log_every", "preview_every", "checkpoint_every", "keep_checkpoints", "export")  # on resume


@dataclass
class RunResult:
    """What a run ends with.

    Args:
        folder: the run folder.
        renderer: the optimised 3D representation.
        mesh: the asset, in the renderer's world.
        paths: the files, by what they are: glb, obj, ply, splats, turntable, report.
        metrics: the last logged line, and what the export measured.
        finished: whether all steps were done; false after Ctrl-C.
    """

    folder: Path
    renderer: Renderer
    mesh: Mesh | None
    paths: dict[str, Path] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    finished: bool = True


def run(
    config: str | Path | None = None,
    *,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    overrides: list[str] | tuple[str, ...] = (),
    progress: Progress | None = None,
    **values: Any,
) -> RunResult:
    """Makes an asset: `run("dreamfusion", prompt="a red mushroom", steps=800)`.

    Args:
        config: a packaged config's name, or a YAML file; None with `resume`.
        out: the run folder; `outputs/CONFIG/PROMPT` (or the name of the data) by default, with a number added where
            there is one already.
        resume: a run folder to go on with, from its newest whole checkpoint, instead of starting a new one.
        overrides: "dotted.key=VALUE" as on the command line.
        progress: who shows it; `Progress(quiet=True)` shows nothing, a bar or plain lines are the default.
        values: overrides as Python objects.
    Raises:
        UserError: anything that the caller can put right, before any work is done where that can be known.
    """
    if resume is not None:
        if config is not None or out is not None:
            raise UserError("--resume goes on with a run folder and its own config: give no CONFIG and no --out")
        folder = RunFolder.open(resume)
        resolved = load_changed(folder, overrides, values)
        device = backend.choose_device(resolved.config.device)
        examine(resolved)
    else:
        if config is None:
            raise UserError("which config? `distill3d list` shows them, for example: distill3d run dreamfusion")
        resolved = load(config, overrides, **values)
        if resolved.system.begun_by is not None:
            raise UserError(f"{resolved.name} begins with something that is there: {resolved.system.begun_by}")
        device = backend.choose_device(resolved.config.device)
        examine(resolved)
        folder = RunFolder.create(resolved.to_yaml(), resolved.name, resolved.config.subject, out)
    with progress or Progress() as progress:
        return go(resolved, folder, device, progress, resumed=resume is not None)


def examine(resolved: ResolvedConfig) -> None:
    """Looks at the files of the priors and guidances that a config names, before anything is made or downloaded.

    Raises:
        UserError: a model's name is unknown, or its folder is missing, incomplete or truncated; or the export asks for
            splats of a renderer that has none.
    """
    renderer = getattr(resolved.config, "renderer", {}).get("kind", splats.KIND)
    if splats.KIND_OF_FILE in resolved.config.export.formats and renderer != splats.KIND:
        raise UserError(f"export.formats: splats are what renderer.kind={splats.KIND} makes, not {renderer}")
    for key, family in resolved.system.sections.items():
        if isinstance(family, type) and issubclass(family, (Prior, Guidance)):
            found = getattr(resolved.config, key)
            for section in found if isinstance(found, list) else [found]:
                kind, config = family.parse(section, key)
                kind.examine(config)


def load_changed(folder: RunFolder, overrides: list[str] | tuple[str, ...], values: dict[str, Any]) -> ResolvedConfig:
    """The config of an existing run, in which only what leaves its steps alone may be changed."""
    for key in [item.partition("=")[0] for item in overrides] + list(values):
        if key.partition(".")[0] not in MAY_CHANGE:
            raise UserError(f"{key} cannot change in a resumed run (only {', '.join(MAY_CHANGE)}); start a new run")
    resolved = load(folder.config.absolute(), overrides, **values)
    with open(folder.config, encoding="utf-8") as file:
        name = file.readline().removeprefix("#").strip() or resolved.name
    return resolve(resolved.plain, name)


def go(
    resolved: ResolvedConfig, folder: RunFolder, device: torch.device, progress: Progress, resumed: bool
) -> RunResult:
    """Builds the system, takes its steps and exports the asset."""
    config = resolved.config
    with folder.locked(), backend.reproducible(config.threads):
        with discarded_if_never_begun(folder, resumed), progress.phase("loading", announced=False):
            system = build(resolved, device)
            start, optimizer = restore(folder, system) if resumed else (0, make_optimizer(system, config.optimizer))
        with untouched_generators(system):  # a notice may look at the scene, when a run begins and when it goes on
            notices = system.notices()
        for notice in notices:
            progress(notice)
        if resumed:
            write_text(folder.config, resolved.to_yaml())
            if start:
                progress(f"going on from step {start}")
        with MetricsLog(folder, start) as metrics, Interrupt(progress) as interrupt:
            with progress.steps(config.steps, start):
                done = optimise(system, optimizer, start, folder, metrics, progress, interrupt)
            if done == 0:  # interrupted before the first step: there is nothing to export
                raise KeyboardInterrupt
            result = export(system, folder, progress)
        result.metrics = {**metrics.last, **result.metrics}
        result.finished = done >= config.steps
    return result


def restore(folder: RunFolder, system: System) -> tuple[int, torch.optim.Optimizer]:
    """Puts the newest whole checkpoint back, if there is one. Returns the steps done and the optimizer."""
    folder.clean()
    newest = checkpoint.latest(folder)
    if newest is None:
        return 0, make_optimizer(system, system.config.optimizer)
    done, state = checkpoint.restore(newest, system)
    optimizer = make_optimizer(system, system.config.optimizer)  # over the parameters that are there now
    optimizer.load_state_dict(state)
    return done, optimizer


def build(resolved: ResolvedConfig, device: torch.device) -> System:
    """The system, with torch's own generator seeded too for whatever draws from it."""
    torch.manual_seed(resolved.config.seed)
    generator = torch.Generator(device).manual_seed(resolved.config.seed)
    return resolved.system(resolved.config, device=device, generator=generator)


@contextmanager
def discarded_if_never_begun(folder: RunFolder, resumed: bool) -> Iterator[None]:
    """Removes a new run's folder where building it failed, so that a mistake leaves nothing behind."""
    try:
        yield
    except BaseException:
        if not resumed:
            folder.discard()
        raise


def export(system: System, folder: RunFolder, progress: Progress) -> RunResult:
    """Mesh, splats, turntable, what was found out, and the report, of what there is."""
    result = export_scene(system, system.renderer, folder.path, progress)
    wanted = system.config.export
    scenes = [result.mesh or system.renderer]
    for name, renderer in system.further.items():
        progress(f"{name}:")
        (folder.path / name).mkdir(exist_ok=True)
        beside = export_scene(system, renderer, folder.path / name, progress)
        scenes.append(beside.mesh or renderer)
        result.paths |= {f"{name}/{kind}": path for kind, path in beside.paths.items()}
        result.metrics |= {f"{name}/{key}": value for key, value in beside.metrics.items()}
    if wanted.turntable_frames:
        if len(scenes) > 1:
            with progress.phase("filming all of them together"):
                film, turn = folder.path / "particles.mp4", max(1, wanted.turntable_frames // 2)
                result.paths["particles"] = write_grid(scenes, film, turn)
        if system.before is not None:
            with progress.phase("filming before and after"):
                film, turn = folder.path / "before-after.mp4", max(1, wanted.turntable_frames // 2)
                result.paths["before_after"] = write_before_after(system.before, system.renderer, film, turn)
    with progress.phase("writing the report"):
        result.metrics |= write_findings(system, folder, progress)
        result.paths["report"] = write_report(folder.path)
    return result


def export_scene(system: System, renderer: Renderer, folder: Path, progress: Progress) -> RunResult:
    """The mesh, splats and turntable of one of a system's scenes."""
    result = RunResult(folder, renderer, None)
    wanted = system.config.export
    meshes = tuple(kind for kind in wanted.formats if kind != splats.KIND_OF_FILE)
    if meshes:
        with progress.phase("exporting the mesh"):
            asset = write_asset(
                renderer,
                folder,
                resolution=wanted.resolution,
                faces=wanted.faces,
                texture_size=wanted.texture_size,
                formats=meshes,
                smoothing=wanted.smoothing,
                name=system.config.subject or "asset",
                placing=system.placing,
                progress=progress.stage,
            )
        result.mesh = asset.mesh
        result.paths |= asset.paths
        result.metrics |= {
            "faces": asset.faces,
            "color_difference": asset.color_difference,
            "silhouette_iou": asset.silhouette_iou,
        }
        progress(
            f"mesh: {asset.faces} faces; against the renderer's pictures: mean colour difference "
            f"{asset.color_difference:.3f}, silhouette overlap {asset.silhouette_iou:.3f}"
        )
    if splats.KIND_OF_FILE in wanted.formats:
        result.paths["splats"] = folder / "splats.ply"
        splats.write_scene(renderer, result.paths["splats"], system.placing)
    if wanted.turntable_frames:
        with progress.phase("filming the turntable"):
            film = folder / "turntable.mp4"
            scene = result.mesh or renderer  # the asset itself: what a person gets, and far quicker to draw
            result.paths |= write_turntable(scene, film, frames=wanted.turntable_frames)
    return result


def write_findings(system: System, folder: RunFolder, progress: Progress) -> dict[str, float]:
    """What the system found out at the end, into `findings.json` and `findings/`. Returns the numbers."""
    with untouched_generators(system):
        numbers, pictures = system.findings()
    if numbers:
        write_text(folder.findings, json.dumps(numbers, indent=1) + "\n")
        progress(", ".join(f"{name} {short(value)}" for name, value in numbers.items()))
    for name, picture in pictures.items():
        write_png(picture, folder.findings.with_suffix("") / f"{name}.png")
    return numbers
