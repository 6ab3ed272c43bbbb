"""ControlNets: one and several against diffusers' pipeline; weights by layer; regions; what does not fit."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline

from distill3d.core.errors import UserError
from distill3d.diffusion.control import decaying, weighted
from distill3d.diffusion.guided import guided
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.prior import DiffusionPrior
from tests.diffusion import pipelines

PROMPT, CFG = "a red chair", 4.0


@pytest.fixture(scope="module")
def nets():
    return [pipelines.controlnet(5), pipelines.controlnet(6)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, nets):
    root = tmp_path_factory.mktemp("control")
    pipelines.saved(pipelines.stable_diffusion(), root / "base")
    for name, net in zip(("depth", "edges"), nets, strict=True):
        net.save_pretrained(root / name)
    return root


def door(folders, *control, **options):
    sections = [{"model": str(folders / c)} if isinstance(c, str) else c for c in control]
    return DiffusionPrior(DiffusionPrior.Config(model=str(folders / "base"), control=sections, **options))


@pytest.fixture(scope="module")
def one(folders):
    return door(folders, "depth")


@pytest.fixture(scope="module")
def two(folders):
    return door(
        folders, {"model": str(folders / "depth"), "weight": 0.7}, {"model": str(folders / "edges"), "weight": 0.4}
    )


def picture(seed, channels=3):
    return torch.rand(1, 16, 16, channels, generator=torch.Generator().manual_seed(seed))


def noisy(prior, batch=1):
    x = torch.randn(prior.x_shape(batch), generator=torch.Generator().manual_seed(0))
    return x, torch.tensor([300, 700][:batch])


def first(image):
    return image.permute(0, 3, 1, 2)


def test_one_controlnet_steps_as_in_the_pipeline(one, nets):
    steps = pipelines.watched(
        pipelines.with_controlnet(nets[0]),
        prompt=PROMPT,
        image=first(picture(1)),
        guidance_scale=CFG,
        num_inference_steps=2,
    )
    condition, other = (one.condition(PROMPT, control=Hint(picture(seed))) for seed in (1, 2))
    for step in steps:
        x, t = step.x(4), step.time()
        assert torch.allclose(guided(one, x, t, condition, CFG).noise, step.output, atol=2e-5)
        assert not torch.allclose(guided(one, x, t, other, CFG).noise, step.output, atol=1e-3)
        assert not torch.allclose(guided(one, x, t, one.condition(PROMPT), CFG).noise, step.output, atol=1e-3)


def test_two_controlnets_step_as_in_the_pipeline(two, nets):
    steps = pipelines.watched(
        pipelines.with_controlnet(nets),
        prompt=PROMPT,
        image=[first(picture(1)), first(picture(2))],
        controlnet_conditioning_scale=[0.7, 0.4],
        guidance_scale=CFG,
        num_inference_steps=2,
    )
    condition = two.condition(PROMPT, control=[Hint(picture(1)), Hint(picture(2))])
    swapped = two.condition(PROMPT, control=[Hint(picture(2)), Hint(picture(1))])
    for step in steps:
        x, t = step.x(4), step.time()
        assert torch.allclose(guided(two, x, t, condition, CFG).noise, step.output, atol=2e-5)
        assert not torch.allclose(guided(two, x, t, swapped, CFG).noise, step.output, atol=1e-3)


def test_a_pipeline_folder_brings_its_own(tmp_path, nets, two):
    folder = pipelines.saved(pipelines.with_controlnet(nets[0]), tmp_path)
    prior = DiffusionPrior(DiffusionPrior.Config(model=str(folder)))
    x, t = noisy(prior)
    ours = prior.denoise(x, t, prior.condition(PROMPT, control=Hint(picture(1), weight=0.7))).noise
    theirs = two.denoise(x, t, two.condition(PROMPT, control=[Hint(picture(1)), None])).noise
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_layers_are_weighted_from_the_finest_to_the_middle(folders, nets):
    count = len(nets[0].controlnet_down_blocks) + 1
    prior = door(folders, {"model": str(folders / "depth"), "layers": [0.0] * (count - 1) + [1.0]})
    x, t = noisy(prior)
    text, options = prior.text([PROMPT]), {"return_dict": False}
    _, middle = nets[0](x, t, encoder_hidden_states=text, controlnet_cond=first(picture(1)), **options)
    theirs = (
        pipelines.stable_diffusion()
        .unet.eval()(
            x,
            t,
            encoder_hidden_states=text,
            down_block_additional_residuals=[torch.zeros(1)] * (count - 1),
            mid_block_additional_residual=middle,
        )
        .sample
    )
    ours = prior.denoise(x, t, prior.condition(PROMPT, control=Hint(picture(1)))).noise
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert decaying(3, 0.5) == [0.25, 0.5, 1.0]
    everywhere = door(folders, {"model": str(folders / "depth"), "layers": "decay", "weight": 2.0})
    assert everywhere.controls.layers[0] == [2 * w for w in decaying(count)]


def test_a_hint_of_no_weight_or_no_region_is_exactly_no_hint(one):
    x, t = noisy(one)
    plain = one.denoise(x, t, one.condition(PROMPT)).noise
    for hint in (Hint(picture(1), weight=0.0), Hint(picture(1), region=torch.zeros(1, 16, 16, 1))):
        assert torch.equal(one.denoise(x, t, one.condition(PROMPT, control=hint)).noise, plain)
    full = one.denoise(x, t, one.condition(PROMPT, control=Hint(picture(1)))).noise
    region = one.denoise(x, t, one.condition(PROMPT, control=Hint(picture(1), region=torch.ones(1, 16, 16, 1)))).noise
    assert torch.equal(region, full)
    assert not torch.allclose(full, plain, atol=1e-3)


def test_a_region_confines_every_residual_at_its_own_size():
    residuals = [torch.ones(2, 3, 8, 8), torch.ones(2, 5, 4, 4), torch.ones(2, 5, 2, 2)]
    region = torch.zeros(1, 16, 16, 1)
    region[:, :, :8] = 1
    found = weighted(residuals, [1.0, 2.0, 3.0], torch.tensor([1.0, 0.5]), region)
    for residual, result, layer in zip(residuals, found, (1, 2, 3), strict=True):
        half = residual.shape[-1] // 2
        assert torch.equal(result[0, :, :, :half], torch.full_like(result[0, :, :, :half], layer))
        assert torch.equal(result[1], result[0] / 2)
        assert not result[..., half:].any()


def test_a_half_region_lies_between_none_and_all(one):
    x, t = noisy(one)
    region = torch.zeros(1, 16, 16, 1)
    region[:, :, :8] = 1
    options = [None, Hint(picture(1), region=region), Hint(picture(1))]
    plain, half, full = (one.denoise(x, t, one.condition(PROMPT, control=hint)).noise for hint in options)
    left, right = ((half - full).abs()[..., :3].mean(), (half - full).abs()[..., 5:].mean())
    assert left < right  # nearer to the controlled prediction where the control is
    assert (half - plain).abs()[..., :3].mean() > (half - plain).abs()[..., 5:].mean()


def test_control_only_where_there_is_text(one):
    """Guess mode: a branch without a hint shares a batch with one that has it."""
    condition = one.condition(PROMPT, control=Hint(picture(1)))
    guess = replace(condition, unconditional=replace(condition.unconditional, control=()))
    x, t = noisy(one)
    alone = [one.denoise(x, t, c).noise for c in (condition, one.condition(PROMPT).unconditional)]
    together = guided(one, x, t, guess, CFG).noise
    assert torch.allclose(together, alone[1] + CFG * (alone[0] - alone[1]), atol=1e-4)


def test_grey_pictures_serve_as_colour(one):
    x, t = noisy(one)
    grey = picture(3, 1)
    as_grey, as_colour = (
        one.denoise(x, t, one.condition(PROMPT, control=Hint(image))).noise for image in (grey, grey.repeat(1, 1, 1, 3))
    )
    assert torch.allclose(as_grey, as_colour, atol=1e-5)
    assert not torch.allclose(as_grey, one.denoise(x, t, one.condition(PROMPT)).noise, atol=1e-3)


def test_control_of_sdxl(tmp_path):
    pipeline = pipelines.sdxl()
    pipelines.saved(pipeline, tmp_path / "base")
    net = pipelines.controlnet(7, pipeline.unet)
    net.save_pretrained(tmp_path / "net")
    prior = DiffusionPrior(
        DiffusionPrior.Config(model=str(tmp_path / "base"), control=[{"model": str(tmp_path / "net")}])
    )
    parts = {k: v for k, v in pipeline.components.items() if k not in ("image_encoder", "feature_extractor")}
    theirs = StableDiffusionXLControlNetPipeline(**parts, controlnet=net, add_watermarker=False)
    step = pipelines.watched(theirs, prompt=PROMPT, image=first(picture(1)), guidance_scale=CFG, num_inference_steps=1)[
        0
    ]
    condition = prior.condition(PROMPT, control=Hint(picture(1)))
    seen = guided(prior, step.x(4), step.time(), condition, CFG)
    assert torch.allclose(seen.noise, step.output, atol=2e-5)


@pytest.mark.parametrize(
    ("control", "message"),
    [
        (Hint(torch.zeros(1, 8, 16, 3)), r"picture for control 0 is \[1, 8, 16, 3\]"),
        (Hint(torch.zeros(3, 16, 16, 3)), r"picture for control 0 is \[3, 16, 16, 3\]"),
        (Hint(torch.zeros(1, 16, 16, 3), region=torch.zeros(1, 8, 8, 1)), r"region for control 0 is \[1, 8, 8, 1\]"),
        ([Hint(torch.zeros(1, 16, 16, 3))] * 2, "2 control pictures for a prior with 1 ControlNets"),
    ],
)
def test_hints_that_do_not_fit_are_refused(one, control, message):
    with pytest.raises(UserError, match=message):
        one.condition(PROMPT, control=control)


def test_controlnets_that_do_not_fit_are_refused(folders, tmp_path):
    with pytest.raises(UserError, match=r"layers has 2 weights; this ControlNet has \d layers"):
        door(folders, {"model": str(folders / "depth"), "layers": [1.0, 0.5]})
    with pytest.raises(UserError, match="no such file or folder"):
        door(folders, "nowhere")
    with pytest.raises(UserError, match="is of class 'UNet2DConditionModel', where ControlNetModel is expected"):
        door(folders, "base/unet")
    ControlNetModel.from_unet(pipelines.unet(), conditioning_embedding_out_channels=(4, 8, 8)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="shrinks its picture 4 times, the prior 2 times"):
        door(folders, {"model": str(tmp_path)})
    assert json.loads((folders / "depth/config.json").read_text())["_class_name"] == "ControlNetModel"
