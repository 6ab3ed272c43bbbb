"""Every published family, against what diffusers' own pipeline for it computes from the same inputs."""

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion.ddpm import ddpm
from distill3d.diffusion.guided import chained, guided
from distill3d.diffusion.instruct import instructed
from distill3d.diffusion.learned_variance import UncertainPrediction, learned_std
from distill3d.diffusion.prior import DiffusionPrior, Prior
from distill3d.diffusion.sampling import sample
from tests.diffusion import pipelines

PROMPT, NEGATIVE, CFG = "a red chair", "a mug", 5.0
MAKERS = {
    "sd15": pipelines.stable_diffusion,
    "sd21": lambda: pipelines.stable_diffusion("v_prediction", open_clip=True),
    "sdxl": pipelines.sdxl,
    "if": pipelines.deepfloyd,
    "ip2p": pipelines.instruct_pix2pix,
}


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """The pipeline of a family, and our prior from the folder that it wrote."""
    made = {}

    def get(name):
        if name not in made:
            pipeline = MAKERS[name]()
            folder = pipelines.saved(pipeline, tmp_path_factory.mktemp(name))
            made[name] = pipeline, Prior.build({"kind": "diffusion", "model": str(folder)})
        return made[name]

    return get


def close(ours, theirs):
    return torch.allclose(ours, theirs, atol=2e-5, rtol=1e-4)


