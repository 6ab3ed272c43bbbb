"""Splat files: round trips, the layout of 3D Gaussian splatting, and damaged files."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from distill3d.core.errors import UserError
from distill3d.files.splats import NEEDED, Splats, read_splats, write_splats


def splats(count: int = 7, degree: int = 3, seed: int = 0) -> Splats:
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    k = (degree + 1) ** 2
    return Splats(normal(count, 3), normal(count, 4), normal(count, 3) - 3, normal(count), normal(count, k, 3))


def same(a: Splats, b: Splats) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in vars(a))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip_is_exact(tmp_path: Path, degree: int) -> None:
    wanted = splats(degree=degree)
    write_splats(wanted, tmp_path / "scene.ply")
    assert same(read_splats(tmp_path / "scene.ply"), wanted)
    assert not same(read_splats(tmp_path / "scene.ply"), splats(degree=degree, seed=1))


def test_the_layout_is_that_of_the_original(tmp_path: Path) -> None:
    """Column by column, as the original's `save_ply` numbers them: f_rest channel after channel."""
    scene = splats(count=2)
    path = tmp_path / "scene.ply"
    write_splats(scene, path)
    head, body = path.read_bytes().split(b"end_header\n")
    names = [line.split()[-1] for line in head.decode().splitlines() if line.startswith("property float")]
    assert names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[9:54] == [f"f_rest_{k}" for k in range(45)]
    assert names[54:] == ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    table = np.frombuffer(body, "<f4").reshape(2, 62)
    assert table[1, 9] == scene.sh[1, 1, 0]
    assert table[1, 9 + 15] == scene.sh[1, 1, 1]  # the first coefficient of green
    assert table[1, 9 + 1] == scene.sh[1, 2, 0]
    assert table[0, 54] == scene.logit_opacities[0]


def test_gsplat_writes_what_we_read(tmp_path: Path) -> None:
    exporter = pytest.importorskip("gsplat.exporter")
    import torch

    scene = splats(count=5)
    parts = [torch.from_numpy(a) for a in (scene.means, scene.log_scales, scene.quats, scene.logit_opacities)]
    data = exporter.splat2ply_bytes(
        *parts, torch.from_numpy(scene.sh[:, 0]), torch.from_numpy(scene.sh[:, 1:]).permute(0, 2, 1).reshape(5, -1)
    )
    (tmp_path / "gsplat.ply").write_bytes(data)
    assert same(read_splats(tmp_path / "gsplat.ply"), scene)


def text_file(scene: Splats, order: list[str] | None = None) -> str:
    columns = {name: scene.means[:, k] for k, name in enumerate("xyz")}
    columns |= {f"f_dc_{k}": scene.sh[:, 0, k] for k in range(3)} | {"opacity": scene.logit_opacities}
    columns |= {f"scale_{k}": scene.log_scales[:, k] for k in range(3)}
    columns |= {f"rot_{k}": scene.quats[:, k] for k in range(4)}
    names = order or list(columns)
    rows = [" ".join(repr(float(columns[name][n])) for name in names) for n in range(len(scene))]
    header = ["ply", "format ascii 1.0", f"element vertex {len(scene)}", *(f"property float {n}" for n in names)]
    return "\n".join([*header, "end_header", *rows, ""])


def test_text_and_any_order_of_properties(tmp_path: Path) -> None:
    scene = splats(degree=0)
    (tmp_path / "text.ply").write_text(text_file(scene, list(NEEDED)[::-1]))
    assert same(read_splats(tmp_path / "text.ply"), scene)


def test_big_endian_and_doubles(tmp_path: Path) -> None:
    scene = splats(degree=0)
    write_splats(scene, tmp_path / "scene.ply")
    head, body = (tmp_path / "scene.ply").read_bytes().split(b"end_header\n")
    head = head.replace(b"little", b"big").replace(b"property float", b"property double")
    turned = np.frombuffer(body, "<f4").astype(">f8").tobytes()
    (tmp_path / "big.ply").write_bytes(head + b"end_header\n" + turned)
    assert same(read_splats(tmp_path / "big.ply"), scene)


