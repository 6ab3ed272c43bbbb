"""glTF 2.0, binary and text: the triangles of its default scene, where its nodes put them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from distill3d.files.meshes.beside import MissingFile
from distill3d.files.meshes.gltf_buffers import Buffers, chosen, open_glb, read_uri
from distill3d.files.meshes.gltf_document import Document, Node, Primitive, TextureInfo, parse_document
from distill3d.files.meshes.limits import MOST_FACES, MOST_VERTICES, BadMesh
from distill3d.files.meshes.parts import Material, Part, Parts, Wrap, stored
from distill3d.files.meshes.texture_reading import MOST_BYTES, PictureBudget

UNDERSTOOD = {  # extensions that a file may require; of the others, their absence would show
    "KHR_mesh_quantization", "KHR_texture_transform", "EXT_texture_webp", "KHR_materials_pbrSpecularGlossiness",
    "KHR_materials_unlit", "KHR_materials_emissive_strength", "KHR_materials_ior", "KHR_materials_specular",
    "KHR_materials_clearcoat", "KHR_materials_sheen", "KHR_materials_volume", "KHR_materials_transmission",
    "KHR_materials_variants", "KHR_materials_iridescence", "KHR_materials_anisotropy", "KHR_lights_punctual",
}  # fmt: skip
TRIANGLES, STRIP, FAN = 4, 5, 6
MOST_NODES, MOST_PRIMITIVES = 200_000, 50_000
WRAPS: dict[int, Wrap] = {33071: "clamp", 33648: "mirror", 10497: "repeat"}


def read_gltf(data: bytes, path: Path, pictures: PictureBudget, binary: bool) -> Parts:
    """The surface in a glTF or GLB file, in its own axes (y up).

    Read are triangles, strips and fans, the transforms of the nodes, base colour (factor and picture), vertex colours,
    texture coordinates with KHR_texture_transform, sparse and quantised accessors. Left out, with a notice where it
    shows: lines and points, poses of skins, animations, transparency.

    Raises:
        BadMesh: anything out of range, a circle of nodes, a compression that is not understood.
    """
    document, chunk = open_glb(data) if binary else (parse_document(data), None)
    for name in document.extensionsRequired:
        if name not in UNDERSTOOD:
            raise BadMesh(f"it needs the extension {name[:60]}, which is not understood; export it without")
    buffers = Buffers(document, chunk, path)
    materials = _Materials(document, buffers, path, pictures)
    found = materials.found
    order = _walk(document)
    _check_size(document, buffers, [document.nodes[index] for index, _ in order])
    for node, matrix in _placed(document, order, found):
        assert node.mesh is not None
        mesh = document.meshes[node.mesh]
        found.name = mesh.name or node.name or found.name if found.name == "asset" else found.name
        for primitive in mesh.primitives:
            if primitive.mode < TRIANGLES:
                found.note("its lines and points are left out")
            else:
                found.parts.append(_part(primitive, matrix, buffers, materials))
    if not sum(len(part.faces) for part in found.parts):
        raise BadMesh("it holds no faces")
    found.notices += pictures.notices
    return found


def _walk(document: Document) -> list[tuple[int, int]]:
    """The nodes of the default scene, parents first, each with the place of its parent in this list (-1 for none).

    Raises:
        BadMesh: a node stands in two places, or in a circle; or there are more than are read.
    """
    nodes = document.nodes
    if document.scenes:
        roots = list(chosen(document.scenes, document.scene, "scene").nodes)
    else:
        children = {child for node in nodes for child in node.children}
        roots = [index for index in range(len(nodes)) if index not in children]
    met: set[int] = set()
    order: list[tuple[int, int]] = []
    waiting = [(index, -1) for index in reversed(roots)]
    while waiting:
        index, parent = waiting.pop()
        if index in met:
            raise BadMesh(f"node {index} stands in two places of its tree, or in a circle")
        if len(met) == MOST_NODES:
            raise BadMesh(f"it has more than {MOST_NODES:,} nodes")
        met.add(index)
        waiting += [(child, len(order)) for child in reversed(chosen(nodes, index, "node").children)]
        order.append((index, parent))
    return order


def _placed(document: Document, order: list[tuple[int, int]], found: Parts) -> Iterator[tuple[Node, np.ndarray]]:
    """The nodes with a mesh, and the transform [4, 4] of each into the scene."""
    matrices: list[np.ndarray] = []
    for index, parent in order:
        node = document.nodes[index]
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later, with its place
            own = _transform(node, index)
            matrices.append(own if parent < 0 else matrices[parent] @ own)
        if node.mesh is not None and node.skin is None:
            yield node, matrices[-1]
        elif node.mesh is not None:
            found.note("it has a skin; the surface is taken in the pose in which it is stored")
            yield node, np.eye(4)  # the specification: the transform of a skinned node does not count


def _transform(node: Node, index: int) -> np.ndarray:
    if node.matrix is not None:
        return np.array(node.matrix).reshape(4, 4).T
    x, y, z, w = node.rotation
    length = x * x + y * y + z * z + w * w
    if not 1e-12 < length < 1e12:
        raise BadMesh(f"the rotation of node {index} is no rotation")
    s = 2.0 / length
    rotation = np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
            [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
            [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.scale)
    matrix[:3, 3] = node.translation
    return matrix


def _check_size(document: Document, buffers: Buffers, nodes: list[Node]) -> None:
    """Adds up what all instances would take, before any is made: one small mesh can stand in a million places."""
    vertices = corners = primitives = 0
    for node in nodes:
        for primitive in chosen(document.meshes, node.mesh, "mesh").primitives if node.mesh is not None else ():
            primitives += 1
            if "POSITION" in primitive.attributes:
                count = buffers.described(primitive.attributes["POSITION"]).count
                vertices += count
                corners += count if primitive.indices is None else buffers.described(primitive.indices).count
            if vertices > MOST_VERTICES or corners > 3 * MOST_FACES or primitives > MOST_PRIMITIVES:
                raise BadMesh("all its instances together have more triangles than are read; decimate it first")


def _part(primitive: Primitive, matrix: np.ndarray, buffers: Buffers, materials: _Materials) -> Part:
    attributes = primitive.attributes
    if "POSITION" not in attributes:
        return Part(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    stored_positions = _attribute(buffers, attributes, "POSITION", (3,))
    count = len(stored_positions)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later, with its place
        positions = stored_positions.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    faces = _faces(primitive, buffers, count)
    if np.linalg.det(matrix[:3, :3]) < 0:  # a mirrored instance: its triangles would face inwards
        faces = np.ascontiguousarray(faces[:, ::-1])
    part = Part(positions, faces, material=materials.plain)
    info = None
    if primitive.material is not None:
        part.material, info = materials(primitive.material)
    if info is not None and part.material.picture is not None:
        part.uv = _texcoords(info, buffers, attributes, count)
        if part.uv is None:
            part.material = Material(part.material.tint)
            materials.found.note("a picture has no texture coordinates; its material keeps its plain colour")
    if "COLOR_0" in attributes:
        light = _attribute(buffers, attributes, "COLOR_0", (3, 4), count)
        part.colors = stored(np.nan_to_num(light[:, :3].astype(np.float64)))
    return part


def _attribute(
    buffers: Buffers, attributes: dict[str, int], name: str, widths: tuple[int, ...], count: int | None = None
) -> np.ndarray:
    values = buffers.accessor(attributes[name])
    if values.shape[1] not in widths or count not in (None, len(values)):
        wanted = f"{'any number' if count is None else count} x {' or '.join(map(str, widths))}"
        raise BadMesh(f"{name} has {values.shape[0]} x {values.shape[1]} numbers, and should have {wanted}")
    if values.dtype.kind in "iu" and name.startswith("COLOR"):  # not marked as normalised, but meant
        values = values.astype(np.float64) / np.iinfo(values.dtype).max
    return values


def _faces(primitive: Primitive, buffers: Buffers, vertices: int) -> np.ndarray:
    if primitive.indices is None:
        corners = np.arange(vertices)
    else:
        values = buffers.accessor(primitive.indices)
        if values.shape[1] != 1 or values.dtype.kind != "u":
            raise BadMesh(f"accessor {primitive.indices} holds no indices")
        corners = values[:, 0].astype(np.int64)
        if len(corners) and corners.max() >= vertices:
            raise BadMesh(f"a face names vertex {corners.max():,}, of which there are {vertices:,}")
    if primitive.mode == TRIANGLES:
        if len(corners) % 3:
            raise BadMesh(f"a list of triangles has {len(corners):,} corners, no multiple of 3")
        return corners.reshape(-1, 3)
    if len(corners) < 3:
        return np.zeros((0, 3), np.int64)
    if primitive.mode == FAN:
        return np.stack([corners[1:-1], corners[2:], np.full(len(corners) - 2, corners[0])], -1)
    faces = np.stack([corners[:-2], corners[1:-1], corners[2:]], -1)
    faces[1::2] = faces[1::2][:, [1, 0, 2]]
    return faces


def _texcoords(info: TextureInfo, buffers: Buffers, attributes: dict[str, int], count: int) -> np.ndarray | None:
    """[V, 2] with (0, 0) at the bottom left, or None where the file has none; glTF counts v downwards."""
    transform = info.extensions.KHR_texture_transform
    which = info.texCoord if transform is None or transform.texCoord is None else transform.texCoord
    if f"TEXCOORD_{which}" not in attributes:
        return None
    uv = _attribute(buffers, attributes, f"TEXCOORD_{which}", (2,), count).astype(np.float64)
    if transform is not None:
        c, s = np.cos(transform.rotation), np.sin(transform.rotation)
        with np.errstate(over="ignore", invalid="ignore"):
            uv = (uv * transform.scale) @ np.array([[c, -s], [s, c]]) + transform.offset
    return np.stack([uv[:, 0], 1.0 - uv[:, 1]], -1)


class _Materials:
    """The materials of a file, each made when a part first uses it."""

    def __init__(self, document: Document, buffers: Buffers, path: Path, pictures: PictureBudget) -> None:
        self.document, self.buffers, self.path, self.pictures = document, buffers, path, pictures
        self.found = Parts()
        self.plain = Material()
        self._made: dict[int, tuple[Material, TextureInfo | None]] = {}
        self._pictures: dict[int, np.ndarray] = {}

    def __call__(self, index: int) -> tuple[Material, TextureInfo | None]:
        if index not in self._made:
            wanted = chosen(self.document.materials, index, "material")
            factor, info = wanted.pbrMetallicRoughness.baseColorFactor, wanted.pbrMetallicRoughness.baseColorTexture
            older = wanted.extensions.KHR_materials_pbrSpecularGlossiness
            if older is not None:
                factor, info = older.diffuseFactor, older.diffuseTexture
            material = Material(np.clip(factor[:3], 0.0, 1.0))
            if info is not None:
                material.picture, material.wrap = self._texture(info.index)
            self._made[index] = material, info
        return self._made[index]

    def _texture(self, index: int) -> tuple[np.ndarray | None, tuple[Wrap, Wrap]]:
        texture = chosen(self.document.textures, index, "texture")
        wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
        if texture.sampler is not None:
            sampler = chosen(self.document.samplers, texture.sampler, "sampler")
            wrap = WRAPS[sampler.wrapS], WRAPS[sampler.wrapT]
        webp = texture.extensions.EXT_texture_webp
        source = texture.source if webp is None else webp.source
        if source is None:
            self.found.note("a texture has no picture that is understood; its material keeps its plain colour")
            return None, wrap
        if source not in self._pictures:
            wanted, name = chosen(self.document.images, source, "image"), f"{source} of its images"
            if wanted.bufferView is not None:
                data = self.buffers.view(wanted.bufferView)
            elif wanted.uri is not None:
                try:
                    data = read_uri(self.path, wanted.uri, MOST_BYTES)
                except MissingFile as fault:
                    self.found.note(f"{fault}; that material keeps its plain colour")
                    return None, wrap
            else:
                raise BadMesh(f"image {source} has neither data nor a file's name")
            self._pictures[source] = self.pictures.decode(data, name)
        return self._pictures[source], wrap
