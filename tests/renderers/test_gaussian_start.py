"""What Gaussians start from: pictures of the start show what it was made from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.compare import compare_renderings
from distill3d.renderers import GaussianRenderer, Renderer
from distill3d.renderers.mesh_picture import render_mesh

VIEWS = Cameras.orbit(torch.tensor([0.3, 2.5]), 0.2, 3.0, 0.5, 160)


def box() -> Mesh:
    """Red above, blue below."""
    shape = trimesh.creation.box((0.8, 0.6, 0.9)).subdivide().subdivide()
    vertices = np.asarray(shape.vertices, np.float32)
    colors = np.where(vertices[:, 2:] > 0, [[0.9, 0.1, 0.1]], [[0.1, 0.1, 0.9]]).astype(np.float32)
    return Mesh(vertices, np.asarray(shape.faces), colors)


def build(count: int = 20000) -> GaussianRenderer:
    section = {"kind": "gaussians", "start": {"count": count, "opacity": 0.9}}
    return Renderer.build(section, generator=torch.Generator().manual_seed(0)).eval()


def agreement(renderer: Renderer, mesh: Mesh) -> tuple[float, float]:
    """Mean difference of the colours where both are solid, and the silhouettes' intersection over union."""
    with torch.no_grad():
        seen = renderer(VIEWS, background=torch.zeros(3))
    found = compare_renderings(render_mesh(mesh, VIEWS), seen)
    return found.color_difference, found.silhouette_iou


def test_a_mesh() -> None:
    renderer = build()
    color, overlap = agreement(renderer, box())  # a grey ball
    assert color > 0.3
    assert overlap < 0.85
    renderer.start_from_mesh(box())
    assert len(renderer) == 20000
    color, overlap = agreement(renderer, box())
    assert color < 0.05
    assert overlap > 0.93


def test_a_point_cloud() -> None:
    renderer = build()
    places, _ = trimesh.sample.sample_surface(trimesh.creation.box((0.8, 0.6, 0.9)), 15000, seed=1)
    points = torch.from_numpy(np.asarray(places))
    share = (points[:, 2:] / 0.225).clamp(0, 1)  # the mesh blends its colours from one row of vertices to the next
    colors = share * torch.tensor([[0.9, 0.1, 0.1]]) + (1 - share) * torch.tensor([[0.1, 0.1, 0.9]])
    renderer.start_from_points(points.float(), colors)
    assert len(renderer) == 15000
    color, overlap = agreement(renderer, box())
    assert color < 0.05
    # Round Gaussians as wide as the points are apart (3DGS) stand out of the surface; those of a mesh are flat.
    assert overlap > 0.88
    renderer.start_from_points(points.float())
    assert agreement(renderer, box())[0] > 0.3  # without colours it is grey


def test_another_renderer() -> None:
    source, renderer = build(), build(15000)
    source.start_from_mesh(box())
    plain = Renderer.build({"kind": "nerf"})  # no Gaussians to copy, pictures to look at
    plain.forward = source.forward  # type: ignore[method-assign]
    renderer.start_from(plain)
    assert len(renderer) == 15000
    color, overlap = agreement(renderer, box())
    assert color < 0.05
    assert overlap > 0.9


def test_more_points_than_allowed_are_thinned() -> None:
    section = {"kind": "gaussians", "density": {"most": 100}}
    renderer: GaussianRenderer = Renderer.build(section)
    renderer.start_from_points(torch.rand(500, 3))
    assert len(renderer) == 100


def test_what_cannot_be() -> None:
    renderer = build(10)
    with pytest.raises(UserError, match="not finite"):
        renderer.start_from_points(torch.full((3, 3), torch.nan))
    with pytest.raises(UserError, match="points"):
        renderer.start_from_points(torch.zeros(0, 3))
    with pytest.raises(UserError, match="no surface"):
        renderer.start_from_mesh(Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]])))
    empty: GaussianRenderer = build(5)
    with torch.no_grad():
        empty.logits.fill_(-9)
    nerf = Renderer.build({"kind": "nerf"})
    nerf.forward = empty.forward  # type: ignore[method-assign]
    with pytest.raises(UserError, match="shows nothing"):
        renderer.start_from(nerf)


def test_one_point_and_twins() -> None:
    renderer = build(5)
    renderer.start_from_points(torch.zeros(1, 3))
    assert renderer(VIEWS).rgb.isfinite().all()
    renderer.start_from_points(torch.zeros(4, 3))
    assert renderer.log_scales.isfinite().all()
