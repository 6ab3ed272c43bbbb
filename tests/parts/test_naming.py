"""Words for parts: they are learned, do not know the parts' order, and answer in the plural too."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from distill3d.core.errors import UserError
from distill3d.parts.naming import PartNamer
from distill3d.parts.parts import Parts
from tests.parts.tiny import NAMES, SIZES, tiny_network, tiny_shape


@pytest.fixture(scope="module")
def shape():
    return tiny_shape(tiny_network(), 1)


@pytest.fixture(scope="module")
def namer(shape):
    """Taught to say "leg" of what lies below the middle and "back" of what lies above."""
    torch.manual_seed(0)
    namer, network = PartNamer(NAMES, SIZES.intrinsics), tiny_network()
    shapes = [tiny_shape(network, k) for k in range(1, 9)]
    batch = Parts(
        type(shape.gaussians)(
            *(torch.stack(v) for v in zip(*(vars(s.gaussians).values() for s in shapes), strict=True))
        ),
        torch.stack([s.intrinsics for s in shapes]),
    )
    low = batch.gaussians.means[..., 2] < 0
    wanted = torch.where(low, NAMES.index("leg"), NAMES.index("back"))
    optimizer = torch.optim.Adam(namer.parameters(), 0.01)
    for _ in range(60):
        loss = functional.cross_entropy(namer(batch).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return namer.eval()


def test_what_was_taught_is_said(namer, shape):
    names = namer.names_of(shape)
    assert names == ["leg" if z < 0 else "back" for z in shape.gaussians.means[:, 2].tolist()]
    assert set(names) == {"leg", "back"}
    torch.manual_seed(1)
    assert PartNamer(NAMES, SIZES.intrinsics).names_of(shape) != names  # control: one that was not taught


def test_names_do_not_depend_on_the_order(namer, shape):
    order = torch.tensor([3, 1, 4, 0, 2])
    assert namer.names_of(shape.only(order)) == [namer.names_of(shape)[i] for i in order.tolist()]
    scores = namer(shape.batch())[0]
    assert torch.allclose(namer(shape.only(order).batch())[0], scores[order], atol=1e-5)


def test_a_word_finds_its_parts(namer, shape):
    below = [i for i, z in enumerate(shape.gaussians.means[:, 2].tolist()) if z < 0]
    for word in ("leg", "Legs ", "leg"):
        assert namer.called(shape, word) == below
    assert namer.called(shape, "back") == [i for i in range(5) if i not in below]


def test_words_that_are_not_there(namer, shape):
    with pytest.raises(UserError, match="no part is called 'lge'; did you mean 'leg'"):
        namer.called(shape, "lge")
    with pytest.raises(UserError, match="this shape has no seat: it has back, leg"):
        namer.called(shape, "seat")
