"""Lenses: distorting and undoing it are inverse, agree with written-out formulas, and know where they fold."""

from __future__ import annotations

import math

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.lens import Lens

FOX = [0.0578421, -0.0805099, -0.000980296, 0.00015575, 0, 0, 0, 0]
STRONG = [-0.28, 0.07, 0.001, -0.002, 0.01, 0.02, -0.01, 0.003]
GOPRO = [0.04, -0.01, 0.003, -0.001, 0, 0, 0, 0]


def lens(model: str, *coefficients: list[float]) -> Lens:
    return Lens(model, torch.tensor(coefficients, dtype=torch.float64))


def test_opencv_by_hand() -> None:
    """One point through the formula as OpenCV's manual prints it."""
    x, y = 0.3, -0.2
    k1, k2, p1, p2, k3, k4, k5, k6 = STRONG
    r2 = x * x + y * y
    q = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    expected = [
        x * q + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * q + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    ]
    found = lens("opencv", STRONG).distort(torch.tensor([[[2 * x, 2 * y, 2.0]]]))[0, 0]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=0)


def test_fisheye_by_hand() -> None:
    angle, turn = 1.2, 0.7
    k1, k2, k3, k4 = GOPRO[:4]
    radius = angle * (1 + k1 * angle**2 + k2 * angle**4 + k3 * angle**6 + k4 * angle**8)
    direction = [math.sin(angle) * math.cos(turn), math.sin(angle) * math.sin(turn), math.cos(angle)]
    found = lens("fisheye", GOPRO).distort(torch.tensor([[direction]], dtype=torch.float64))[0, 0]
    expected = torch.tensor([radius * math.cos(turn), radius * math.sin(turn)], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("model", "numbers"), [("opencv", FOX), ("opencv", STRONG), ("fisheye", GOPRO)])
def test_directions_undo_the_distortion_exactly(model: str, numbers: list[float]) -> None:
    side = torch.linspace(-0.7, 0.7, 41, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1).view(1, -1, 2)
    directions, seen = lens(model, numbers).directions(points)
    assert seen.all()
    assert (lens(model, numbers).distort(directions) - points).abs().max() < 1e-9
    assert (lens(model, [0.0] * 8).distort(directions) - points).abs().max() > 1e-3  # the distortion is no rounding


def test_what_lies_beyond_the_fold_is_not_seen() -> None:
    """k1 = -0.3 turns back at r = 1.054, where x' is 0.703: no ray comes out farther from the axis."""
    points = torch.tensor([[[0.70, 0.0], [0.71, 0.0], [0.9, 0.4]]], dtype=torch.float64)
    seen = lens("opencv", [-0.3, 0, 0, 0, 0, 0, 0, 0]).directions(points)[1]
    assert seen.tolist() == [[True, False, False]]


def cameras(distortion: Lens | None) -> Cameras:
    orbit = Cameras.orbit(torch.tensor([0.3, 1.7]), 0.2, 3.0, 0.9, (24, 32))
    return Cameras(orbit.camera_to_world, orbit.intrinsics, 24, 32, distortion)


def test_rays_through_a_lens_are_those_of_its_pixels() -> None:
    through = cameras(lens("opencv", FOX, STRONG))
    origins, directions = through.rays()
    some = torch.tensor([0, 1, 1]), torch.tensor([[0.5, 0.5], [31.5, 23.5], [16.5, 3.5]])
    at_origins, at = through.rays_at(*some)
    torch.testing.assert_close(at, torch.stack([directions[0, 0, 0], directions[1, 23, 31], directions[1, 3, 16]]))
    assert torch.equal(at_origins, origins[[0, 1, 1], 0, 0])
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(2, 24, 32))
    local = torch.linalg.inv(through.camera_to_world[1, :3, :3]) @ directions[1, 23, 31]
    k = through.intrinsics[1]
    landed = through.lens[torch.tensor([1])].distort((local * torch.tensor([1, -1, -1]))[None, None])[0, 0]
    torch.testing.assert_close(landed.float() * k[0, 0] + k[:2, 2], torch.tensor([31.5, 23.5]), atol=1e-3, rtol=0)
    straight = cameras(None).rays()[1]
    assert (straight - directions).abs().max() > 1e-3


def test_a_lens_without_distortion_is_a_pinhole() -> None:
    plain, nothing = cameras(None), cameras(lens("opencv", [0.0] * 8, [0.0] * 8))
    torch.testing.assert_close(plain.rays()[1], nothing.rays()[1])
    index, pixels = torch.tensor([1]), torch.tensor([[4.5, 7.5]])
    torch.testing.assert_close(plain.rays_at(index, pixels)[1][0], plain.rays()[1][1, 7, 4])
    assert plain.seen().all()
    assert nothing.seen().all()


def test_indexing_and_resizing_keep_the_lens() -> None:
    through = cameras(lens("opencv", FOX, STRONG))
    assert torch.equal(through[1].lens.coefficients[0], through.lens.coefficients[1])
    assert through.resized((48, 64)).lens is through.lens
    assert through.to("cpu").lens.model == "opencv"
