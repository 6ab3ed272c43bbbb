"""Identities S2 to S7 of score distillation on the analytic oracle, and what the guidance does to a picture."""

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.rendering import Rendering
from distill3d.diffusion.guided import branches
from distill3d.guidance import SDS, Guidance
from distill3d.guidance.sds import look, sds
from tests.oracles import Oracle


@pytest.fixture
def oracle():
    return Oracle()


def case(batch=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, batch, 2, 2, 2, dtype=torch.float64, generator=generator)
    return x, torch.linspace(20, 980, batch).long(), noise


def test_s2_the_prior_gets_no_gradient_and_builds_no_graph(oracle):
    x, t, noise = case()
    x.requires_grad_()
    gradient = sds(oracle, x, t, noise, oracle.condition("plus"), 7.5)
    assert oracle.means.requires_grad
    assert gradient.grad_fn is None
    # Negative control: outside of `look` the same call does build one.
    assert oracle.denoise(x, t, oracle.condition("plus")).noise.grad_fn is not None


@pytest.mark.parametrize("scale", [1.0, 7.5, 100.0])
def test_s3_sds_is_alpha_sigma_times_the_pull_to_the_clean_guess(oracle, scale):
    x, t, noise = case()
    condition = oracle.condition("plus")
    alpha, sigma = oracle.schedule.at(t, x)
    clean = sds(oracle, x, t, noise, condition, scale, "clean")
    assert torch.allclose(sds(oracle, x, t, noise, condition, scale, "sds"), alpha * sigma * clean, atol=1e-11)
    assert torch.allclose(sds(oracle, x, t, noise, condition, scale, "uniform") * sigma / alpha, clean, atol=1e-11)


def test_s3_holds_under_clipping():
    oracle = Oracle(clip_range=(-0.7, 0.7))
    x, t, noise = case()
    condition = oracle.condition("plus")
    alpha, sigma = oracle.schedule.at(t, x)
    clipped = sds(oracle, x, t, noise, condition, 30.0, "clean", clip=True)
    assert torch.allclose(
        sds(oracle, x, t, noise, condition, 30.0, "sds", clip=True), alpha * sigma * clipped, atol=1e-11
    )
    assert look(oracle, x, t, noise, condition, 30.0, clip=True).clean.abs().max() <= 0.7
    assert not torch.allclose(clipped, sds(oracle, x, t, noise, condition, 30.0, "clean"))


def test_s4_residual_plus_scale_times_the_classifier_direction(oracle):
    x, t, noise = case()
    plus = oracle.condition("plus")
    e_c, e_0 = (
        p.noise for p in branches(oracle, oracle.schedule.add_noise(x, noise, t), t, [plus, plus.unconditional])
    )
    expected = (e_0 - noise) + 12.0 * (e_c - e_0)
    assert torch.allclose(sds(oracle, x, t, noise, plus, 12.0, "uniform"), expected, atol=1e-11)


def test_s5_the_mean_over_noise_has_a_closed_form(oracle):
    """For Gaussian data: sigma alpha (x - mean) / (alpha^2 std^2 + sigma^2), a linear pull to the mean."""
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(1, 2, 2, 2, dtype=torch.float64, generator=generator)
    t = torch.tensor([500])
    noise = torch.randn(20000, 2, 2, 2, dtype=torch.float64, generator=generator)
    noise = torch.cat([noise, -noise])  # antithetic: the residual is linear in the noise
    x, t_all = x0.expand(len(noise), -1, -1, -1), t.expand(len(noise))
    mean = sds(oracle, x, t_all, noise, oracle.condition("plus"), 1.0, "uniform").mean(0)
    alpha, sigma = oracle.schedule.at(t, x0)
    expected = sigma * alpha * (x0 - oracle.means[:1].detach()) / (alpha**2 * oracle.variance + sigma**2)
    assert torch.allclose(mean, expected[0], atol=1e-10)
    assert expected.abs().max() > 0.5


