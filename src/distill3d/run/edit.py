"""A scene that exists, changed by a sentence: `distill3d edit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill3d.core.component import nearest
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.captures import Normalization
from distill3d.files.meshes.reading import Up
from distill3d.geometry.region import Region
from distill3d.renderers import GaussianRenderer, MeshRenderer, NerfRenderer, Renderer
from distill3d.run import backend, checkpoint
from distill3d.run.api import RunResult, build, examine, go
from distill3d.run.config import load
from distill3d.run.edit_geometry import check_geometry, geometry_values
from distill3d.run.edit_strength import weakened
from distill3d.run.edit_views import own_views
from distill3d.run.folder import RunFolder
from distill3d.run.locating import Listener, check_asked, locate, show_region
from distill3d.run.loop import make_optimizer
from distill3d.run.progress import Progress
from distill3d.run.scene import open_scene
from distill3d.systems.edit import Edit
from distill3d.systems.edit_region import check_region

METHODS = ("pds", "dds", "sds", "in2n", "sdedit", "controlnet", "refine")
ALONE = {"in2n": 'one instruction, such as "make it blue"', "refine": "one sentence, what the scene is"}  # and not two


def edit(
    source: str | Path,
    before: str,
    after: str | None = None,
    *,
    method: str = "pds",
    out: str | Path | None = None,
    colors_only: bool = False,
    geometry: str | None = None,
    strength: float = 1.0,
    region: str | None = None,
    region_view: str | None = None,
    region_depth: float | None = None,
    region_radius: float | None = None,
    region_by: str | None = None,
    views: str | None = None,
    up: Up | None = None,
    overrides: list[str] | tuple[str, ...] = (),
    progress: Progress | None = None,
) -> RunResult:
    """Changes a scene from what one sentence says into what another says, or by an instruction, in a run folder of its
    own.

    Args:
        source: a run folder with a NeRF, splats, a mesh or tetrahedra; a mesh file; or a 3DGS file. It is only read.
        before, after: what the scene is, and what it should become. For in2n, `before` is the one instruction; for
            refine, what the scene is.
        method: pds (posterior distillation sampling), dds (delta denoising score), or sds, which knows no source; or
            refitting to edited pictures: in2n (Instruct-NeRF2NeRF), sdedit, controlnet, and refine, which sharpens a
            scene that an edit has made.
        out: the run folder; outputs/METHOD/AFTER by default.
        colors_only: geometry "frozen", by its older name.
        geometry: how far the shape may change: free (the default), gentle, or frozen; see `run.edit_geometry`.
        strength: how far the edit may go, above 0 and up to 1; see `run.edit_strength`.
        region: the only part of space that may change, `box:x0,y0,z0,x1,y1,z1` or `sphere:x,y,z,radius`, in the
            source's own coordinates, z up; `mask=FILE`, white on one view; or words of `before`; not for tetrahedra.
            What it holds is drawn into region.png before the first step.
        region_view, region_depth, region_radius, region_by: of a mask, and of words, see `run.locating`.
        views: from where the prior looks: "around" (the default); "capture", from where the photographs were taken that
            the source was reconstructed from; or a folder with a capture; see `run.edit_views`.
        up: the axis that points up in a mesh file.
        overrides: "dotted.key=VALUE" of the method's config, `configs/METHOD.yaml`.
        progress: who shows it.
    Raises:
        UserError: anything that the caller can put right, before any work where that can be known.
    """
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}{nearest(method, METHODS)}")
    sentences = sentences_of(method, before, after)
    geometry = check_geometry(geometry, colors_only)
    asked = check_asked(region, view=region_view, depth=region_depth, radius=region_radius, by=region_by)
    scene = open_scene(source, up, torch.device("cpu"))
    renderer, placing = as_renderer(scene.shape, scene.placing)
    values: dict[str, Any] = {"source": str(Path(source)), **sentences, "renderer": section_of(renderer)}
    place = None
    if asked is not None:
        first = load(f"edit-{method}", overrides, **values)
        examine(first)
        assert isinstance(first.config, Edit.Config)
        listener = Listener(
            first.config.prior, sentences.get("source_prompt"), backend.choose_device(first.config.device)
        )
        with backend.reproducible(first.config.threads):
            located = locate(asked, renderer.to(listener.device), placing, source, listener)
        renderer.to("cpu")
        place = seen_by(Region.parse(located.text), placing)
        check_region(renderer, place, located.told)
        values |= {"region": located.text, "region_told": located.told}
        values["renderer"] = held_section(renderer, located.text)
    values |= geometry_values(renderer, values["renderer"], geometry)
    own = own_views(views, source, placing, place)
    if own is not None:
        overrides = [*own.overrides, *overrides]
        values["own_views"] = len(own.cameras)
    resolved = weakened(load(f"edit-{method}", overrides, **values), strength)
    device = backend.choose_device(resolved.config.device)
    examine(resolved)
    folder = RunFolder.create(resolved.to_yaml(), method, sentences["prompt"], out)
    with progress or Progress() as progress:
        for line in [*scene.notices, *([] if own is None else [own.told])]:
            progress(line)
        try:
            with folder.locked(), backend.reproducible(resolved.config.threads):
                system = build(resolved, device)
                assert isinstance(system, Edit)
                system.take(renderer.to(device), placing, None if own is None else own.cameras)
                if place is not None:
                    show_region(renderer, place, source, folder.path / "region.png")
                checkpoint.save(folder, 0, system, make_optimizer(system, resolved.config.optimizer))
        except BaseException:
            folder.discard()
            raise
        return go(resolved, folder, device, progress, resumed=True)


def sentences_of(method: str, before: str, after: str | None) -> dict[str, str]:
    """What a method's config is told in words.

    Raises:
        UserError: a sentence too many, too few, or empty.
    """
    if method in ALONE:
        if after is not None:
            raise UserError(f"{method} takes {ALONE[method]}, and not two sentences")
        if not before.strip():
            raise UserError(f"the sentence is empty: {method} takes {ALONE[method]}")
        return {"prompt": before}
    if after is None:
        raise UserError(f"{method} takes two sentences: what the scene is before the edit, and what it is after")
    for name, text in (("before", before), ("after", after)):
        if not text.strip():
            raise UserError(f"the sentence that says what the scene is {name} the edit is empty")
    return {"source_prompt": before, "prompt": after}


def as_renderer(shape: Renderer | Mesh, placing: Normalization | None) -> tuple[Renderer, Normalization | None]:
    """A scene as something that can be optimised, inside the unit ball, and how it came there."""
    if isinstance(shape, Renderer):
        return shape.requires_grad_(True), placing
    center = 0.5 * (shape.vertices.min(0).astype(np.float64) + shape.vertices.max(0))
    reach = float(np.linalg.norm(shape.vertices - center, axis=1).max())
    placing = Normalization(np.eye(3), center, 1 / reach if reach > 0 else 1.0)
    return MeshRenderer.from_mesh(shape.in_unit_ball()), placing


def section_of(renderer: Renderer) -> dict[str, Any]:
    """The section of a config that builds such a renderer.

    Raises:
        UserError: a NeRF that was edited in a region.
    """
    if isinstance(renderer, NerfRenderer) and renderer.config.region is not None:
        raise UserError("this NeRF was edited in a region, and holds two fields; export it first, and edit the mesh")
    section = {"kind": renderer.kind, **renderer.config.model_dump(mode="json")}
    if isinstance(section.get("grid"), dict):
        section["grid"]["first_levels"] = None  # coarse to fine is for a scene that begins
    if isinstance(renderer, GaussianRenderer):
        section["sh_every"] = 1  # and so are harmonics one after the other
    return section


def seen_by(region: Region, placing: Normalization | None) -> Region:
    """A region of a file for points of the scene that was made of it."""
    if placing is None:
        return region
    return region.seen_from(torch.from_numpy(placing.inverse.matrix))


def held_section(renderer: Renderer, region: str) -> dict[str, Any]:
    """`section_of` for an edit that is held to a region: the number of Gaussians stays, and a NeRF knows where it may
    change."""
    section = section_of(renderer)
    if isinstance(renderer, NerfRenderer):
        section["region"] = region
    elif isinstance(section.get("density"), dict):
        section["density"]["kind"] = "none"
    return section
