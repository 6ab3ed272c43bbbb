"""Every kernel of the NeRF on CUDA against the CPU, in values and gradients. `benchmarks/gpu.py` runs these."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.kernels import cuda_libraries
from distill3d.kernels.compositing import composite
from distill3d.kernels.field_heads import field_heads
from distill3d.kernels.hash_grid import GridLayout, hash_encode
from distill3d.kernels.marching import chebyshev_distance, march
from distill3d.kernels.mlp import mlp
from distill3d.renderers import Renderer
from tests.kernels.test_compositing import packed
from tests.kernels.test_marching import STEP, blobs, rays

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture(params=["libraries", "torch"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """With nerfacc and tiny-cuda-nn where they are present, and without."""
    if request.param == "torch":
        monkeypatch.setenv(cuda_libraries.OPT_OUT, "none")
    elif cuda_libraries.nerfacc() is None and cuda_libraries.tinycudann() is None:
        pytest.skip("neither nerfacc nor tiny-cuda-nn works here")
    cuda_libraries.nerfacc.cache_clear()
    cuda_libraries.tinycudann.cache_clear()
    yield request.param
    cuda_libraries.nerfacc.cache_clear()
    cuda_libraries.tinycudann.cache_clear()


def near(there: Tensor, here: Tensor, tolerance: float) -> None:
    """To `tolerance` of the largest entry."""
    assert there.device.type == "cuda"
    largest = here.abs().max().item()
    assert largest > 0
    torch.testing.assert_close(there.detach().cpu(), here.detach(), atol=tolerance * largest, rtol=0)


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_march(route: str, share: float) -> None:
    origins, directions, jitter = rays(2000)
    distance = chebyshev_distance(blobs(32, share))
    here = march(origins, directions, distance, STEP, jitter)
    there = march(*(a.cuda() for a in (origins, directions, distance)), STEP, jitter.cuda())
    lattice = []  # (ray, k): a sample within rounding of a cell's border may be on one side alone
    for samples in (here, there):
        ray = samples.ray_index.cpu()
        k = (samples.t.cpu() / STEP - jitter[ray]).round().int()
        lattice.append(set(zip(ray.tolist(), k.tolist(), strict=True)))
    assert len(lattice[0] ^ lattice[1]) <= 2e-3 * len(lattice[0])
    if torch.equal(there.offsets.cpu(), here.offsets):
        near(there.t, here.t, 1e-6)
        near(there.positions, here.positions, 1e-6)


def test_composite(route: str) -> None:
    density, color, t, offsets = packed()
    upstream = torch.Generator().manual_seed(1)
    results = []
    for device in ("cpu", "cuda"):
        inputs = [a.to(device).requires_grad_() for a in (density, color)]
        seen = composite(*inputs, t.to(device), offsets.to(device), STEP)
        given = [torch.randn(o.shape, generator=upstream.manual_seed(k)).to(device) for k, o in enumerate(seen[:4])]
        results.append([*seen[:4], *torch.autograd.grad(seen[:4], inputs, given)])
    for there, here in zip(results[1], results[0], strict=True):  # the distortion among them: never left at zero
        near(there, here, 2e-5)


@pytest.mark.parametrize("layout", [GridLayout(8, 2, 12, 16, 256), GridLayout(5, 4, 10, 3, 40)])
def test_hash_grid(route: str, layout: GridLayout) -> None:
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(1003, 3, generator=generator)
    table = torch.randn(layout.table_shape, generator=generator)
    upstream = torch.randn(1003, layout.width, generator=generator)
    results = []
    for device in ("cpu", "cuda"):
        rows = table.to(device).requires_grad_()
        encoded = hash_encode(positions.to(device), rows, layout, layout.levels - 1)
        results.append([encoded, *torch.autograd.grad(encoded, rows, upstream.to(device))])
    for there, here in zip(results[1], results[0], strict=True):
        near(there, here, 1e-4)


@pytest.mark.parametrize("widths", [(20, 32, 4), (32, 64, 64, 4)])
def test_mlp(route: str, widths: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(b, a, generator=generator) / a**0.5 for a, b in itertools.pairwise(widths)]
    x, upstream = torch.randn(999, widths[0], generator=generator), torch.randn(999, widths[-1], generator=generator)
    half = route == "libraries" and cuda_libraries.tinycudann() is not None
    results = []
    for device in ("cpu", "cuda"):
        inputs = [a.to(device).requires_grad_() for a in (x, *weights)]
        y = mlp(inputs[0], inputs[1:])
        results.append([y, *torch.autograd.grad(y, inputs, upstream.to(device))])
    for there, here in zip(results[1], results[0], strict=True):
        near(there, here, 2e-2 if half else 1e-4)


def test_heads() -> None:
    generator = torch.Generator().manual_seed(0)
    raw, positions = torch.randn(500, 4, generator=generator), torch.rand(500, 3, generator=generator)
    results = []
    for device in ("cpu", "cuda"):
        given = raw.to(device).requires_grad_()
        density, color = field_heads(given, positions.to(device), "softplus", 5.0, "magic3d", 4.0, 0.5)
        results.append([density, color, *torch.autograd.grad(density.sum() + color.sum(), given)])
    for there, here in zip(results[1], results[0], strict=True):
        near(there, here, 1e-5)


def test_nerf_renderer(route: str) -> None:
    section = {"kind": "nerf", "step": 2 / 48, "grid": {"levels": 6, "finest": 64}, "occupancy": {"resolution": 32}}
    here = Renderer.build(section, generator=torch.Generator().manual_seed(0))
    here.advance(0)
    here.eval()
    there = copy.deepcopy(here).cuda()
    cameras = Cameras.orbit(torch.tensor([0.1, 2.0]), 0.3, 3.0, 0.75, 32)
    half = route == "libraries" and cuda_libraries.tinycudann() is not None
    pictures = []
    for renderer, seen_by in ((here, cameras), (there, cameras.to("cuda"))):
        seen = renderer(seen_by, light=torch.full((2,), 0.5, device=seen_by.camera_to_world.device))
        distortion = seen.extras["distortion"]
        (seen.rgb.square().mean() + seen.alpha.mean() + distortion.mean()).backward()
        pictures.append([seen.rgb, seen.alpha, seen.depth, distortion, renderer.field.table.grad])
    for a, b in zip(pictures[1], pictures[0], strict=True):
        near(a, b, 5e-2 if half else 5e-3)
    there.train()
    there.advance(16)  # the refresh, and a training step's jitter, run there too
    assert there(cameras.to("cuda")).rgb.isfinite().all()