def picture(size, seed=0):
    return torch.rand(1, size, size, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("negative", [None, NEGATIVE])
@pytest.mark.parametrize("name", ["sd15", "sd21", "sdxl", "if"])
def test_guided_steps_are_those_of_the_pipeline(family, name, negative):
    pipeline, prior = family(name)
    options = {"clean_caption": False} if name == "if" else {}
    steps = pipelines.watched(
        pipeline, prompt=PROMPT, negative_prompt=negative, guidance_scale=CFG, num_inference_steps=3, **options
    )
    condition = prior.condition(PROMPT, negative=negative or "")
    assert len(steps) >= 3
    for step in steps:
        x = step.x(prior.x_shape(1)[1])
        seen = guided(prior, x, step.time(), condition, CFG)
        output = step.output[:, : x.shape[1]]
        assert close(seen.velocity if name == "sd21" else seen.noise, output)
        wrong = guided(prior, x, step.time(), prior.condition("a blue mug", negative=negative or ""), CFG)
        assert not close(wrong.velocity if name == "sd21" else wrong.noise, output)


@pytest.mark.parametrize("name", ["sd15", "sd21", "sdxl", "ip2p"])
def test_pictures_go_through_the_autoencoder_as_in_the_pipeline(family, name):
    pipeline, prior = family(name)
    images = picture(prior.resolution)
    with torch.no_grad():
        factor = pipeline.vae.config.scaling_factor
        theirs = pipeline.vae.encode(2 * images.permute(0, 3, 1, 2) - 1).latent_dist.mode() * factor
        back = pipeline.vae.decode(theirs / factor).sample
        assert close(prior.encode(images), theirs)
        assert close(2 * prior.decode(theirs) - 1, back.permute(0, 2, 3, 1))
        assert not close(prior.encode(images), theirs / factor)


def test_deepfloyd_works_on_pixels(family):
    _, prior = family("if")
    images = picture(prior.resolution)
    assert torch.allclose(prior.encode(images), 2 * images.permute(0, 3, 1, 2) - 1)
    assert torch.allclose(prior.decode(prior.encode(images)), images, atol=1e-6)
    assert prior.clip_range == (-1, 1)
    assert prior.x_shape(2) == (2, 3, 16, 16)


def test_deepfloyd_says_how_sure_it_is(family):
    pipeline, prior = family("if")
    steps = pipelines.watched(pipeline, prompt=PROMPT, guidance_scale=CFG, num_inference_steps=4, clean_caption=False)
    times = [step.t for step in steps] + [-1]
    for step, s in zip(steps, times[1:], strict=True):
        seen = prior.denoise(step.x(3), step.time(), prior.condition(PROMPT))
        assert isinstance(seen, UncertainPrediction)
        assert close(seen.share, (step.output[:, 3:] + 1) / 2)
        assert isinstance(seen.clipped((-1, 1)), UncertainPrediction)
        std = learned_std(prior.schedule, seen.share, step.time(), torch.tensor([s]))
        log_variance = pipeline.scheduler._get_variance(step.t, step.output[:, 3:])
        assert torch.allclose(std, (0.5 * log_variance).exp(), rtol=2e-3 if s >= 0 else 5e-2)
        low, high = (
            learned_std(prior.schedule, torch.full_like(std, v), step.time(), torch.tensor([s])) for v in (0, 1)
        )
        assert (low < high).all()


def test_deepfloyd_is_sampled_with_its_own_variance_as_in_the_pipeline(family):
    pipeline, prior = family("if")
    theirs = pipeline(
        prompt=PROMPT, guidance_scale=CFG, num_inference_steps=6, clean_caption=False, output_type="pt",
        generator=torch.Generator().manual_seed(3),
    ).images.permute(0, 2, 3, 1)  # fmt: skip
    theirs = (theirs + 1) / 2  # "pt" leaves them in -1..1
    ours, fixed = (
        sample(
            prior, prior.condition(PROMPT), 6, CFG, generator=torch.Generator().manual_seed(3), sampler=name,
            spacing="leading",
        )
        for name in ("ddpm-learned", "ddpm")
    )  # fmt: skip
    assert torch.allclose(ours, theirs, atol=2e-3)
    assert not torch.allclose(fixed, theirs, atol=2e-2)  # as it was when guidance lost the variance


def test_guidance_keeps_the_conditions_own_variance(family):
    prior = family("if")[1]
    condition, t = prior.condition(PROMPT), torch.tensor([500])
    x = torch.randn(prior.x_shape(1), generator=torch.Generator().manual_seed(0))
    own, other = (prior.denoise(x, t, c).share for c in (condition, condition.unconditional))
    assert not torch.allclose(own, other, atol=1e-5)
    for seen in (
        guided(prior, x, t, condition, CFG),
        guided(prior, x, t, condition, CFG, rescale=0.7),
        guided(prior, x, t, condition, 1.0),
        chained(prior, x, t, [condition.unconditional, condition], [CFG]),
    ):
        assert torch.allclose(seen.share, own, atol=1e-6)


def test_a_learned_variance_is_asked_of_those_who_say_one(family):
    prior = family("sd15")[1]
    with pytest.raises(UserError, match="says no variance"):
        ddpm(
            prior.schedule, lambda x, t: guided(prior, x, t, prior.condition(PROMPT), 1.0),
            torch.zeros(prior.x_shape(1)), [500, 200, -1], "learned",
        )  # fmt: skip


def test_the_two_bounds_of_the_learned_variance_are_those_of_ancestral_sampling(family):
    schedule = family("if")[1].schedule
    t, s = torch.tensor([600, 40]), torch.tensor([550, 3])
    ends = [learned_std(schedule, torch.full((2, 3, 1, 1), v).double(), t, s)[:, 0, 0, 0] for v in (0.0, 1.0)]
    assert torch.allclose(ends[0], schedule.sigma_eta(t, s))
    assert torch.allclose(ends[1], schedule.step_variance(t, s).sqrt())


def test_sdxl_hears_two_encoders_and_sizes(family, tmp_path):
    pipeline, prior = family("sdxl")
    text, _, sentence, _ = pipeline.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    condition = prior.condition(PROMPT)
    assert close(condition.text, text)
    assert close(condition.sentence, sentence)
    assert condition.sizes.tolist() == [[16, 16, 0, 0, 16, 16]]
    assert not condition.unconditional.text.any()
    assert not condition.unconditional.sentence.any()
    assert prior.condition(PROMPT, negative=NEGATIVE).unconditional.text.any()

    folder = pipelines.saved(pipeline, tmp_path)
    told = DiffusionPrior(DiffusionPrior.Config(model=str(folder), micro={"original": [40, 30], "crop": [2, 5]}))
    step = pipelines.watched(
        pipeline,
        prompt=PROMPT,
        guidance_scale=CFG,
        num_inference_steps=1,
        original_size=(40, 30),
        crops_coords_top_left=(2, 5),
    )[0]
    x, t = step.x(4), step.time()
    assert close(guided(told, x, t, told.condition(PROMPT), CFG).noise, step.output)
    assert not close(guided(prior, x, t, prior.condition(PROMPT), CFG).noise, step.output)


def test_instructions_and_pictures_have_scales_of_their_own(family):
    pipeline, prior = family("ip2p")
    image = picture(16)
    steps = pipelines.watched(
        pipeline,
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        image=image.permute(0, 3, 1, 2),
        guidance_scale=CFG,
        image_guidance_scale=1.7,
        num_inference_steps=2,
    )
    condition = prior.condition(PROMPT, negative=NEGATIVE, image=image)
    assert close(condition.image, steps[0].seen[:1, 4:])
    for step in steps:
        x, t = step.x(4), step.time()
        assert close(guided(prior, x, t, *instructed(condition, CFG, 1.7)).noise, step.output)
        assert not close(guided(prior, x, t, *instructed(condition, 1.7, CFG)).noise, step.output)
        plain = guided(prior, x, t, *instructed(condition, CFG, 1.0)).noise
        assert torch.allclose(plain, guided(prior, x, t, condition, CFG).noise, atol=1e-5)


def test_a_picture_is_asked_for_where_it_is_needed_and_only_there(family):
    with pytest.raises(UserError, match="needs one beside the prompt"):
        family("ip2p")[1].condition(PROMPT)
    with pytest.raises(UserError, match="takes no picture"):
        family("sd15")[1].condition(PROMPT, image=picture(16))
    with pytest.raises(UserError, match=r"the picture to edit is \[1, 8, 8, 3\]"):
        family("ip2p")[1].condition(PROMPT, image=picture(8))
    with pytest.raises(ValueError, match="no branch without a picture"):
        instructed(family("sd15")[1].condition(PROMPT))


@pytest.mark.parametrize("name", ["sd15", "sd21", "sdxl", "if"])
def test_several_pictures_are_each_as_if_alone(family, name):
    _, prior = family(name)
    x = torch.randn(prior.x_shape(2), generator=torch.Generator().manual_seed(1))
    t = torch.tensor([900, 50])
    together = guided(prior, x, t, prior.condition([PROMPT, "a tree"], negative=["", NEGATIVE]), 3.0).noise
    first = guided(prior, x[:1], t[:1], prior.condition(PROMPT), 3.0).noise
    second = guided(prior, x[1:], t[1:], prior.condition("a tree", negative=NEGATIVE), 3.0).noise
    assert torch.allclose(together, torch.cat([first, second]), atol=1e-4)
    assert not torch.allclose(together.flip(0), torch.cat([first, second]), atol=1e-2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_near_the_truth(family, dtype):
    _, prior = family("sdxl")
    rough = DiffusionPrior(DiffusionPrior.Config(model=prior.config.model, dtype=dtype))
    assert rough.unet.dtype == getattr(torch, dtype)
    overflow_safe = torch.float32 if dtype == "float16" else torch.bfloat16
    assert rough.codec.vae.dtype == overflow_safe  # SDXL's own autoencoder overflows in float16
    x = torch.randn(prior.x_shape(1), generator=torch.Generator().manual_seed(1))
    one, other = (p.denoise(x, torch.tensor([500]), p.condition(PROMPT)).noise for p in (prior, rough))
    assert other.dtype == torch.float32
    assert 0 < (one - other).abs().max() < 0.1 * one.abs().max()
