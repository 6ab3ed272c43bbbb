"""The hash-grid kernel against its torch reference, and both against the definition."""

import numba
import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.kernels.hash_grid import GridLayout, hash_encode
from distill3d.kernels.hash_grid_torch import PRIMES, hash_encode_torch

LAYOUTS = [
    GridLayout(levels=8, log2_table=12, finest=256),  # dense and hashed levels
    GridLayout(levels=5, features=4, log2_table=10, base=3, finest=40),
    GridLayout(levels=1, log2_table=14, base=7, finest=7),  # dense alone
]


def random_case(layout, count=1003, seed=0):
    """Points clear of cell faces, where the encoding has a kink, a table, and a gradient to send back."""
    generator = torch.Generator().manual_seed(seed)
    positions = torch.rand(2 * count, 3, generator=generator)
    scaled = positions[:, None] * torch.tensor(layout.resolutions)[:, None]
    clear = ((scaled - scaled.round()).abs() > 1e-3).flatten(1).all(1)
    positions = positions[clear][:count]
    table = torch.randn(layout.table_shape, generator=generator)
    upstream = torch.randn(len(positions), layout.width, generator=generator)
    return positions.requires_grad_(), table.requires_grad_(), upstream


def with_gradients(encode, positions, table, upstream, *arguments, **named):
    encoded = encode(positions, table, *arguments, **named)
    return encoded, *torch.autograd.grad(encoded, (positions, table), upstream)


def difference(ours, reference):
    return ((ours - reference).abs().max() / reference.abs().max()).item()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_and_gradients_agree_with_the_reference(layout):
    positions, table, upstream = random_case(layout)
    ours = with_gradients(hash_encode, positions, table, upstream, layout)
    single = with_gradients(hash_encode_torch, positions, table, upstream, layout)
    assert difference(ours[0], single[0]) < 1e-6
    assert difference(ours[1], single[1]) < 1e-5
    assert difference(ours[2], single[2]) < 1e-5
    double = [x.detach().double().requires_grad_() for x in (positions, table)]
    exact = with_gradients(hash_encode_torch, *double, upstream.double(), layout)
    for got, expected in zip(ours, exact, strict=True):  # float32 places a point in its cell to 2^-24 * resolution
        assert difference(got, expected) < 1e-4


@pytest.mark.parametrize("primes", [(1, PRIMES[2], PRIMES[1]), (1, 2654435769, 805459861)])
def test_the_comparison_sees_a_wrong_hash(primes):
    layout = LAYOUTS[0]
    positions, table, upstream = random_case(layout)
    ours = with_gradients(hash_encode, positions, table, upstream, layout)
    wrong = with_gradients(hash_encode_torch, positions, table, upstream, layout, primes=primes)
    assert all(difference(a, b) > 0.1 for a, b in zip(ours, wrong, strict=True))


def test_the_comparison_sees_swapped_axes():
    layout = LAYOUTS[2]
    positions, table, _ = random_case(layout)
    swapped = hash_encode_torch(positions[:, [1, 0, 2]], table, layout)
    assert difference(hash_encode(positions, table, layout), swapped) > 0.1


def test_a_linear_field_on_a_dense_level_is_reproduced():
    layout = GridLayout(levels=1, log2_table=14, base=7, finest=7)
    z, y, x = torch.meshgrid(*[torch.arange(8) / 7] * 3, indexing="ij")
    table = torch.stack([x + 2 * y - 3 * z, 0.5 - z], -1).reshape(-1, 2)
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    encoded = hash_encode(points, table, layout)
    x, y, z = points.detach().unbind(-1)
    torch.testing.assert_close(encoded, torch.stack([x + 2 * y - 3 * z, 0.5 - z], -1), atol=1e-5, rtol=0)
    (slope,) = torch.autograd.grad(encoded[:, 0].sum(), points)
    torch.testing.assert_close(slope, torch.tensor([1.0, 2.0, -3.0]).expand(200, 3), atol=1e-4, rtol=0)


def test_position_gradients_match_finite_differences():
    layout = LAYOUTS[0]
    positions, table, upstream = random_case(layout)
    _, gradient, _ = with_gradients(hash_encode, positions, table, upstream, layout)
    step = 1e-3 / max(layout.resolutions)  # the points are further than this from any face
    for axis in range(3):
        offset = torch.eye(3, dtype=torch.float64)[axis] * step
        ahead, behind = (
            (hash_encode_torch(positions.double() + sign * offset, table.double(), layout) * upstream).sum(-1)
            for sign in (1, -1)
        )
        assert difference(gradient[:, axis], (ahead - behind) / (2 * step)) < 1e-3


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one thread")
@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_bits_do_not_depend_on_the_number_of_threads(layout):
    case = random_case(layout, count=5000)
    before = numba.get_num_threads()
    results = []
    try:
        for threads in range(1, min(numba.config.NUMBA_NUM_THREADS, 4) + 1):
            numba.set_num_threads(threads)
            results.append(with_gradients(hash_encode, *case, layout))
    finally:
        numba.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], result, strict=True))
    shuffled = torch.randperm(len(case[0]), generator=torch.Generator().manual_seed(2))
    other = with_gradients(hash_encode, case[0][shuffled], case[1], case[2][shuffled], layout)
    assert not torch.equal(other[2], results[0][2]), "bits that survive any order would prove nothing"


