"""A triangle mesh as a differentiable renderer: vertices move, colours at the vertices or in a texture change."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
import trimesh
from pydantic import Field
from torch import Tensor, nn

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.core.rendering import Rendering
from distill3d.geometry.bake import bake
from distill3d.geometry.unwrap import unwrap
from distill3d.kernels.mesh_edges import MeshEdges, mesh_edges
from distill3d.kernels.neighbour_mean import Neighbours, neighbour_mean, neighbours
from distill3d.kernels.texture import mipmaps, sample_mipmaps, texture_level
from distill3d.renderers.background import BackgroundConfig, Environment, build_background
from distill3d.renderers.base import Renderer
from distill3d.renderers.mesh_drawing import Fragments, draw
from distill3d.renderers.mesh_field import color_of, density_of
from distill3d.renderers.mesh_shading import metallic_roughness, white_environment

DARKEST = 1e-3  # colours start within this of 0 and 1, where a logit still moves


class MeshConfig(Config):
    """Starts as a ball of `radius`, an icosahedron split `subdivisions` times, unless made by `from_mesh`.

    `color`: "vertex", or "texture" of `texture_size` pixels a side with mipmaps. `shading`: what a light does; the
    headlight of the other renderers, or "pbr", metallic-roughness under an environment that is learnt too.
    `smoothing`: how often each step's change is averaged with its neighbours. `move: false` keeps the shape.
    """

    radius: float = Field(0.8, gt=0, lt=1)
    subdivisions: int = Field(4, ge=0, le=7)
    color: Literal["vertex", "texture"] = "vertex"
    texture_size: int = Field(512, ge=16, le=4096)
    shading: Literal["headlight", "pbr"] = "headlight"
    supersampling: int = Field(2, ge=1, le=8)
    smoothing: int = Field(2, ge=0, le=50)
    move: bool = True
    background: BackgroundConfig = BackgroundConfig()
    lr_vertices: float = Field(0.005, gt=0)
    lr_color: float = Field(0.05, gt=0)
    lr_material: float = Field(0.02, gt=0)
    lr_environment: float = Field(0.01, gt=0)


class MeshRenderer(Renderer):
    """A mesh whose triangles stay what they are: right where the number of holes is known. See `tetrahedra` for others.

    A checkpoint holds faces and texture coordinates too, so it restores onto a renderer that started as another mesh,
    and, where there are some, which vertices are pinned.
    """

    kind: ClassVar[str] = "mesh"
    Config = MeshConfig

    base: Tensor
    faces: Tensor
    uv: Tensor
    pinned: Tensor | None  # [V] bool

    def __init__(self, config: MeshConfig, generator: torch.Generator | None = None, mesh: Mesh | None = None) -> None:
        super().__init__(config, generator)
        if mesh is None:
            ball = trimesh.creation.icosphere(subdivisions=config.subdivisions, radius=config.radius)
            mesh = Mesh(ball.vertices, ball.faces, name="ball")
        checked(mesh)
        if config.color == "texture" and mesh.uv is None:
            mesh = unwrap(mesh, config.texture_size)
        self.register_buffer("base", torch.from_numpy(mesh.vertices.copy()))
        self.register_buffer("faces", torch.from_numpy(mesh.faces.copy()))
        uv = mesh.uv if config.color == "texture" and mesh.uv is not None else np.zeros((0, 2))
        self.register_buffer("uv", torch.from_numpy(np.float32(uv)))
        self.register_buffer("pinned", None)
        self.change = nn.Parameter(torch.zeros_like(self.base))
        self.color = nn.Parameter(torch.logit(torch.from_numpy(initial_colors(mesh, config)), eps=DARKEST))
        if config.shading == "pbr":
            material = torch.tensor([-3.0, 0.0]).repeat(len(self.base), 1)  # logits: hardly metal, half rough
            self.material = nn.Parameter(material)
            self.environment = nn.Parameter(white_environment())
        self.background = build_background(config.background, self.generator)
        self._topology: tuple[MeshEdges, Neighbours] | None = None

    @classmethod
    def from_mesh(
        cls, mesh: Mesh, config: MeshConfig | None = None, generator: torch.Generator | None = None
    ) -> MeshRenderer:
        """Starts from a mesh, its colours or its texture.

        Args:
            config: by default a texture where the mesh has one, of its size; else colours at the vertices. A texture
                for a mesh that has colours alone is baked from them.
        Raises:
            UserError: no faces, values that are not finite, or faces that point outside the vertices.
        """
        if config is None and mesh.texture is not None and mesh.uv is not None:
            config = MeshConfig(color="texture", texture_size=max(mesh.texture.shape[:2]))
        return cls(config or MeshConfig(), generator, mesh)

    @property
    def vertices(self) -> Tensor:
        """[V, 3], differentiable."""
        graph = self.topology()[1]
        change = neighbour_mean(self.change, graph, self.config.smoothing)
        if self.pinned is not None:  # the mean spreads to neighbours
            change = change.masked_fill(self.pinned[:, None], 0.0)
        return self.base + change

    def topology(self) -> tuple[MeshEdges, Neighbours]:
        """The edges of the faces and the neighbours of the vertices; found once."""
        if self._topology is None or self._topology[1].starts.device != self.base.device:
            edges = mesh_edges(self.faces, len(self.base))
            self._topology = edges, neighbours(edges.ends, len(self.base))
        return self._topology

    def forward(
        self,
        cameras: Cameras,
        background: Tensor | None = None,
        light: Tensor | None = None,
        normals: bool = False,
    ) -> Rendering:
        """See `Renderer.forward`; with shading "pbr", `light` mixes the albedo with the lit surface.

        extras: `foreground` and `directions` as from a NeRF; `surface`, the (vertices, faces, edges) that were drawn,
        for `mesh_regularizers`.
        """
        vertices, edges = self.vertices, self.topology()[0]
        values = [torch.sigmoid(self.color)] if self.config.color == "vertex" else [self.uv]
        if self.config.shading == "pbr":
            values.append(torch.sigmoid(self.material))
        rendering = draw(
            vertices,
            self.faces,
            edges,
            torch.cat(values, 1),
            self._paint if self.config.color == "vertex" else self._paint_texture,
            cameras,
            self.background if background is None else background,
            light,
            normals,
            self.config.supersampling,
            self._lit if self.config.shading == "pbr" else None,
        )
        rendering.extras["surface"] = (vertices, self.faces, edges)
        return rendering

    def parameter_groups(self) -> list[dict[str, Any]]:
        config = self.config
        groups: list[dict[str, Any]] = [{"name": "color", "params": [self.color], "lr": config.lr_color}]
        if config.move:
            groups.insert(0, {"name": "vertices", "params": [self.change], "lr": config.lr_vertices})
        if config.shading == "pbr":
            groups.append({"name": "material", "params": [self.material], "lr": config.lr_material})
            groups.append({"name": "environment", "params": [self.environment], "lr": config.lr_environment})
        if isinstance(self.background, Environment):
            groups.append(
                {"name": "background", "params": list(self.background.parameters()), "lr": config.background.lr}
            )
        return groups

    def advance(self, step: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Folds the last step into the vertices."""
        with torch.no_grad():
            self.base.copy_(self.vertices)
            self.change.zero_()

    @torch.no_grad()
    def to_mesh(self, resolution: int = 128, threshold: float | None = None) -> Mesh:
        """The mesh as it is, with its colours or its texture; the arguments are those of a density, without effect."""
        vertices, faces = self.vertices.cpu().numpy(), self.faces.cpu().numpy()
        colors = torch.sigmoid(self.color).cpu().numpy()
        if self.config.color == "vertex":
            return Mesh(vertices, faces, colors)
        return Mesh(vertices, faces, uv=self.uv.cpu().numpy(), texture=colors)

    def own_surface(self) -> Mesh:
        return self.to_mesh()

    def start_from(self, other: Renderer) -> None:
        """The other's surface in its colours; see `from_mesh`."""
        self.load_state_dict(type(self).from_mesh(colored(other), self.config, self.generator).state_dict())

    def color_at(self, points: Tensor) -> Tensor:
        """Of the nearest point of the surface."""
        return color_of(self.to_mesh(), points)

    def density_at(self, points: Tensor) -> Tensor:
        """A solid with a thin skin, for what asks all renderers alike; the surface itself comes from `to_mesh`."""
        return density_of(self.to_mesh(), points)

    def _paint(self, fragments: Fragments) -> Tensor:
        return fragments.values[:, :3]

    def _paint_texture(self, fragments: Fragments) -> Tensor:
        texture = torch.sigmoid(self.color)
        size = (texture.shape[0], texture.shape[1])
        vertices = self.vertices.detach()
        level = texture_level(self.uv, vertices, self.faces, fragments.triangle, fragments.cameras, size)
        return sample_mipmaps(mipmaps(texture), fragments.values[:, :2], level[fragments.hit])

    def _lit(self, fragments: Fragments, albedo: Tensor, normal: Tensor, to_camera: Tensor) -> Tensor:
        metallic, roughness = fragments.values[:, -2:].unbind(1)
        return metallic_roughness(albedo, metallic, roughness, normal, to_camera, self.environment)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("base", "faces", "uv", "change", "color", "material"):
            saved, own = state_dict.get(prefix + name), getattr(self, name, None)
            if saved is not None and own is not None and saved.shape != own.shape:
                own.data = own.data.new_empty(saved.shape)
        pinned = state_dict.get(prefix + "pinned")
        self.pinned = None if pinned is None else torch.empty_like(pinned, device=self.base.device)
        self._topology = None
        super()._load_from_state_dict(state_dict, prefix, *args)


