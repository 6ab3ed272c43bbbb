"""Numbers out of the buffers of a glTF file; nothing is taken from beyond their ends."""

from __future__ import annotations

import base64
import binascii
import functools
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

import numpy as np

from distill3d.files.meshes.beside import read_beside
from distill3d.files.meshes.gltf_document import Accessor, Document, parse_document
from distill3d.files.meshes.limits import MOST_BYTES, MOST_VERTICES, BadMesh

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
T = TypeVar("T")


def chosen(items: Sequence[T], index: int, what: str) -> T:
    """`items[index]`, or a BadMesh that says what is not there."""
    if index >= len(items):
        raise BadMesh(f"it names {what} {index}, of which there are {len(items)}")
    return items[index]


def open_glb(data: bytes) -> tuple[Document, bytes | None]:
    """The document and the binary chunk of a GLB.

    Raises:
        BadMesh: another version, or chunks that do not add up to the file's length.
    """
    if len(data) < 20:
        raise BadMesh(f"it breaks off in its header ({len(data)} bytes)")
    magic, version, length = struct.unpack_from("<4sII", data)
    if magic != b"glTF":
        raise BadMesh('it does not begin with "glTF", as a GLB does')
    if version != 2:
        raise BadMesh(f"it is glTF version {version}; version 2 is read")
    if length != len(data):
        raise BadMesh(f"its header declares {length:,} bytes, and it has {len(data):,}")
    at, chunks = 12, []
    while at < length:
        if at + 8 > length:
            raise BadMesh("it breaks off in the header of a chunk")
        size, kind = struct.unpack_from("<II", data, at)
        if at + 8 + size > length:
            raise BadMesh(f"a chunk declares {size:,} bytes, and {length - at - 8:,} are left")
        chunks.append((kind, at + 8, size))
        at += 8 + size
    if not chunks or chunks[0][0] != JSON_CHUNK:
        raise BadMesh("its first chunk is not JSON")
    _, start, size = chunks[0]
    binary = next((data[s : s + n] for kind, s, n in chunks[1:2] if kind == BINARY_CHUNK), None)
    return parse_document(data[start : start + size]), binary


class Buffers:
    """The buffers of a document, read when they are first asked for.

    Args:
        document: checked by `parse_document`. binary: the second chunk of a GLB, or None.
        path: of the file, beside which others may lie.
    """

    def __init__(self, document: Document, binary: bytes | None, path: Path) -> None:
        self.document, self.binary, self.path = document, binary, path
        self.buffer = functools.cache(self._buffer)  # type: ignore[method-assign]
        self.accessor = functools.cache(self._accessor)  # type: ignore[method-assign]

    def _buffer(self, index: int) -> bytes:
        wanted = chosen(self.document.buffers, index, "buffer")
        if wanted.uri is not None:
            data = read_uri(self.path, wanted.uri, MOST_BYTES)
        elif index == 0 and self.binary is not None:
            data = self.binary
        else:
            raise BadMesh(f"buffer {index} has no data")
        if len(data) < wanted.byteLength:
            raise BadMesh(f"buffer {index} declares {wanted.byteLength:,} bytes, and {len(data):,} are there")
        return data

    def view(self, index: int) -> bytes:
        """The bytes of a buffer view."""
        wanted = chosen(self.document.bufferViews, index, "buffer view")
        length = chosen(self.document.buffers, wanted.buffer, "buffer").byteLength
        if wanted.byteOffset + wanted.byteLength > length:
            raise BadMesh(
                f"buffer view {index} ends at byte {wanted.byteOffset + wanted.byteLength:,} of a buffer of {length:,}"
            )
        return self.buffer(wanted.buffer)[wanted.byteOffset : wanted.byteOffset + wanted.byteLength]

    def described(self, index: int) -> Accessor:
        """What an accessor says about itself; nothing is read."""
        return chosen(self.document.accessors, index, "accessor")

    def _accessor(self, index: int) -> np.ndarray:
        """The numbers of an accessor, [count, width]; normalised integers as fractions.

        Raises:
            BadMesh: it reaches beyond its view, or its substitutes do not fit.
        """
        wanted = self.described(index)
        kind, width = np.dtype(COMPONENTS[wanted.componentType]), WIDTHS[wanted.type]
        if wanted.count > 3 * MOST_VERTICES:
            raise BadMesh(f"accessor {index} declares {wanted.count:,} elements, more than are read")
        if wanted.bufferView is None:
            values = np.zeros((wanted.count, width), kind)
        else:
            stride = self.document.bufferViews[wanted.bufferView].byteStride if self._has(wanted.bufferView) else None
            values = self._rows(wanted.bufferView, wanted.byteOffset, wanted.count, kind, width, stride, index)
        if wanted.sparse is not None:
            values = self._substituted(values, wanted, kind, width, index)
        if wanted.normalized and kind.kind in "iu":
            values = np.maximum(values.astype(np.float64) / np.iinfo(kind).max, -1.0)
        return values

    def _has(self, view: int) -> bool:
        return view < len(self.document.bufferViews)

    def _rows(
        self, view: int, offset: int, count: int, kind: np.dtype, width: int, stride: int | None, index: int
    ) -> np.ndarray:
        data = self.view(view)
        row = kind.itemsize * width
        stride = stride or row
        needed = offset + (count - 1) * stride + row if count else offset
        if needed > len(data):
            raise BadMesh(f"accessor {index} ends at byte {needed:,} of buffer view {view}, which has {len(data):,}")
        if not count:
            return np.zeros((0, width), kind)
        rows = np.lib.stride_tricks.as_strided(
            np.frombuffer(data, np.uint8, needed - offset, offset), (count, row), (stride, 1), writeable=False
        )
        return np.ascontiguousarray(rows).view(kind).reshape(count, width)

    def _substituted(self, values: np.ndarray, wanted: Accessor, kind: np.dtype, width: int, index: int) -> np.ndarray:
        sparse = wanted.sparse
        assert sparse is not None
        if sparse.count > wanted.count:
            raise BadMesh(f"accessor {index} replaces {sparse.count:,} of {wanted.count:,} elements")
        place = sparse.indices
        where = np.dtype(COMPONENTS[place.componentType])
        rows = self._rows(place.bufferView, place.byteOffset, sparse.count, where, 1, None, index)[:, 0]
        if len(rows) and rows.max() >= wanted.count:
            raise BadMesh(f"accessor {index} replaces element {rows.max():,} of {wanted.count:,}")
        values = values.copy()
        values[rows] = self._rows(
            sparse.values.bufferView, sparse.values.byteOffset, sparse.count, kind, width, None, index
        )
        return values


def read_uri(path: Path, uri: str, most: int) -> bytes:
    """What a URI in a file stands for: base64 data, or a file in its folder.

    Raises:
        BadMesh: neither; see `beside.read_beside`.
    """
    if uri.startswith("data:"):
        head, comma, content = uri.partition(",")
        if not comma or not head.endswith(";base64"):
            raise BadMesh("it has a data URI that is not base64")
        try:
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            raise BadMesh("it has a data URI whose base64 is damaged") from None
    return read_beside(path, unquote(uri), most)