def damaged(tmp_path: Path) -> dict[str, tuple[bytes, str]]:
    """name -> (bytes, what the message has to say)."""
    write_splats(splats(), tmp_path / "good.ply")
    good = (tmp_path / "good.ply").read_bytes()
    head, body = good.split(b"end_header\n")

    def with_head(old: bytes, new: bytes) -> bytes:
        assert old in head
        return head.replace(old, new) + b"end_header\n" + body

    def with_number(column: int, value: float) -> bytes:
        table = np.frombuffer(body, "<f4").reshape(7, -1).copy()
        table[3, column] = value
        return head + b"end_header\n" + table.tobytes()

    no_turn = np.frombuffer(body, "<f4").reshape(7, -1).copy()
    no_turn[2, -4:] = 0
    text = text_file(splats(degree=0))
    write_splats(splats(degree=0), tmp_path / "small.ply")
    billion = (tmp_path / "small.ply").read_bytes().replace(b"vertex 7", b"vertex 1000000000")[:1024]
    return {
        "billion": (billion, "1,000,000,000 rows"),
        "more": (with_head(b"vertex 7", b"vertex 8"), "declares 8 rows|8 Gaussians take"),
        "fewer": (with_head(b"vertex 7", b"vertex 6"), "6 Gaussians take"),
        "none": (head.replace(b"vertex 7", b"vertex 0") + b"end_header\n", "no Gaussians"),
        "truncated": (good[:-5], "declares 7 rows|7 Gaussians take"),
        "nan": (with_number(1, np.nan), "Gaussian 3 has a x"),
        "infinite": (with_number(55, np.inf), "Gaussian 3 has a scale"),
        "huge": (with_number(56, 1e5), "scale of 1e[+]05"),
        "far": (with_number(0, 1e30), "coordinate of 1e[+]30"),
        "no turn": (head + b"end_header\n" + no_turn.tobytes(), "Gaussian 2 has a rotation of length zero"),
        "missing": (with_head(b"property float opacity", b"property float opaque"), "no opacity"),
        "unknown": (with_head(b"property float nx", b"property float mass"), "'mass' is unknown"),
        "degree": (with_head(b"property float f_rest_44", b"property float red"), "44 properties f_rest"),
        "twice": (with_head(b"property float nx", b"property float x"), "twice"),
        "list": (with_head(b"property float nx", b"property list uchar int nx"), "lists|rows"),
        "no ply": (b"GIF89a" + good, "end_header|first line"),
        "empty": (b"", "empty"),
        "mesh": (b"ply\nformat ascii 1.0\nelement face 0\nproperty int x\nend_header\n", "first element is not vertex"),
        "words": (text.replace("\nend_header\n", "\nend_header\nhello "), "no number|numbers"),
        "short text": (text[: len(text) // 2 + 200], "numbers|no number|rows"),
    }  # fmt: skip


def test_damaged_files_say_what_is_wrong(tmp_path: Path) -> None:
    for name, (data, message) in damaged(tmp_path).items():
        path = tmp_path / f"{name}.ply"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        with pytest.raises(UserError, match=message) as raised:
            read_splats(path)
        assert str(path) in str(raised.value), name
        assert "\n" not in str(raised.value), name
    with pytest.raises(UserError, match="no such file"):
        read_splats(tmp_path / "nowhere.ply")


def test_a_thousand_mutations_end_in_a_scene_or_one_line(tmp_path: Path) -> None:
    write_splats(splats(count=3, degree=1), tmp_path / "good.ply")
    sources = [(tmp_path / "good.ply").read_bytes(), text_file(splats(count=3, degree=0)).encode()]
    random = np.random.default_rng(0)
    path = tmp_path / "mutant.ply"
    read = refused = 0
    for k in range(1000):
        data = bytearray(sources[k % 2])
        for _ in range(random.integers(1, 4)):
            at = int(random.integers(len(data)))
            kind = random.integers(3)
            if kind == 0:
                data[at] = random.integers(256)
            elif kind == 1:
                del data[at : at + int(random.integers(1, 20))]
            else:
                data[at:at] = bytes(random.integers(32, 127, random.integers(1, 8)).tolist())
        path.write_bytes(bytes(data))
        try:
            scene = read_splats(path)
            assert all(np.isfinite(values).all() for values in vars(scene).values())
            read += 1
        except UserError:
            refused += 1
    assert read > 20
    assert refused > 300


def test_memory_is_bounded_by_the_file(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = tmp_path / "bomb.ply"
    path.write_bytes(damaged(tmp_path)["billion"][0])
    with pytest.raises(UserError):
        read_splats(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_nothing_is_written_of_what_is_not_finite(tmp_path: Path) -> None:
    scene = splats()
    scene.means[0, 0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        write_splats(scene, tmp_path / "scene.ply")
    assert not list(tmp_path.iterdir())