def initial_colors(mesh: Mesh, config: MeshConfig) -> np.ndarray:
    """What the colours start from: [V, 3] or [T, T, 3] float32; mid grey where the mesh has none."""
    if config.color == "texture":
        if mesh.texture is not None:
            return np.float32(mesh.texture)
        if mesh.colors is not None:
            return np.float32(bake(mesh, lambda points: color_of(mesh, points), config.texture_size).texture)
        return np.full((config.texture_size, config.texture_size, 3), 0.5, np.float32)
    if mesh.texture is not None and mesh.colors is None:
        return color_of(mesh, torch.from_numpy(mesh.vertices)).numpy()
    return np.full((len(mesh.vertices), 3), 0.5, np.float32) if mesh.colors is None else np.float32(mesh.colors)


def colored(renderer: Renderer) -> Mesh:
    """The surface of another renderer with a colour at each vertex."""
    mesh = renderer.to_mesh()
    if mesh.colors is None and mesh.texture is None:
        with torch.no_grad():
            device = next(renderer.parameters()).device
            mesh.colors = renderer.color_at(torch.from_numpy(mesh.vertices).to(device)).cpu().numpy()
    return mesh


def checked(mesh: Mesh) -> Mesh:
    """The mesh, if it can be drawn.

    Raises:
        UserError: it cannot, and why.
    """
    if not len(mesh.faces):
        raise UserError(f"the mesh {mesh.name!r} has no faces; a renderer needs a surface")
    if not np.isfinite(mesh.vertices).all():
        bad = int((~np.isfinite(mesh.vertices)).any(1).sum())
        raise UserError(f"the mesh {mesh.name!r} has {bad} vertices that are not finite; repair the file")
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
        raise UserError(f"the mesh {mesh.name!r} has faces that point outside its {len(mesh.vertices)} vertices")
    return mesh
