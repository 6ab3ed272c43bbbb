"""What a glTF 2.0 file may say, as far as a surface and its colours need it (Khronos, "glTF 2.0 Specification", 2021).

Every number is checked here, by pydantic: of the right type, not negative, finite. Whether an index exists and an
offset lies inside its buffer is checked where it is used. Keys that are not listed are ignored.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distill3d.files.meshes.limits import BadMesh

MOST_VALUES = 4_000_000  # numbers, words and brackets of the JSON: each takes a hundred bytes while it is read

Index = Annotated[int, Field(ge=0, lt=1 << 31)]
Bytes = Annotated[int, Field(ge=0, lt=1 << 40)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Vector3 = tuple[Number, Number, Number]
Vector4 = tuple[Number, Number, Number, Number]


class Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class Asset(Lenient):
    version: str


class Buffer(Lenient):
    byteLength: Bytes
    uri: str | None = None


class BufferView(Lenient):
    buffer: Index
    byteLength: Bytes
    byteOffset: Bytes = 0
    byteStride: int | None = Field(None, ge=1, le=252)


class SparseIndices(Lenient):
    bufferView: Index
    componentType: Literal[5121, 5123, 5125]
    byteOffset: Bytes = 0


class SparseValues(Lenient):
    bufferView: Index
    byteOffset: Bytes = 0


class Sparse(Lenient):
    count: Index
    indices: SparseIndices
    values: SparseValues


class Accessor(Lenient):
    componentType: Literal[5120, 5121, 5122, 5123, 5125, 5126]
    count: Index
    type: Literal["SCALAR", "VEC2", "VEC3", "VEC4", "MAT2", "MAT3", "MAT4"]
    bufferView: Index | None = None
    byteOffset: Bytes = 0
    normalized: bool = False
    sparse: Sparse | None = None


class TextureTransform(Lenient):
    """KHR_texture_transform."""

    offset: tuple[Number, Number] = (0.0, 0.0)
    rotation: Number = 0.0
    scale: tuple[Number, Number] = (1.0, 1.0)
    texCoord: Index | None = None


class TextureInfoExtensions(Lenient):
    KHR_texture_transform: TextureTransform | None = None


class TextureInfo(Lenient):
    index: Index
    texCoord: Index = 0
    extensions: TextureInfoExtensions = TextureInfoExtensions()


class MetallicRoughness(Lenient):
    baseColorFactor: Vector4 = (1.0, 1.0, 1.0, 1.0)
    baseColorTexture: TextureInfo | None = None


class SpecularGlossiness(Lenient):
    """KHR_materials_pbrSpecularGlossiness, which older files use."""

    diffuseFactor: Vector4 = (1.0, 1.0, 1.0, 1.0)
    diffuseTexture: TextureInfo | None = None


class MaterialExtensions(Lenient):
    KHR_materials_pbrSpecularGlossiness: SpecularGlossiness | None = None


class Material(Lenient):
    pbrMetallicRoughness: MetallicRoughness = MetallicRoughness()
    extensions: MaterialExtensions = MaterialExtensions()


class Primitive(Lenient):
    attributes: dict[str, Index]
    indices: Index | None = None
    material: Index | None = None
    mode: int = Field(4, ge=0, le=6)


class Mesh(Lenient):
    primitives: list[Primitive]
    name: str | None = None


class Node(Lenient):
    mesh: Index | None = None
    children: list[Index] = Field(default_factory=list)
    matrix: list[Number] | None = Field(None, min_length=16, max_length=16)
    translation: Vector3 = (0.0, 0.0, 0.0)
    rotation: Vector4 = (0.0, 0.0, 0.0, 1.0)
    scale: Vector3 = (1.0, 1.0, 1.0)
    skin: Index | None = None
    name: str | None = None


class Scene(Lenient):
    nodes: list[Index] = Field(default_factory=list)


class WebpTexture(Lenient):
    source: Index


class TextureExtensions(Lenient):
    EXT_texture_webp: WebpTexture | None = None


class Texture(Lenient):
    source: Index | None = None
    sampler: Index | None = None
    extensions: TextureExtensions = TextureExtensions()


class Sampler(Lenient):
    wrapS: Literal[33071, 33648, 10497] = 10497
    wrapT: Literal[33071, 33648, 10497] = 10497


class Image(Lenient):
    uri: str | None = None
    bufferView: Index | None = None


class Document(Lenient):
    asset: Asset
    extensionsRequired: list[str] = Field(default_factory=list)
    scene: Index = 0
    scenes: list[Scene] = Field(default_factory=list)
    nodes: list[Node] = Field(default_factory=list)
    meshes: list[Mesh] = Field(default_factory=list)
    materials: list[Material] = Field(default_factory=list)
    textures: list[Texture] = Field(default_factory=list)
    samplers: list[Sampler] = Field(default_factory=list)
    images: list[Image] = Field(default_factory=list)
    accessors: list[Accessor] = Field(default_factory=list)
    bufferViews: list[BufferView] = Field(default_factory=list)
    buffers: list[Buffer] = Field(default_factory=list)


def parse_document(text: bytes) -> Document:
    """The checked document in the JSON of a file.

    Raises:
        BadMesh: no JSON, too much of it, or a key of the wrong type; names the key.
    """
    if sum(text.count(mark) for mark in (b",", b"[", b"{", b":")) > MOST_VALUES:
        raise BadMesh(f"its JSON has more than {MOST_VALUES:,} values")
    try:
        with _no_collection():
            document = Document.model_validate_json(text.removeprefix(codecs.BOM_UTF8))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadMesh(f"its JSON{place and f', {place}'}: {first['msg']}{_shown(first['input'])}") from None
    if document.asset.version.partition(".")[0] != "2":
        raise BadMesh(f"it is glTF {document.asset.version[:10]!r}; version 2 is read")
    return document


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without Python's garbage collector, which would walk a hundred thousand nodes again and again and find nothing:
    reading takes a third of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _shown(value: Any) -> str:
    """What was found, where it is short enough to say."""
    short = (isinstance(value, int) and abs(value) < 1 << 64) or (
        isinstance(value, (float, str)) and len(str(value)) <= 40
    )
    return f" (got {value!r})" if short else ""
