"""DMTet: a signed distance on tetrahedra whose surface is cut out anew for each picture (Shen et al. 2021)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.core.rendering import Rendering
from distill3d.geometry.signed_distance import signed_distance
from distill3d.geometry.tetrahedral_grid import tetrahedral_grid
from distill3d.kernels.marching_tetrahedra import along, marching_tetrahedra
from distill3d.kernels.mesh_edges import MeshEdges, mesh_edges
from distill3d.kernels.neighbour_mean import Neighbours, neighbour_mean, neighbours
from distill3d.renderers.background import BackgroundConfig, Environment, build_background
from distill3d.renderers.base import Renderer
from distill3d.renderers.mesh_drawing import Fragments, draw
from distill3d.renderers.mesh_field import color_of, density_of
from distill3d.renderers.mesh_picture import render_mesh
from distill3d.renderers.nerf import NerfRenderer
from distill3d.renderers.nerf_field import BlobConfig, FieldConfig, GridConfig, NerfField
from distill3d.renderers.tetrahedra_start import Pictures, match_colors, solid_mesh

MOST_OFFSET = 0.25  # of the grid's spacing, along each axis: two neighbours that move towards each other do not meet

BAND = 1.5  # spacings of the grid: how far from the surface distances are kept


class TetrahedraConfig(Config):
    """`resolution` cells along each side of the cube, of which the unit ball is filled; it starts as a ball of
    `radius`: silhouettes carve well and grow badly, so one that holds the object.

    `color`: "field" is the network of a NeRF asked at the surface (`grid`, `network`), "vertex" a colour at each vertex
    of the grid. `supersampling`: samples along each side of a pixel. `lr_distance` is in spacings of the grid, so that
    the surface moves as many cells a step at every resolution. Each step's change is averaged with its neighbours
    `smoothing` times: without, every vertex follows its own noise.
    """

    resolution: int = Field(40, ge=4, le=256)
    radius: float = Field(0.8, gt=0, lt=1)
    color: Literal["field", "vertex"] = "field"
    grid: GridConfig = GridConfig()
    network: FieldConfig = FieldConfig()
    supersampling: int = Field(2, ge=1, le=8)
    smoothing: int = Field(3, ge=0, le=50)
    background: BackgroundConfig = BackgroundConfig()
    lr_distance: float = Field(0.15, gt=0)
    lr_offset: float = Field(0.05, gt=0)
    lr_grid: float = Field(0.01, gt=0)
    lr_network: float = Field(0.003, gt=0)
    lr_color: float = Field(0.05, gt=0)


class TetrahedraRenderer(Renderer):
    """A surface of any topology inside the unit ball, drawn by the mesh rasteriser.

    The surface is closed: vertices on the outside of the grid count as outside. Pieces part and join freely, but a hole
    opens only where a silhouette arrives: nothing tells the middle of a face that it should not be there. So start
    from a solid that has its holes (`from_mesh`, `from_renderer`) where they matter.
    """

    kind: ClassVar[str] = "tetrahedra"
    Config = TetrahedraConfig

    grid_vertices: Tensor
    tetrahedra: Tensor
    grid_edges: Tensor
    tetrahedron_edges: Tensor
    border: Tensor
    base: Tensor
    graph_starts: Tensor
    graph_others: Tensor

    def __init__(self, config: TetrahedraConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        grid = tetrahedral_grid(config.resolution)
        self.spacing = grid.spacing
        for name, array in (
            ("grid_vertices", grid.vertices),
            ("tetrahedra", grid.tetrahedra),
            ("grid_edges", grid.edges),
            ("tetrahedron_edges", grid.tetrahedron_edges),
            ("border", grid.border),
        ):  # they follow from the resolution: no part of a checkpoint
            self.register_buffer(name, torch.from_numpy(array), persistent=False)
        graph = neighbours(self.grid_edges, len(grid.vertices))
        self.register_buffer("graph_starts", graph.starts, persistent=False)
        self.register_buffer("graph_others", graph.others, persistent=False)
        self.register_buffer("base", torch.zeros(len(grid.vertices), 4))  # distance, offset
        self.base[:, 0] = self._banded(self.grid_vertices.norm(dim=1) - config.radius)
        self.distance = nn.Parameter(torch.zeros(len(grid.vertices), 1))
        self.offset = nn.Parameter(torch.zeros(len(grid.vertices), 3))
        if config.color == "field":
            self.field = NerfField(config.grid, BlobConfig(kind="none"), config.network, self.generator)
        else:
            self.color = nn.Parameter(torch.zeros(len(grid.vertices), 3))
        self.background = build_background(config.background, self.generator)

    @classmethod
    def from_mesh(
        cls,
        mesh: Mesh,
        config: TetrahedraConfig | None = None,
        generator: torch.Generator | None = None,
        pictures: Pictures | None = None,
        field: NerfField | None = None,
    ) -> TetrahedraRenderer:
        """The solid that a mesh encloses, with its colours.

        Args:
            mesh: closed, or nearly (see `geometry.signed_distance.inside`), in the unit ball.
            pictures: where the colours come from; pictures of the mesh by default.
            field: what the colours start from, where its layout is that of `config`.
        Raises:
            UserError: the mesh encloses no vertex of the grid.
        """
        renderer = cls(config or TetrahedraConfig(), generator)
        distance = signed_distance(mesh, renderer.grid_vertices.numpy())
        with torch.no_grad():
            renderer.base[:, 0] = renderer._banded(torch.from_numpy(np.float32(distance)))
            if renderer.config.color == "vertex":
                renderer.color.copy_(torch.logit(color_of(mesh, renderer.grid_vertices), eps=1e-3))
        if not (renderer.base[~renderer.border, 0] < 0).any():
            raise UserError(
                f"the mesh {mesh.name!r} encloses none of the {len(distance)} vertices of the tetrahedral grid; "
                f"raise renderer.resolution (now {renderer.config.resolution}), or scale the mesh to the unit ball"
            )
        if field is not None and renderer.config.color == "field":
            saved, own = field.state_dict(), renderer.field.state_dict()
            if field.layout == renderer.field.layout and all(saved[k].shape == own[k].shape for k in own):
                renderer.field.load_state_dict(saved)
        match_colors(renderer, renderer.color_groups(), pictures or (lambda cameras: render_mesh(mesh, cameras)))
        return renderer

    @classmethod
    def from_renderer(
        cls, source: Renderer, config: TetrahedraConfig | None = None, generator: torch.Generator | None = None
    ) -> TetrahedraRenderer:
        """What another renderer shows, as a surface (Magic3D, Lin et al. 2023, section 3.2).

        The level at which a density becomes the surface is that of the exported mesh. A NeRF's field is copied where
        the layouts agree (as in `config_after`); then the colours are fitted to the source's pictures, since a volume
        shows what lies a little below its surface.

        Raises:
            UserError: the source is empty or has exploded; in one line.
        """
        config = config or cls.config_after(source)
        mesh = solid_mesh(source)
        training = source.training
        source.eval()
        try:
            field = getattr(source, "field", None) if isinstance(source, NerfRenderer) else None
            field = field if isinstance(field, NerfField) else None  # one that was edited in a region is two
            return cls.from_mesh(mesh, config, generator, lambda cameras: source(cameras, torch.zeros(3)), field)
        finally:
            source.train(training)

    @classmethod
    def config_after(cls, source: Renderer, section: dict[str, Any] | None = None) -> TetrahedraConfig:
        """The config of a second stage: `section`, with the field's layout of a NeRF where the section names none."""
        values = dict(section or {})
        values.pop("kind", None)
        if isinstance(source, NerfRenderer):
            values.setdefault("grid", source.config.grid.model_dump())
            values.setdefault("network", source.config.network.model_dump())
        return cls.parse({"kind": cls.kind, **values}, "renderer")[1]  # type: ignore[return-value]

    def surface(self) -> tuple[Tensor, Tensor, MeshEdges, Tensor]:
        """vertices [V, 3], faces [F, 3], their edges, and the vertices' colours [V, 3 or 0], differentiable.

        Raises:
            UserError: nothing is inside any more.
        """
        distance, offset = self._grid_values().split([1, 3], 1)
        # on the border at least a little outside, so that the surface closes there
        distance = torch.where(self.border, distance[:, 0].clamp(min=0.1 * self.spacing), distance[:, 0])
        faces, crossed, share = marching_tetrahedra(
            self.grid_vertices, distance, self.tetrahedra, self.grid_edges, self.tetrahedron_edges
        )
        if not len(faces):
            raise UserError(
                "the surface of the tetrahedra has vanished: lower renderer.lr_distance or the guidance scale, or "
                "start from a larger ball (renderer.radius)"
            )
        ends = self.grid_edges[crossed]
        places = self.grid_vertices + MOST_OFFSET * self.spacing * torch.tanh(offset)
        values = [places] if self.config.color == "field" else [places, torch.sigmoid(self.color)]
        at = along(torch.cat(values, 1), ends, share)
        return at[:, :3], faces, mesh_edges(faces, len(at)), at[:, 3:]

    def forward(
        self,
        cameras: Cameras,
        background: Tensor | None = None,
        light: Tensor | None = None,
        normals: bool = False,
    ) -> Rendering:
        """See `Renderer.forward`.

        extras: `foreground` and `directions` as from a NeRF; `surface`, the (vertices, faces, edges) that were drawn,
        for `mesh_regularizers`.
        """
        vertices, faces, edges, values = self.surface()
        rendering = draw(
            vertices,
            faces,
            edges,
            values,
            self._paint,
            cameras,
            self.background if background is None else background,
            light,
            normals,
            self.config.supersampling,
        )
        rendering.extras["surface"] = (vertices, faces, edges)
        return rendering

    def parameter_groups(self) -> list[dict[str, Any]]:
        config = self.config
        groups: list[dict[str, Any]] = [
            {"name": "distance", "params": [self.distance], "lr": config.lr_distance * self.spacing},
            {"name": "offset", "params": [self.offset], "lr": config.lr_offset},
            *self.color_groups(),
        ]
        if isinstance(self.background, Environment):
            groups.append(
                {"name": "background", "params": list(self.background.parameters()), "lr": config.background.lr}
            )
        return groups

    def color_groups(self) -> list[dict[str, Any]]:
        """The parameter groups that colour the surface and do not move it."""
        if self.config.color == "vertex":
            return [{"name": "color", "params": [self.color], "lr": self.config.lr_color}]
        return [
            {"name": "grid", "params": [self.field.table], "lr": self.config.lr_grid},
            {"name": "network", "params": list(self.field.weights), "lr": self.config.lr_network},
        ]

    def advance(self, step: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Folds the last step into `base`, and keeps distances within a band around the surface, so that a surface
        which arrives at a vertex need not pull down what its distance once was. Lets in finer levels of the field."""
        with torch.no_grad():
            self.base.copy_(self._grid_values())
            self.base[:, 0] = self._banded(self.base[:, 0])
            self.distance.zero_()
            self.offset.zero_()
        grid = self.config.grid
        if self.config.color == "field" and grid.first_levels is not None:
            self.field.active_levels = min(grid.levels, grid.first_levels + step // grid.fine_every)

    @torch.no_grad()
    def to_mesh(self, resolution: int = 128, threshold: float | None = None) -> Mesh:
        """The surface itself, with colours at its vertices; the arguments are those of a density and have no effect."""
        vertices, faces, _, colors = self.surface()
        if self.config.color == "field":
            colors = self._field_color(vertices)
        return Mesh(vertices.cpu().numpy(), faces.cpu().numpy(), colors.cpu().numpy())

    def own_surface(self) -> Mesh:
        return self.to_mesh()

    def start_from(self, other: Renderer) -> None:
        """See `from_renderer`."""
        self.load_state_dict(type(self).from_renderer(other, self.config, self.generator).state_dict())

    def color_at(self, points: Tensor) -> Tensor:
        return self._field_color(points) if self.config.color == "field" else color_of(self.to_mesh(), points)

    def density_at(self, points: Tensor) -> Tensor:
        """A solid with a thin skin, for what asks all renderers alike; the surface itself comes from `to_mesh`."""
        return density_of(self.to_mesh(), points)

    def _field_color(self, points: Tensor) -> Tensor:
        """Of the field at world points [N, 3], without gradient."""
        return self.field.at((points * 0.5 + 0.5).clamp(0, 1))[1]

    def _paint(self, fragments: Fragments) -> Tensor:
        if self.config.color == "vertex":
            return fragments.values
        return self.field((fragments.position * 0.5 + 0.5).clamp(0, 1))[1]

    def _grid_values(self) -> Tensor:
        """Distance and offset (before its tanh) at the grid's vertices, [V, 4]."""
        change = torch.cat([self.distance, self.offset], 1)
        graph = Neighbours(self.graph_starts, self.graph_others)
        return self.base + neighbour_mean(change, graph, self.config.smoothing)

    def _banded(self, distance: Tensor) -> Tensor:
        return distance.clamp(-BAND * self.spacing, BAND * self.spacing)