@pytest.mark.parametrize("active", [0, 1, 3, 5])
def test_inactive_levels_are_zero_and_get_no_gradient(active):
    layout = LAYOUTS[1]
    case = random_case(layout)
    ours = with_gradients(hash_encode, *case, layout, active_levels=active)
    whole = with_gradients(hash_encode, *case, layout)
    columns, rows = active * layout.features, layout.offsets[active]
    assert torch.equal(ours[0][:, :columns], whole[0][:, :columns])
    assert torch.equal(ours[2][:rows], whole[2][:rows])
    assert not ours[0][:, columns:].any()
    assert not ours[2][rows:].any()
    if active:
        reference = with_gradients(hash_encode_torch, *case, layout, active_levels=active)
        assert all(difference(a, b) < 1e-5 for a, b in zip(ours, reference, strict=True))
    else:
        assert not ours[1].any()


def test_outside_the_cube_is_its_surface_without_gradient():
    layout = LAYOUTS[0]
    table = random_case(layout)[1]
    outside = torch.tensor([[-0.5, 0.3, 0.7], [0.2, 3.0, 0.4], [1.0, 1.0, 1.0]], requires_grad=True)
    encoded, gradient, _ = with_gradients(hash_encode, outside, table, torch.ones(3, layout.width), layout)
    assert torch.equal(encoded, hash_encode(outside.clamp(0, 1), table, layout))
    assert gradient[0, 0] == 0
    assert gradient[1, 1] == 0
    assert gradient[0, 1:].all()
    assert gradient[2].all()


def test_nan_stays_nan_and_touches_nothing_else():
    layout = LAYOUTS[0]
    positions, table, _ = random_case(layout)
    broken = positions.detach().clone()
    broken[5, 1] = float("nan")
    encoded, intact = hash_encode(broken, table, layout), hash_encode(positions, table, layout)
    assert encoded[5].isnan().all()
    keep = torch.arange(len(broken)) != 5
    assert torch.equal(encoded[keep], intact[keep])


def test_no_points_and_other_types():
    layout = LAYOUTS[1]
    positions, table, upstream = random_case(layout)
    empty = with_gradients(hash_encode, positions[:0], table, upstream[:0], layout)
    assert empty[0].shape == (0, layout.width)
    assert not empty[2].any()
    assert hash_encode(positions.double(), table.double(), layout).dtype == torch.float64
    strided = positions.detach().T.contiguous().T
    assert torch.equal(hash_encode(strided, table, layout), hash_encode(positions, table, layout))


def test_second_derivatives_are_those_of_the_reference():
    layout = LAYOUTS[1]
    positions, table, upstream = random_case(layout, count=50)
    second = []
    for encode in (hash_encode, hash_encode_torch):
        (slope,) = torch.autograd.grad(encode(positions, table, layout), positions, upstream, create_graph=True)
        second.append(torch.autograd.grad(slope.square().sum(), (positions, table)))
    assert all(gradient.any() for gradient in second[1])
    assert all(difference(a, b) < 1e-5 for a, b in zip(*second, strict=True))


def test_the_published_layout():
    layout = GridLayout(log2_table=19, finest=2048)
    assert (layout.resolutions[0], layout.resolutions[-1], len(layout.resolutions)) == (16, 2048, 16)
    assert layout.hashed.index(True) == next(i for i, n in enumerate(layout.resolutions) if (n + 1) ** 3 > 2**19)
    assert layout.table_shape == (layout.offsets[-1], 2)
    assert all(b - a <= 2**19 for a, b in zip(layout.offsets, layout.offsets[1:], strict=False))


@pytest.mark.parametrize("wrong", [{"features": 3}, {"levels": 0}, {"log2_table": 30}, {"base": 64, "finest": 32}])
def test_a_layout_that_cannot_be_says_so(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        GridLayout(**wrong)


def test_arguments_that_do_not_fit_say_so():
    layout = LAYOUTS[0]
    positions, table, _ = random_case(layout)
    with pytest.raises(UserError, match=r"\[N, 3\]"):
        hash_encode(positions[:, :2], table, layout)
    with pytest.raises(UserError, match="table"):
        hash_encode(positions, table[1:], layout)
    with pytest.raises(UserError, match="active_levels"):
        hash_encode(positions, table, layout, active_levels=9)
