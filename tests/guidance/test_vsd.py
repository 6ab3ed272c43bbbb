"""Identities V1 to V4 of variational score distillation: on the oracle, and with real adapters in a toy network."""

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.rendering import Rendering
from distill3d.diffusion.guided import guided
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.guidance.sds import sds
from distill3d.guidance.vsd import VSD, opinion_loss, vsd
from tests.diffusion.folders import embedded_folder, stable_diffusion_folder
from tests.oracles import Oracle

WEIGHTINGS = ["sds", "uniform", "fantasia3d", "clean"]


def case(batch=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, batch, 2, 2, 2, dtype=torch.float64, generator=generator)
    return x, torch.linspace(20, 980, batch).long(), noise


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_v2_with_a_perfect_opinion_of_one_picture_it_is_sds(weighting):
    oracle = Oracle()
    x, t, noise = case()
    alpha, sigma = oracle.schedule.at(t, x)
    x_t, plus = alpha * x + sigma * noise, oracle.condition("plus")
    pretrained = guided(oracle, x_t, t, plus, 7.5)
    perfect = Prediction.of("noise", (x_t - alpha * x) / sigma, x_t, alpha, sigma)
    assert torch.allclose(vsd(pretrained, perfect, weighting), sds(oracle, x, t, noise, plus, 7.5, weighting))
    assert vsd(pretrained, pretrained, weighting).abs().max() == 0  # V1


def test_v5_particles_of_sds_collapse_and_those_of_vsd_spread():
    """One Gaussian class: the opinion of a Gaussian cloud of particles is known in closed form."""
    oracle = Oracle(means=torch.ones(1, 1, 1, 1).double(), names=("plus",), std=0.5)
    schedule, plus = oracle.schedule, oracle.condition("plus")
    generator = torch.Generator().manual_seed(0)
    spread = {}
    for method in ("sds", "vsd"):
        x = torch.randn(256, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        for _ in range(600):
            t = torch.randint(20, 980, (256,), generator=generator)
            noise = torch.randn(x.shape, dtype=x.dtype, generator=generator)
            if method == "sds":
                gradient = sds(oracle, x, t, noise, plus, 1.0)
            else:
                alpha, sigma = schedule.at(t, x)
                x_t = alpha * x + sigma * noise
                cloud = sigma * (x_t - alpha * x.mean()) / (alpha**2 * x.var() + sigma**2)
                opinion = Prediction.of("noise", cloud, x_t, alpha, sigma)
                gradient = vsd(guided(oracle, x_t, t, plus, 1.0), opinion)
            x = (x - 0.2 * gradient).detach()
        spread[method] = x.std().item()
    assert spread["sds"] < 0.15
    assert abs(spread["vsd"] - 0.5) < 0.1


@pytest.fixture(scope="module", params=["embedded", "stable diffusion"])
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("vsd")
    return (embedded_folder if request.param == "embedded" else stable_diffusion_folder)(path)


def views(prior, batch=2):
    cameras = Cameras.orbit(torch.linspace(0, 3, batch), 0.3, 3.0, 0.8, prior.resolution)
    generator = torch.Generator().manual_seed(0)
    rgb = torch.rand(batch, prior.resolution, prior.resolution, 3, generator=generator).requires_grad_()
    alpha = torch.ones(batch, prior.resolution, prior.resolution, 1)
    return cameras, Rendering(rgb, alpha, alpha)


def build(folder, **config):
    prior = DiffusionPrior(DiffusionPrior.Config(model=str(folder)))
    prior.requires_grad_(False)
    before = {name: p.clone() for name, p in prior.unet.named_parameters()}
    guidance = VSD(
        VSD.Config(**config), prior=prior, prompt="a red mushroom", generator=torch.Generator().manual_seed(0)
    )
    return prior, guidance, before


def test_v1_fresh_adapters_change_nothing(folder):
    prior, guidance, _ = build(folder, cfg_scale=1.0, clip=False)
    cameras, rendering = views(prior)
    assert guidance(rendering, cameras, 0).gradient.abs().max() < 1e-5
    prior, guidance, _ = build(folder, cfg_scale=7.5, clip=False)
    assert guidance(rendering, cameras, 0).gradient.abs().max() > 1e-4  # negative control


def test_v3_two_gradients_that_do_not_meet(folder):
    prior, guidance, _ = build(folder, cfg_scale=7.5)
    cameras, rendering = views(prior)
    output = guidance(rendering, cameras, 0)
    output.loss.backward()
    learning = [p for group in guidance.parameter_groups() for p in group["params"]]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in learning)
    frozen = [p for p in prior.unet.parameters() if not any(p is q for q in learning)]
    assert all(p.grad is None for p in frozen)
    # The rendering's gradient is that of the distillation alone, whatever the LoRA's loss weighs.
    prior, other, _ = build(folder, cfg_scale=7.5, opinion_weight=1000.0)
    _, again = views(prior)
    other(again, cameras, 0).loss.backward()
    assert torch.equal(rendering.rgb.grad, again.rgb.grad)


