"""The guidances of edits against the analytic oracle: nothing asked, nothing changed; the closed formulas otherwise."""

from __future__ import annotations

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.rendering import Rendering
from distill3d.guidance import DDS, PDS, SDS
from distill3d.guidance.delta import delta_denoising
from distill3d.guidance.posterior import posterior_distillation
from tests.oracles import Oracle

CAMERAS = Cameras.orbit(torch.zeros(3), size=4)


def pictures(value: float, seed: int = 0) -> torch.Tensor:
    noise = torch.rand(3, 4, 4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (value + 0.2 * noise).clamp(0, 1)


def view(picture, source=None):
    alpha = torch.ones(*picture.shape[:3], 1, dtype=picture.dtype)
    extras = {} if source is None else {"source": view(source)}
    return Rendering(picture, alpha, alpha.clone(), None, extras)


@pytest.fixture
def picture_oracle():
    """Pictures of 4 x 4 around two grey levels, "plus" bright and "minus" dark."""
    means = torch.stack([torch.full((3, 4, 4), 0.5), torch.full((3, 4, 4), -0.5)]).double()
    return Oracle(means=means)


def guidance(kind, oracle, before="minus", after="plus", seed=5, **config):
    generator = torch.Generator().manual_seed(seed)
    told = {} if kind is SDS else {"source_prompt": before}
    return kind(kind.Config(**config), prior=oracle, prompt=after, generator=generator, **told)


OPTIONS = [(DDS, {}), (DDS, {"weighting": "clean"}), (PDS, {}), (PDS, {"per_clean": True}), (PDS, {"reading": "exact"})]


@pytest.mark.parametrize(("kind", "config"), OPTIONS)
def test_the_same_scene_and_sentence_move_nothing(kind, config, picture_oracle):
    same = pictures(0.3)
    out = guidance(kind, picture_oracle, "minus", "minus", **config)(view(same, same), CAMERAS, 0)
    assert float(out.gradient.abs().max()) == 0
    for before, after, source in (("minus", "plus", same), ("minus", "minus", pictures(0.5, 1))):
        moved = guidance(kind, picture_oracle, before, after, **config)(view(same, source), CAMERAS, 0)
        assert float(moved.gradient.abs().max()) > 1e-3


def test_sds_moves_it_all_the_same(picture_oracle):
    """Negative control: the baseline knows no source, and pulls also where nothing was asked."""
    same = pictures(0.3)
    out = guidance(SDS, picture_oracle, after="minus", cfg_scale=3)(view(same, same), CAMERAS, 0)
    assert float(out.gradient.abs().max()) > 1e-2


@pytest.mark.parametrize("reading", ["strided", "exact"])
def test_both_are_the_closed_formulas(reading, picture_oracle):
    after, before = pictures(0.4), pictures(0.3, 1)
    x, source = (picture_oracle.encode(p) for p in (after, before))
    for kind, config in ((DDS, {}), (PDS, {"reading": reading})):
        member = guidance(kind, picture_oracle, cfg_scale=4.0, clip=False, **config)
        out = member(view(after, before), CAMERAS, 0)
        draws = torch.Generator().manual_seed(5)
        t = guidance(kind, picture_oracle, **config).draw_timesteps(3, 0)
        torch.randint(0, 2, (3,), generator=draws)  # the times were drawn first
        noise = torch.randn(x.shape, generator=draws, dtype=x.dtype)
        texts = picture_oracle.condition("plus"), picture_oracle.condition("minus")
        known = (picture_oracle, x, source, t, noise, *texts, 4.0)
        if kind is DDS:
            expected = delta_denoising(*known)
        else:
            expected = posterior_distillation(*known, reading=reading)
        assert float((out.gradient - expected).abs().max()) < 1e-6 * float(expected.abs().max())


def test_weights_of_clean_pictures_are_the_same_gradient_in_other_units(picture_oracle):
    """Times alpha / sigma, they are the difference of noises; so is PDS, whose terms keep their proportion."""
    scene = view(pictures(0.4), pictures(0.3, 1))
    clean, noise = (
        guidance(DDS, picture_oracle, weighting=w, clip=False, timesteps=[0.6, 0.6])(scene, CAMERAS, 0).gradient
        for w in ("clean", "uniform")
    )
    ratio = noise / clean
    torch.testing.assert_close(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-6, atol=0)
    plain, per_clean = (
        guidance(PDS, picture_oracle, per_clean=p, clip=False, timesteps=[0.6, 0.6])(scene, CAMERAS, 0).gradient
        for p in (False, True)
    )
    ratio = plain / per_clean
    torch.testing.assert_close(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("reading", "back"), [("strided", True), ("exact", False)])
def test_the_released_reading_draws_back_to_the_source_and_the_exact_one_does_not(reading, back, picture_oracle):
    after, before = pictures(0.4), pictures(0.3, 1)
    moved = picture_oracle.encode(after) - picture_oracle.encode(before)
    whole, without = (
        guidance(PDS, picture_oracle, reading=reading, identity=i, clip=False)(view(after, before), CAMERAS, 0).gradient
        for i in (1.0, 0.0)
    )
    drawn = ((whole - without) * moved).sum()
    assert float(drawn) > 0.01 * float(moved.square().sum()) if back else abs(float(drawn)) < 1e-9


def test_without_a_source_it_says_what_it_is_for(picture_oracle):
    with pytest.raises(UserError, match="edits a scene"):
        guidance(DDS, picture_oracle)(view(pictures(0.3)), CAMERAS, 0)
