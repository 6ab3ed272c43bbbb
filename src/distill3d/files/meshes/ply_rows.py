"""The rows of a PLY after its header: columns of numbers, and columns of lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill3d.files.meshes.limits import BadMesh
from distill3d.files.meshes.ply_header import Element, PlyHeader


@dataclass
class Lists:
    """A column of lists: `sizes` [N], and all `values` one after another."""

    sizes: np.ndarray
    values: np.ndarray


Table = dict[str, np.ndarray | Lists]


def binary_tables(data: bytes, header: PlyHeader) -> dict[str, Table]:
    """Every element of a binary file, by name.

    Raises:
        BadMesh: the file ends before its rows do, or goes on after them.
    """
    tables, at = {}, header.body
    for element in header.elements:
        tables[element.name], at = _binary_element(data, at, element, header.order)
    if data[at:].strip(b"\r\n\0 "):
        raise BadMesh(f"{len(data) - at:,} bytes follow its last row: its header declares too few")
    return tables


def _binary_element(data: bytes, at: int, element: Element, order: str) -> tuple[Table, int]:
    """All rows at once where every list of a column has the length that it has in the first row, else one by one."""
    sizes = _sizes_of_first_row(data, at, element, order) if element.rows else {}
    fields: list[tuple[str, object]] = []
    for p in element.properties:
        if p.count is None:
            fields.append((f"value {p.name}", order + p.kind))
        else:
            fields += [
                (f"count {p.name}", order + p.count),
                (f"value {p.name}", (order + p.kind, (sizes.get(p.name, 0),))),
            ]
    kind = np.dtype(fields)  # type: ignore[arg-type]
    if kind.itemsize * element.rows <= len(data) - at:
        rows = np.frombuffer(data, kind, element.rows, at) if element.rows else np.zeros(0, kind)
        lists = [p for p in element.properties if p.count is not None]
        if all((rows[f"count {p.name}"] == sizes.get(p.name, 0)).all() for p in lists):
            table: Table = {}
            for p in element.properties:
                values = rows[f"value {p.name}"]
                if p.count is None:
                    table[p.name] = values
                else:
                    table[p.name] = Lists(np.full(element.rows, sizes.get(p.name, 0)), values.reshape(-1))
            return table, at + kind.itemsize * element.rows
    if not any(p.count for p in element.properties):
        raise BadMesh(f"it ends in the rows of {element.name}: {len(data) - at:,} bytes are there for {element.rows:,}")
    return _one_by_one(data, at, element, order)


def _sizes_of_first_row(data: bytes, at: int, element: Element, order: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for p in element.properties:
        if p.count is not None:
            length = _one(data, at, order + p.count, element, 0)
            at += np.dtype(p.count).itemsize
            sizes[p.name] = _length(length, element, 0, (len(data) - at) // np.dtype(p.kind).itemsize)
            at += sizes[p.name] * np.dtype(p.kind).itemsize
        else:
            at += np.dtype(p.kind).itemsize
    return sizes


def _one_by_one(data: bytes, at: int, element: Element, order: str) -> tuple[Table, int]:
    """Rows whose lists differ in length."""
    kinds = [(p, np.dtype(order + p.kind), np.dtype(order + p.count) if p.count else None) for p in element.properties]
    sign = {p.name: (p.count or "u")[0] == "i" for p in element.properties}
    end = "little" if order == "<" else "big"
    sizes: dict[str, list[int]] = {p.name: [] for p in element.properties}
    spans: dict[str, list[bytes]] = {p.name: [] for p in element.properties}
    for row in range(element.rows):
        for p, kind, count in kinds:
            length = 1
            if count is not None:
                head = data[at : at + count.itemsize]
                at += count.itemsize
                length = int.from_bytes(head, end, signed=sign[p.name])  # type: ignore[arg-type]
                _length(length, element, row, (len(data) - at) // kind.itemsize)
            span = data[at : at + length * kind.itemsize]
            if len(span) < length * kind.itemsize:
                raise BadMesh(f"it ends in row {row:,} of {element.name}")
            at += len(span)
            sizes[p.name].append(length)
            spans[p.name].append(span)
    table: Table = {}
    for p, kind, count in kinds:
        values = np.frombuffer(b"".join(spans[p.name]), kind)
        table[p.name] = values if count is None else Lists(np.array(sizes[p.name], np.int64), values)
    return table, at


def text_tables(data: bytes, header: PlyHeader) -> dict[str, Table]:
    """Every element of a text, by name.

    Raises:
        BadMesh: a word that is no number; too few or too many of them.
    """
    words = data[header.body :].split()
    try:
        numbers = np.array(words, dtype=np.float64) if words else np.zeros(0)
    except ValueError:
        wrong = next(word for word in words if not _is_number(word))
        raise BadMesh(f"{wrong[:20].decode('latin-1')!r} among its rows is not a number") from None
    del words
    tables: dict[str, Table] = {}
    at = 0
    for element in header.elements:
        tables[element.name], at = _text_element(numbers, at, element)
    if at < len(numbers):
        raise BadMesh(f"{len(numbers) - at:,} numbers follow its last row: its header declares too few")
    return tables


def _text_element(numbers: np.ndarray, at: int, element: Element) -> tuple[Table, int]:
    names = [p.name for p in element.properties]
    if not any(p.count for p in element.properties):
        end = at + element.rows * len(names)
        if end > len(numbers):
            raise BadMesh(f"it ends in the rows of {element.name}: {(len(numbers) - at) // len(names):,} are there")
        columns = numbers[at:end].reshape(-1, len(names))
        table: Table = {p.name: _typed(columns[:, k], p.kind, element) for k, p in enumerate(element.properties)}
        return table, end
    sizes: dict[str, list[int]] = {name: [] for name in names}
    spans: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for row in range(element.rows):
        for p in element.properties:
            length = 1
            if p.count is not None:
                if at == len(numbers):
                    raise BadMesh(f"it ends in row {row:,} of {element.name}")
                at += 1
                length = _length(numbers[at - 1], element, row, len(numbers) - at)
            if at + length > len(numbers):
                raise BadMesh(f"it ends in row {row:,} of {element.name}")
            sizes[p.name].append(length)
            spans[p.name].append(numbers[at : at + length])
            at += length
    table = {}
    for p in element.properties:
        values = _typed(np.concatenate(spans[p.name]) if spans[p.name] else np.zeros(0), p.kind, element)
        table[p.name] = values if p.count is None else Lists(np.array(sizes[p.name], np.int64), values)
    return table, at


def _typed(values: np.ndarray, kind: str, element: Element) -> np.ndarray:
    """Numbers of a text as the type that the header gives them."""
    if kind[0] == "f":
        return values
    bounds = np.iinfo(kind)
    with np.errstate(invalid="ignore"):
        fits = (values >= bounds.min) & (values <= bounds.max) & (values % 1 == 0)
    if not fits.all():
        raise BadMesh(f"a number in the rows of {element.name} does not fit its type ({np.dtype(kind).name})")
    return values.astype(kind)


def _one(data: bytes, at: int, kind: str, element: Element, row: int) -> int:
    if at + np.dtype(kind).itemsize > len(data):
        raise BadMesh(f"it ends in row {row:,} of {element.name}")
    return int(np.frombuffer(data, kind, 1, at)[0])


def _length(value: float, element: Element, row: int, room: int) -> int:
    if value < 0 or value > room or value % 1:
        raise BadMesh(f"row {row:,} of {element.name} declares a list of {value:,.0f}; the file has room for {room:,}")
    return int(value)


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
