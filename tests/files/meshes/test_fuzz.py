"""Thousands of damaged files: each is read, or refused in one line; no traceback, no hang, no unbounded memory.

A few hundred here; DISTILL3D_FUZZ=20000 in the environment tries so many of each kind, with fresh randomness.
"""

import json
import os
import resource
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill3d.core.errors import UserError
from distill3d.files.meshes import read_mesh
from tests.files.meshes.good_files import chunked, parts_of, write_all

EXAMPLES = int(os.environ.get("DISTILL3D_FUZZ", "0"))
FUZZ = settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
MOST_SECONDS = 2.0  # the files have a few kilobytes
MOST_MEMORY = 1 << 30  # bytes on top of what the process has
NAMES = [
    "cube.obj", "cube.mtl", "my picture.png", "ball.glb", "square.glb", "square.gltf", "inside.gltf", "text.ply",
    "mixed.ply", "ball.ply", "ball.stl", "text.stl",
]  # fmt: skip
NUMBERS = [b"-1", b"0", b"1e400", b"nan", b"99999999999999999999", b"4294967295", b"2147483648", b"1000000000", b"x"]
WORDS = [b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f", b"\x01\0\0\0"]
INTEGERS = [-1, 0, 1, 3, 5, 255, 2**31 - 1, 2**31, 2**40, 10**30, 10**4000]
OTHERS = [0.5, 1e308, "x", "../x", "/etc/passwd", "", None, True, [], {}, [0], [1e38] * 16]
VALUES = st.sampled_from([*INTEGERS, *OTHERS])


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    write_all(folder)
    return {name: (folder / name).read_bytes() for name in NAMES}, folder


@pytest.fixture(autouse=True)
def little_memory():
    """Inside, taking a gigabyte more is a MemoryError, which no reader catches."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST_MEMORY, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def check(folder, name, data):
    """Reads the damaged file, or what names it; puts the good one back."""
    path = folder / name
    read = folder / "cube.obj" if name in ("cube.mtl", "my picture.png") else path
    before = path.read_bytes()
    message, mesh = "", None
    start = time.process_time()  # of this process: the machine may be busy
    try:
        path.write_bytes(data)
        mesh = read_mesh(read).mesh
    except UserError as error:
        message = str(error)
    finally:
        path.write_bytes(before)
    assert time.process_time() - start < MOST_SECONDS
    if mesh is None:
        assert message.startswith(str(read))
        assert "\n" not in message
        assert len(message) < 400 + len(str(read))
    else:
        assert len(mesh.faces)
        assert 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices)
        assert abs(mesh.vertices).max() < 1e16  # not nan either


@st.composite
def damaged(draw, content):
    """Bytes changed, cut, doubled, put in or taken out; numbers of a text replaced."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        what = draw(st.sampled_from(["flip", "cut", "remove", "double", "insert", "word", "number"]))
        length = draw(st.integers(1, 64))
        if what == "flip":
            data[at] = draw(st.integers(0, 255))
        elif what == "cut":
            del data[at:]
        elif what == "remove":
            del data[at : at + length]
        elif what == "double":
            data[at:at] = data[at : at + length]
        elif what == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif what == "word":  # four bytes of a binary: a count, an offset, a float
            at -= at % 4
            data[at : at + 4] = draw(st.sampled_from(WORDS))
        else:
            words = bytes(data).split(b" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(NUMBERS))
            data = bytearray(b" ".join(words))
    return bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_bytes(good, name):
    contents, folder = good

    @FUZZ
    @given(damaged(contents[name]))
    def attack(data):
        check(folder, name, data)

    attack()


def places(tree, path=()):
    """Every key and index of a JSON tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in items for place in ([*path, key], *places(value, (*path, key)))]


@st.composite
def rewritten(draw, document):
    """The document with a few values replaced, taken out, or copied from elsewhere."""
    tree = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        found = places(tree)
        if not found:
            break
        *above, key = draw(st.sampled_from(found))
        owner = tree
        for step in above:
            owner = owner[step]
        what = draw(st.sampled_from(["value", "remove", "number"]))
        if what == "remove":
            del owner[key]
        elif what == "number":
            owner[key] = draw(st.integers(-2, 300))
        else:
            owner[key] = draw(VALUES)
    return tree


@pytest.mark.parametrize("name", ["ball.glb", "square.glb"])
def test_damaged_json(good, name):
    contents, folder = good
    document, binary = parts_of(contents[name])

    @FUZZ
    @given(rewritten(document))
    def attack(tree):
        check(folder, name, chunked(tree, binary))

    attack()


def test_the_hunt_would_find_something(good, monkeypatch):
    """Negative control: without the check of the face's indices, damaged bytes end in a traceback."""
    contents, folder = good
    monkeypatch.setattr("distill3d.files.meshes.ply_reading._polygons", unchecked)

    with pytest.raises(IndexError):
        check(folder, "text.ply", contents["text.ply"].replace(b"3 1 2 4 0", b"3 1 2 9 0"))


def unchecked(tables, vertices):
    return tables["face"]["vertex_indices"], tables["face"]
