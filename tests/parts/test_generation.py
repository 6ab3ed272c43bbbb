"""Sampling sets of parts: no order, what is kept is kept to the bit, and what is not is made anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.parts.generation import complete, edit, generate, interpolate, mix
from tests.parts.tiny import SIZES, tiny_network, tiny_salad, tiny_shape

SENTENCE = ["a", "chair", "with", "wheels"]


@pytest.fixture(scope="module")
def salad():
    return tiny_salad()


@pytest.fixture(scope="module")
def shapes():
    network = tiny_network()
    return tiny_shape(network, 1), tiny_shape(network, 2)


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def rows(shapes, index):
    """Everything of one part of every shape, [B, numbers]."""
    gaussians = shapes.gaussians
    columns = (gaussians.means, gaussians.axes.flatten(-2), gaussians.eigenvalues, gaussians.logits[..., None])
    return torch.cat([*columns, shapes.intrinsics], -1)[..., index, :]


def asked(phase: str, shapes: int):
    """A noisy set of five parts for each shape, and what a phase is given."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shapes, 5, 16 if phase == "extrinsics" else SIZES.intrinsics, generator=generator)
    return x, None if phase == "extrinsics" else torch.randn(shapes, 5, 16, generator=generator)


@pytest.mark.parametrize("phase", ["extrinsics", "intrinsics"])
def test_denoisers_do_not_know_the_order_of_parts(salad, phase):
    denoiser = getattr(salad, phase)
    x, given = asked(phase, 2)
    order, t = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([10, 700])
    plain = denoiser(x, t, [SENTENCE, []], given)
    turned = denoiser(x[:, order], t, [SENTENCE, []], None if given is None else given[:, order])
    assert float((turned - plain[:, order]).abs().max()) < 1e-5
    assert float((turned - plain).abs().max()) > 1e-2  # control: parts do differ
    assert not torch.allclose(denoiser(x, t, [[], []], given)[0], plain[0], atol=1e-4)  # and words are heard


def test_a_completion_keeps_the_other_parts_to_the_bit(salad, shapes):
    shape, replaced = shapes[0], torch.tensor([False, True, False, False, True])
    made = complete(salad, shape, replaced, SENTENCE, 3, seeded(0, 1, 2), steps=4)
    for part in range(5):
        same = torch.equal(rows(made, part), rows(shape, part).expand(3, -1))
        assert same is not bool(replaced[part])
    assert not torch.equal(rows(made, 1)[0], rows(made, 1)[1])  # versions differ


@pytest.mark.parametrize("phase", ["extrinsics", "intrinsics"])
def test_known_parts_are_seen_and_padding_is_not(salad, phase):
    denoiser = getattr(salad, phase)
    x, given = asked(phase, 1)
    t, there = torch.tensor([400]), torch.tensor([[True, True, True, True, False]])
    known = torch.tensor([[True, False, False, False, False]])
    plain = denoiser(x, t, [SENTENCE], given)
    assert float((denoiser(x, t, [SENTENCE], given, known) - plain)[:, 1:].abs().max()) > 1e-3
    short = denoiser(x[:, :4], t, [SENTENCE], None if given is None else given[:, :4])
    padded = denoiser(x, t, [SENTENCE], given, there=there)[:, :4]
    assert torch.allclose(padded, short, atol=1e-5)
    assert not torch.allclose(plain[:, :4], short, atol=1e-3)  # control: the fifth part is heard where it is there


def test_what_is_made_answers_to_what_is_kept(salad, shapes):
    replaced = torch.tensor([False, True, False, False, True])
    one = complete(salad, shapes[0], replaced, SENTENCE, 1, seeded(0), steps=4)
    changed = replace(shapes[0], intrinsics=shapes[0].intrinsics * replaced[:, None])
    other = complete(salad, changed, replaced, SENTENCE, 1, seeded(0), steps=4)
    assert torch.equal(rows(one, 1)[:, :16], rows(other, 1)[:, :16])  # the first phase knows Gaussians alone
    assert not torch.equal(rows(one, 1), rows(other, 1))
    moved = replace(shapes[0], gaussians=replace(shapes[0].gaussians, means=shapes[0].gaussians.means + 0.2))
    other = complete(salad, moved, replaced, SENTENCE, 1, seeded(0), steps=4)
    assert not torch.equal(rows(one, 1)[:, :16], rows(other, 1)[:, :16])


def test_an_edit_keeps_numbers_and_leaves_out_spare_parts_that_came_out_empty(salad, shapes, monkeypatch):
    shape, replaced = shapes[0], torch.tensor([False, True, False, False, True])
    monkeypatch.setattr("distill3d.parts.generation.EMPTY", -1.0)
    versions = edit(salad, shape, replaced, SENTENCE, 2, seeded(0, 1), spare=3, steps=4)
    assert [len(made) for made in versions] == [8, 8]
    assert len(edit(salad, shape, replaced, SENTENCE, 1, seeded(0), spare=0, steps=4)[0]) == 5
    monkeypatch.setattr("distill3d.parts.generation.EMPTY", 2.0)
    assert len(edit(salad, shape, replaced, SENTENCE, 1, seeded(0), spare=3, steps=4)[0]) == 5
    for made in versions:
        same = [torch.equal(rows(made.batch(), part), rows(shape.batch(), part)) for part in range(5)]
        assert same == (~replaced).tolist()
    assert not torch.equal(versions[0].intrinsics, versions[1].intrinsics)


