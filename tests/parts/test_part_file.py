"""Shapes of parts on disk: the same bits again, and one line for whatever is wrong."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from distill3d.core.errors import UserError
from distill3d.parts import part_file
from distill3d.parts.part_file import FORMAT, read_parts, write_parts
from tests.parts.tiny import tiny_network, tiny_shape


@pytest.fixture(scope="module")
def shape():
    return tiny_shape(tiny_network())


def test_the_same_bits_come_back_and_equal_shapes_give_equal_bytes(shape, tmp_path):
    write_parts(shape, tmp_path / "a.safetensors"), write_parts(shape, tmp_path / "b.safetensors")
    back = read_parts(tmp_path / "a.safetensors")
    for name, tensor in vars(shape.gaussians).items():
        assert torch.equal(getattr(back.gaussians, name), tensor)
    assert torch.equal(back.intrinsics, shape.intrinsics)
    data = (tmp_path / "a.safetensors").read_bytes()
    assert data == (tmp_path / "b.safetensors").read_bytes()
    write_parts(shape.only(torch.tensor([1, 0, 2, 3, 4])), tmp_path / "c.safetensors")
    assert data != (tmp_path / "c.safetensors").read_bytes()


def test_what_could_not_be_read_is_not_written(shape, tmp_path):
    far = type(shape.gaussians)(shape.gaussians.means * 1e4, *list(vars(shape.gaussians).values())[1:])
    with pytest.raises(UserError, match=r"a\.safetensors is not written: the Gaussian of part 0 lies more than 10"):
        write_parts(type(shape)(far, shape.intrinsics), tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_reflected_axes_are_sound(shape, tmp_path):
    write_parts(type(shape)(shape.gaussians.reflected(), shape.intrinsics), tmp_path / "a.safetensors")
    assert float(read_parts(tmp_path / "a.safetensors").gaussians.axes.det().max()) < 0


WRONG = [
    ({"means": lambda t: t * torch.nan}, "the means of part 0 are not finite"),
    ({"eigenvalues": lambda t: -t}, "part 0 is degenerate: an eigenvalue is not positive"),
    ({"eigenvalues": lambda t: t * 1e-12}, "an eigenvalue is below 1e-08"),
    ({"eigenvalues": lambda t: t * 1e6}, "an eigenvalue is above 100"),
    ({"axes": lambda t: t * 1.01}, "its axes are not orthonormal"),
    ({"axes": lambda t: t[:, :2]}, r"its axes are \[5, 2, 3\], not \[5, 3, 3\]"),
    ({"means": lambda t: t + 100}, "lies more than 10 from the middle"),
    ({"logits": lambda t: t[:3]}, r"its logits are \[3\], not \[5\]"),
    ({"logits": lambda t: t.double()}, "its logits are stored as float64, not float32"),
    ({"intrinsics": lambda t: t[None]}, r"its intrinsics are \[1, 5, 6\]"),
    ({"intrinsics": lambda t: t[:, :0]}, r"its intrinsics are \[5, 0\]"),
    (dict.fromkeys(("means", "axes", "eigenvalues", "logits", "intrinsics"), lambda t: t[:0]), "it has 0 parts"),
]


@pytest.mark.parametrize(("changes", "says"), WRONG, ids=[says[:30] for _, says in WRONG])
def test_what_is_wrong_is_said_in_one_line(shape, tmp_path, changes, says):
    path = tmp_path / "a.safetensors"
    write_parts(shape, path)
    tensors = load_file(path)
    save_file(tensors, path, FORMAT)
    read_parts(path)  # control: written by this test as it is, it is read
    for name, change in changes.items():
        tensors[name] = change(tensors[name]).contiguous()
    save_file(tensors, path, FORMAT)
    with pytest.raises(UserError, match=says) as caught:
        read_parts(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_other_files_are_refused(shape, tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match="cannot be read"):
        read_parts(path)
    path.write_bytes(b"not tensors at all, but long enough")
    with pytest.raises(UserError, match="truncated or not safetensors"):
        read_parts(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="not a shape of parts"):
        read_parts(path)
    write_parts(shape, path)
    monkeypatch.setattr(part_file, "MOST_BYTES", 100)
    with pytest.raises(UserError, match="too many"):
        read_parts(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_never_ends_in_a_traceback(shape, tmp_path, data):
    path = tmp_path / "a.safetensors"
    write_parts(shape, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    said = ""
    try:
        read = read_parts(path)
    except UserError as error:
        said = str(error)
    assert said.startswith(str(path)) or read.gaussians.means.isfinite().all()
    assert "\n" not in said
