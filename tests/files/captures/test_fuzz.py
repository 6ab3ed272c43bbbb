"""Mutations of good files give a capture or one line of complaint: never another exception, a hang, or much memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill3d.core.errors import UserError
from distill3d.files.captures.capture import read_capture, read_layout
from distill3d.files.captures.layout import with_pictures
from tests.files.captures.scenes import write_colmap, write_transforms

SLOW = 5.0  # seconds that no reading of a few kilobytes may take
MEMORY = 600 << 20  # bytes that the tests may add
QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = [b"NaN", b"-1", b"1e999", b"null", b"[]", b"{}", b'"', b"0", b"999999999999999999999", b"\xff", b"\0", b"true"]

mutation = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 10**6), st.integers(0, 255)),
    st.tuples(st.just("cut"), st.integers(0, 10**6), st.integers(1, 400)),
    st.tuples(st.just("twice"), st.integers(0, 10**6), st.integers(1, 400)),
    st.tuples(st.just("word"), st.integers(0, 10**6), st.integers(0, len(WORDS) - 1)),
    st.tuples(st.just("end"), st.integers(0, 10**6), st.just(0)),
)


def mutated(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    for kind, place, value in changes:
        at = place % max(len(data), 1)
        if kind == "flip":
            data = data[:at] + bytes([value]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at] + data[at + value :]
        elif kind == "twice":
            data = data[: at + value] + data[at:]
        elif kind == "word":
            data = data[:at] + WORDS[value] + data[at + len(WORDS[value]) :]
        else:
            data = data[:at]
    return data


@cache
def good(kind: str) -> tuple[Path, dict[str, bytes]]:
    """A capture, and the bytes of the files that are to be damaged."""
    folder = Path(mkdtemp())
    if kind == "transforms":
        path = write_transforms(folder, count=4, k1=0.05, p1=0.001)
        return folder, {str(path): path.read_bytes()}
    model = write_colmap(folder, binary=kind == "binary", count=4)
    return folder, {str(path): path.read_bytes() for path in sorted(model.iterdir())}


def complaint_of(reading: Callable[[], object]) -> str:
    """The one error that reading may end with; "" where it went well."""
    try:
        reading()
    except UserError as error:
        return str(error)
    return ""


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@pytest.mark.parametrize("kind", ["transforms", "binary", "text"])
@QUICK
@given(which=st.integers(0, 2), changes=st.lists(mutation, min_size=1, max_size=4))
def test_damaged_descriptions(kind: str, which: int, changes: list[tuple[str, int, int]]) -> None:
    folder, files = good(kind)
    name = sorted(files)[which % len(files)]
    before, start = peak(), time.monotonic()
    Path(name).write_bytes(mutated(files[name], changes))
    try:
        complaint = complaint_of(lambda: with_pictures(read_layout(folder)))
    finally:
        Path(name).write_bytes(files[name])
    assert "\n" not in complaint
    assert len(complaint) < 3000
    assert time.monotonic() - start < SLOW
    assert peak() - before < MEMORY


@settings(max_examples=40, deadline=None)
@given(changes=st.lists(mutation, min_size=1, max_size=4))
def test_damaged_pictures(changes: list[tuple[str, int, int]]) -> None:
    folder, _ = good("transforms")
    path = folder / "images" / "002.png"
    whole = path.read_bytes()
    before = peak()
    path.write_bytes(mutated(whole, changes))
    try:
        complaint = complaint_of(lambda: read_capture(folder))
    finally:
        path.write_bytes(whole)
    assert "\n" not in complaint
    assert peak() - before < MEMORY


def test_the_good_files_are_read() -> None:
    """The mutations start from files that are right: without damage nothing is refused."""
    for kind in ("transforms", "binary", "text"):
        assert len(read_capture(good(kind)[0]).cameras) == 4