def test_a_shape_does_not_depend_on_how_many_are_made(salad):
    three = generate(salad, SENTENCE, 3, 5, seeded(4, 5, 6), steps=3)
    one = generate(salad, SENTENCE, 1, 5, seeded(5), steps=3)
    size = float(one.intrinsics.abs().max())  # a random denoiser leads far away
    assert float((three[1].intrinsics - one[0].intrinsics).abs().max()) < 1e-6 * size
    assert float((three[1].gaussians.means - one[0].gaussians.means).abs().max()) < 1e-6 * size
    assert float((three[0].gaussians.means - one[0].gaussians.means).abs().max()) > 1e-2 * size
    again = generate(salad, SENTENCE, 3, 5, seeded(4, 5, 6), steps=3)
    assert torch.equal(again.intrinsics, three.intrinsics)


def test_guidance_and_words_change_what_is_made(salad):
    def means(words, scale):
        return generate(salad, words, 1, 5, seeded(0), scale, steps=3).gaussians.means

    assert not torch.equal(means(SENTENCE, 3.0), means(SENTENCE, 1.0))
    assert not torch.equal(means(SENTENCE, 3.0), means(["a", "table"], 3.0))
    assert torch.equal(means([], 3.0), means([], 1.0))  # without words there is nothing to guide


def test_a_mix_keeps_one_side_and_moves_the_other_as_far_as_it_may(salad, shapes):
    kept, added = shapes[0].only(torch.tensor([0, 2, 3])), shapes[1].only(torch.tensor([1]))
    moved = {}
    for strength in (0.0, 0.2, 1.0):
        made = mix(salad, kept, added, 1, seeded(0), strength, steps=10)
        assert len(made) == 4
        for part in range(3):
            assert torch.equal(rows(made, part)[0], rows(kept, part))
        moved[strength] = float((rows(made, 3)[0] - rows(added, 0)).abs().mean())
    assert moved[0.0] < 1e-4 < moved[0.2] < moved[1.0]


def test_an_interpolation_has_both_ends_and_pairs_neighbours(shapes):
    order = torch.tensor([4, 2, 0, 1, 3])
    line = interpolate(shapes[0], shapes[0].only(order), 3)
    for shape in (line[0], line[1], line[2]):  # the same shape in another order is no way to go
        assert torch.allclose(shape.gaussians.means, shapes[0].gaussians.means, atol=1e-6)
    line = interpolate(shapes[0], shapes[1], 5)
    assert torch.allclose(line[0].intrinsics, shapes[0].intrinsics, atol=1e-6)
    ends = line[4].gaussians.means[:, None] - shapes[1].gaussians.means
    assert float(ends.norm(dim=-1).amin(1).max()) < 1e-5
    assert not torch.allclose(line[2].intrinsics, shapes[0].intrinsics, atol=1e-2)


def test_the_single_phase_samples_too():
    made = generate(tiny_salad(single=True), SENTENCE, 2, 5, seeded(0, 1), steps=3)
    assert made.intrinsics.shape == (2, 5, SIZES.intrinsics)
    assert made.intrinsics.isfinite().all()


def test_progress_counts_both_phases(salad):
    heard = []
    generate(salad, SENTENCE, 1, 5, seeded(0), steps=3, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(k, 6) for k in range(1, 7)]


def test_what_cannot_be_asked(salad, shapes):
    with pytest.raises(UserError, match="no part is to be replaced"):
        complete(salad, shapes[0], torch.zeros(5, dtype=torch.bool), [], 1, seeded(0))
    one = torch.tensor([True, False, False, False, False])
    with pytest.raises(UserError, match="needs words"):
        edit(salad, shapes[0], one, [], 1, seeded(0))
    with pytest.raises(UserError, match="spare is at least 0"):
        edit(salad, shapes[0], one, SENTENCE, 1, seeded(0), spare=-1)
    with pytest.raises(UserError, match="no part is to be replaced"):
        edit(salad, shapes[0], ~one & one, SENTENCE, 1, seeded(0))
    with pytest.raises(UserError, match="at least 1"):
        generate(salad, [], 1, 5, seeded(0), steps=0)
    with pytest.raises(UserError, match="strength"):
        mix(salad, shapes[0], shapes[1], 1, seeded(0), strength=1.5)
    with pytest.raises(UserError, match="at least 2"):
        interpolate(shapes[0], shapes[1], 1)
    with pytest.raises(UserError, match="5 parts, the other 2"):
        interpolate(shapes[0], shapes[1].only(torch.tensor([0, 1])), 3)
