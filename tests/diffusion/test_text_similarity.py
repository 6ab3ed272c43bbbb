"""R-precision, directional similarity and consistency of edits, on vectors whose answer is known."""

import pytest
import torch
import torch.nn.functional as F

from distill3d.diffusion.text_similarity import consistency, directional_similarity, r_precision, retrieved


def unit(count, size=16, seed=0):
    return F.normalize(torch.randn(count, size, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_pictures_that_are_their_texts_are_all_retrieved_and_shuffled_ones_are_not():
    texts = unit(100)
    assert r_precision(texts, texts, torch.arange(100)) == 1.0
    assert r_precision(texts.roll(1, 0), texts, torch.arange(100)) == 0.0
    assert r_precision(unit(2000, seed=1), texts, torch.arange(2000) % 100) == pytest.approx(0.01, abs=0.01)


def test_a_tie_is_no_retrieval():
    texts = torch.eye(3)[[0, 0, 1]]
    assert retrieved(torch.eye(3)[:2], texts, torch.tensor([0, 2])).tolist() == [False, True]


def test_direction_is_one_along_the_text_and_minus_one_against_it():
    before, said = unit(5), torch.eye(16)[:2]
    step = 0.3 * (said[1] - said[0])
    along = directional_similarity(before, before + step, said[:1], said[1:])
    assert torch.allclose(along, torch.ones(5), atol=1e-5)
    assert torch.allclose(directional_similarity(before, before - step, said[:1], said[1:]), -torch.ones(5), atol=1e-5)
    aside = directional_similarity(before, before + torch.eye(16)[5], said[:1], said[1:])
    assert torch.allclose(aside, torch.zeros(5), atol=1e-6)


def test_what_did_not_change_has_no_direction():
    before, said = unit(4), torch.eye(16)[:2]
    assert torch.equal(directional_similarity(before, before, said[:1], said[1:]), torch.zeros(4))
    assert torch.equal(directional_similarity(before, unit(4, seed=3), said[:1], said[:1]), torch.zeros(4))


def test_the_same_edit_from_every_side_is_consistent_and_random_ones_are_not():
    views = unit(50)
    assert consistency(views, views + 0.5 * torch.eye(16)[0]) == pytest.approx(1.0, abs=1e-5)
    assert abs(consistency(views, views + unit(50, seed=4))) < 0.15