def lesson(guidance, rendering, cameras):
    """At the same times and under the same noise."""
    guidance.generator.manual_seed(5)
    return guidance(rendering, cameras, 0)


def taught(guidance, rendering, cameras, steps):
    """How much of the opinion's error is left after a few steps on the same pictures."""
    rendering.rgb.requires_grad_(False)
    optimizer = torch.optim.Adam(guidance.parameter_groups())
    first = lesson(guidance, rendering, cameras).metrics["lesson"]
    for _ in range(steps):
        optimizer.zero_grad()
        lesson(guidance, rendering, cameras).loss.backward()
        optimizer.step()
    return lesson(guidance, rendering, cameras).metrics["lesson"] / first


def test_the_opinion_learns_the_renderings_and_the_prior_stays_what_it_was(folder):
    prior, guidance, before = build(folder, cfg_scale=1.0, lr=0.01, rank=8, clip=False)
    cameras, rendering = views(prior)
    assert taught(guidance, rendering, cameras, 12) < 0.96
    assert guidance(rendering, cameras, 0).gradient.abs().max() > 1e-3  # the opinion is no longer the prior's
    after = {name.replace(".base_layer", ""): p for name, p in prior.unet.named_parameters() if "lora_" not in name}
    assert all(torch.equal(after[name], p) for name, p in before.items())


def test_an_opinion_of_the_embedded_prior_needs_its_convolutions():
    """Its attention says next to nothing, so that a LoRA of the attention alone, as published, cannot follow."""
    left = {}
    for adapt in ("attention", "all"):
        prior, guidance, _ = build("toybox", cfg_scale=1.0, lr=0.005, adapt=adapt)
        cameras, rendering = views(prior, 1)
        alpha = torch.zeros_like(rendering.alpha)
        alpha[:, 20:44, 20:44] = 1
        blue = Rendering(torch.tensor([0.1, 0.2, 0.9]) * alpha, alpha, alpha)  # a square; a red mushroom is asked for
        left[adapt] = taught(guidance, blue, cameras, 6)
    assert left["all"] < 0.8
    assert left["attention"] > left["all"] + 0.1


def test_asleep_the_prior_answers_as_if_there_were_no_adapters(folder):
    prior, guidance, _ = build(folder)
    for p in guidance.adapters.parameters():
        torch.nn.init.normal_(p)
    fresh = DiffusionPrior(DiffusionPrior.Config(model=str(folder)))
    x, t = torch.randn(prior.x_shape(1), generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    condition = fresh.condition("a red mushroom")
    with torch.no_grad():
        plain = fresh.denoise(x, t, condition).noise
        assert torch.equal(prior.denoise(x, t, prior.condition("a red mushroom")).noise, plain)
        with guidance.adapters.awake(torch.ones(1, 16)):
            assert not torch.allclose(prior.denoise(x, t, condition).noise, plain)


def test_a_checkpoint_brings_the_adapters_back(folder):
    prior, guidance, _ = build(folder)
    for p in guidance.adapters.parameters():
        torch.nn.init.normal_(p)
    state = {name: value.clone() for name, value in guidance.state_dict().items()}
    other, fresh, _ = build(folder)
    fresh.load_state_dict(state)
    x, t = torch.randn(prior.x_shape(1), generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    answers = []
    for model, opinion in ((prior, guidance), (other, fresh)):
        with torch.no_grad(), opinion.adapters.awake(torch.ones(1, 16)):
            answers.append(model.denoise(x, t, model.condition("a red mushroom")).noise)
    assert torch.equal(*answers)


@pytest.mark.parametrize("predicts", ["noise", "velocity", "clean"])
def test_v4_the_loss_of_every_kind_is_zero_for_the_truth_only(predicts):
    oracle = Oracle()
    x, t, noise = case()
    alpha, sigma = oracle.schedule.at(t, x)
    truth = Prediction.of("noise", noise, alpha * x + sigma * noise, alpha, sigma)
    wrong = Prediction.of("noise", 1.1 * noise, alpha * x + sigma * noise, alpha, sigma)
    assert opinion_loss(truth, x, noise, predicts) < 1e-18
    assert opinion_loss(wrong, x, noise, predicts) > 0.01


def test_the_pretrained_branch_turns_away_from_what_perp_neg_is_told(folder):
    gradients = {}
    for weight in (None, 0.0, 3.0):
        prior = DiffusionPrior(DiffusionPrior.Config(model=str(folder)))
        prior.requires_grad_(False)
        guidance = VSD(
            VSD.Config(cfg_scale=7.5, negative_weight=weight, clip=False),
            prior=prior,
            prompt="a red mushroom",
            negative_prompt="a blue chair" if weight is not None else "",
            generator=torch.Generator().manual_seed(0),
        )
        gradients[weight] = guidance(views(prior)[1], views(prior)[0], 0).gradient
    assert not torch.allclose(gradients[3.0], gradients[None], atol=1e-4)
    assert torch.allclose(gradients[0.0], gradients[None], atol=1e-4)