def fixed_point(oracle, scale, batch=8000):
    """Where the mean gradient vanishes on the line through the class means, t in U(20, 980), by bisection."""
    generator = torch.Generator().manual_seed(0)
    condition = oracle.condition("plus")
    t = (20 + 960 * (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch).long()
    noise = torch.randn(batch, 2, 2, 2, dtype=torch.float64, generator=generator)
    low, high = 0.0, 10.0
    while high - low > 1e-3:
        r = 0.5 * (low + high)
        pull = sds(oracle, torch.full_like(noise, r), t, noise, condition, scale, "sds").mean()
        low, high = (low, r) if pull > 0 else (r, high)
    return 0.5 * (low + high)


def test_s6_the_fixed_point_is_the_class_mean_and_moves_out_with_the_scale(oracle):
    """Reference values by Gauss-Hermite quadrature over the noise: over-saturation is intrinsic to a large scale."""
    found = [fixed_point(oracle, scale) for scale in (1.0, 7.5, 100.0)]
    assert found == pytest.approx([1.0, 1.852, 5.159], rel=0.02)
    assert found == sorted(found)


def test_s7_the_weights_are_the_published_ones(oracle):
    x, t, noise = case()
    condition = oracle.condition("plus")
    alpha_bar = (oracle.schedule.alpha[t] ** 2).reshape(-1, 1, 1, 1)
    uniform = sds(oracle, x, t, noise, condition, 5.0, "uniform")
    for name, weight in (("sds", 1 - alpha_bar), ("fantasia3d", alpha_bar.sqrt() * (1 - alpha_bar))):
        assert torch.allclose(sds(oracle, x, t, noise, condition, 5.0, name), weight * uniform, atol=1e-11)


# The guidance as a system uses it


def bright_or_dark(**options):
    means = torch.stack([torch.full((3, 4, 4), 0.5), torch.full((3, 4, 4), -0.5)]).double()
    return Oracle(means, ("bright", "dark"), std=0.2, **options)


def rendering_of(rgb):
    return Rendering(rgb, torch.ones_like(rgb[..., :1]), torch.ones_like(rgb[..., :1]))


def guidance(prompt="bright", seed=0, prior=None, **config):
    section = {"kind": "sds", **config}
    generator = torch.Generator().manual_seed(seed)
    return Guidance.build(section, prior=prior or bright_or_dark(), prompt=prompt, generator=generator)


def distil(prompt, steps=80, seed=0, **config):
    torch.manual_seed(0)
    picture = torch.full((1, 4, 4, 3), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([picture], lr=0.03)
    member = guidance(prompt, seed, **config)
    cameras = Cameras.orbit(torch.linspace(0, 4, 4))
    for step in range(steps):
        optimizer.zero_grad()
        member(rendering_of(picture.expand(4, -1, -1, -1)), cameras, step).loss.backward()
        optimizer.step()
    return picture.detach()


@pytest.mark.parametrize("weighting", ["sds", "uniform", "fantasia3d", "clean"])
def test_a_grey_picture_becomes_what_was_asked_for(weighting):
    bright = distil("bright", cfg_scale=1, weighting=weighting)
    dark = distil("dark", cfg_scale=1, weighting=weighting)
    assert bright.mean().item() == pytest.approx(0.75, abs=0.06)
    assert dark.mean().item() == pytest.approx(0.25, abs=0.06)


def test_a_large_scale_saturates_and_clipping_holds_it_back():
    prior = bright_or_dark(clip_range=(-1.0, 1.0))
    loose = distil("bright", cfg_scale=100, clip=False, prior=prior)
    held = distil("bright", cfg_scale=100, clip=True, prior=prior)
    assert loose.max() > 1.2
    assert held.max() < 1.1


def test_the_same_seed_gives_the_same_bits():
    assert torch.equal(distil("bright", 10, seed=1), distil("bright", 10, seed=1))
    assert not torch.equal(distil("bright", 10, seed=1), distil("bright", 10, seed=2))


def test_the_loss_is_the_surrogate_of_the_gradient_times_the_weight():
    picture = torch.full((4, 4, 4, 3), 0.4, dtype=torch.float64, requires_grad=True)
    out = guidance(weight={0: 1.0, 100: 3.0})(rendering_of(picture), Cameras.orbit(torch.zeros(4)), 50)
    out.loss.backward()
    expected = 2.0 * 2.0 * out.gradient.permute(0, 2, 3, 1) / 4  # weight 2 at step 50, and x = 2 picture - 1
    assert torch.allclose(picture.grad, expected, atol=1e-12)
    assert out.metrics["grad_norm"] == pytest.approx(out.gradient.flatten(1).norm(dim=1).mean().item())
    assert out.images == {}


def test_a_preview_shows_the_clean_guess():
    picture = torch.full((2, 4, 4, 3), 0.4, dtype=torch.float64)
    out = guidance(cfg_scale=1)(rendering_of(picture), Cameras.orbit(torch.zeros(2)), 0, preview=True)
    assert out.images["clean"].shape == (2, 4, 4, 3)
    assert out.images["clean"].mean() > 0.6


def test_every_view_has_its_own_time_in_the_range_of_the_step():
    member = guidance(timesteps={0: [0.5, 0.98], 100: [0.02, 0.1]})
    early, late = member.draw_timesteps(2000, 0), member.draw_timesteps(2000, 100)
    assert (early.min(), early.max()) == (500, 980)
    assert (late.min(), late.max()) == (20, 100)
    assert len(early.unique()) > 400


def test_views_that_are_denoised_together_share_their_time():
    member = guidance(timesteps=[0.1, 0.9])
    assert len(member.draw_timesteps(8, 0).unique()) > 4
    member.prior.together = 4
    times = member.draw_timesteps(8, 0).view(2, 4)
    assert torch.equal(times, times[:, :1].expand(2, 4))
    assert times[0, 0] != times[1, 0]


@pytest.mark.parametrize("value", [0.5, [0.9, 0.1], [0.1, 1.2], [0.1, 0.2, 0.3]])
def test_an_impossible_range_is_named(value):
    with pytest.raises(UserError, match=r"guidance\.timesteps.*0 <= low <= high <= 1"):
        guidance(timesteps=value)


def test_a_misspelt_key_suggests_the_right_one():
    with pytest.raises(UserError, match="did you mean 'cfg_scale'"):
        guidance(cfg_scal=7)


def test_the_prior_is_no_part_of_the_guidances_state():
    member = guidance()
    assert list(member.parameters()) == []
    assert member.state_dict() == {}
    assert isinstance(member, SDS)


class Recorder(Oracle):
    """An oracle that remembers how it was asked."""

    def condition(self, prompts, cameras=None, light=None, negative="", drop_view=False):
        self.asked = {"prompts": prompts, "cameras": cameras, "light": light, "drop_view": drop_view}
        return super().condition(prompts, cameras, light, negative, drop_view)


def test_a_prior_that_sees_cameras_gets_them_and_one_that_does_not_gets_words():
    means = torch.stack([torch.full((3, 4, 4), 0.5), torch.full((3, 4, 4), -0.5)]).double()
    prior = Recorder(means, ("bright", "dark"))
    rendering = rendering_of(torch.full((2, 4, 4, 3), 0.4, dtype=torch.float64))
    rendering.extras["light"] = torch.tensor([0.0, 1.0])
    cameras = Cameras.orbit(torch.tensor([0.0, 3.1]))
    guidance(prior=prior)(rendering, cameras, 0)
    assert prior.asked["prompts"] == ["bright, front view", "bright, back view"]
    assert prior.asked["cameras"] is None
    guidance(prior=prior, view_prompts=False)(rendering, cameras, 0)
    assert prior.asked["prompts"] == ["bright", "bright"]
    prior.sees_cameras = True
    guidance(prior=prior, drop_view=True)(rendering, cameras, 0)
    assert prior.asked["prompts"] == "bright"
    assert prior.asked["cameras"] is cameras
    assert prior.asked["light"] is rendering.extras["light"]
    assert prior.asked["drop_view"]
