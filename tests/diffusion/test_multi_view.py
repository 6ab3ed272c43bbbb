"""Priors whose views see each other: what is joint, what is not, and what is refused."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.joint_attention import see_together, self_attention
from distill3d.diffusion.multi_view import EMBEDDED_ATTENTION, MultiViewPrior
from distill3d.diffusion.mvdream import camera_matrix, diffusers_config, mvdream_name
from distill3d.diffusion.prior import DiffusionPrior, Prior
from tests.diffusion.folders import stable_diffusion_folder


@pytest.fixture(scope="module")
def alone():
    return DiffusionPrior()


@pytest.fixture(scope="module")
def joint():
    return MultiViewPrior.build({"kind": "multi_view"})


def seen(prior, batch=4, seed=0):
    x = torch.randn(prior.x_shape(batch), generator=torch.Generator().manual_seed(seed))
    cameras = Cameras.orbit(torch.arange(batch) * (2 * math.pi / 4), 0.2, size=64)
    return x, torch.full((batch,), 800), prior.condition("a red chair", cameras)


@torch.no_grad()
def test_a_view_hears_of_the_others_of_its_group_and_of_no_other(alone, joint):
    for prior, heard in ((joint, True), (alone, False)):
        x, t, condition = seen(prior, 8)
        before = prior.denoise(x, t, condition).clean
        x[0] += 1.0
        after = prior.denoise(x, t, condition).clean
        changed = (after - before).abs().amax((1, 2, 3))
        assert bool((changed[1:4] > 1e-6).all()) == heard
        assert float(changed[4:].max()) == 0  # the next group
        assert float(changed[0]) > 1e-3


@torch.no_grad()
def test_groups_do_not_depend_on_their_place(joint):
    x, t, condition = seen(joint, 8)
    x[4:] = x[:4]
    clean = joint.denoise(x, t, condition).clean
    torch.testing.assert_close(clean[:4], clean[4:], atol=2e-5, rtol=0)


@torch.no_grad()
def test_one_view_together_is_the_plain_network():
    prior = DiffusionPrior()
    x, t, condition = seen(prior)
    plain = prior.denoise(x, t, condition).clean
    see_together(prior.unet, 4)
    assert not torch.equal(prior.denoise(x, t, condition).clean, plain)
    see_together(prior.unet, 1)
    assert torch.equal(prior.denoise(x, t, condition).clean, plain)


def test_what_is_no_group_and_no_attention_is_refused(joint, tmp_path: Path):
    x, t, condition = seen(joint, 6)
    with pytest.raises(UserError, match="give a multiple"):
        joint.denoise(x, t, condition)
    config = MultiViewPrior.Config(attention=str(tmp_path / "none.safetensors"))
    with pytest.raises(UserError, match="no such file"):
        MultiViewPrior.examine(config)
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="not the self-attention"):
        MultiViewPrior.build({"kind": "multi_view", "attention": str(tmp_path / "other.safetensors")})
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "other.safetensors").read_bytes()[:-3])
    with pytest.raises(UserError, match="truncated"):
        MultiViewPrior.examine(MultiViewPrior.Config(attention=str(tmp_path / "cut.safetensors")))


def test_attention_comes_from_the_file(joint, tmp_path: Path):
    weights = {k: v.detach() + 0.25 for k, v in self_attention(joint.unet).items()}
    save_file(weights, tmp_path / "mine.safetensors")
    prior = Prior.build({"kind": "multi_view", "attention": str(tmp_path / "mine.safetensors")})
    other = dict(joint.unet.named_parameters())
    for name, parameter in prior.unet.named_parameters():
        assert torch.equal(parameter, weights.get(name, other[name]))


@torch.no_grad()
def test_the_embedded_prior_takes_its_layers_unless_told_not_to(alone, joint, tmp_path: Path):
    x, t, condition = seen(joint)
    default = joint.denoise(x, t, condition).clean
    layers = {k: v.float() for k, v in load_file(EMBEDDED_ATTENTION).items()}
    save_file(layers, tmp_path / "same.safetensors")
    same = Prior.build({"kind": "multi_view", "attention": str(tmp_path / "same.safetensors")})
    assert torch.equal(same.denoise(x, t, condition).clean, default)
    plain = Prior.build({"kind": "multi_view", "attention": "none"})
    assert plain.joint_canvas is None
    see_together(plain.unet, 1)
    assert torch.equal(plain.denoise(x, t, condition).clean, alone.denoise(x, t, condition).clean)
    quiet = {k: torch.zeros_like(v) if k.startswith("paint.") else v for k, v in layers.items()}
    save_file(quiet, tmp_path / "quiet.safetensors")
    silent = Prior.build({"kind": "multi_view", "attention": str(tmp_path / "quiet.safetensors")})
    assert torch.equal(silent.denoise(x, t, condition).clean, alone.denoise(x, t, condition).clean)
    assert not torch.allclose(default, alone.denoise(x, t, condition).clean, atol=1e-2)
    layers.popitem()
    save_file(layers, tmp_path / "fewer.safetensors")
    with pytest.raises(UserError, match="belongs to another prior"):
        Prior.build({"kind": "multi_view", "attention": str(tmp_path / "fewer.safetensors")})


@torch.no_grad()
def test_views_are_heard_from_a_noise_level_on(alone, joint):
    late = Prior.build({"kind": "multi_view", "heard_from": 0.8})
    x, _, condition = seen(joint)
    for level, heard in ((0.85, joint), (0.75, alone)):
        t = torch.full((len(x),), round(1000 * level))
        assert torch.equal(late.denoise(x, t, condition).clean, heard.denoise(x, t, condition).clean)
    two = torch.tensor([850] * 4 + [750] * 4)  # two groups at levels of their own
    both = torch.cat([x[:4], x[:4]])
    twice = late.condition("a red cube", cameras=None)
    near, far = late.denoise(both, two, twice).clean.split(4)
    assert torch.allclose(near, joint.denoise(x[:4], two[:4], twice).clean, atol=1e-5)
    assert torch.allclose(far, alone.denoise(x[:4], two[4:], twice).clean, atol=1e-5)
    assert not torch.allclose(near, alone.denoise(x[:4], two[:4], twice).clean, atol=1e-3)


def test_mvdream_is_loaded_from_its_published_layout(tmp_path: Path):
    """The names and the config of the published folder, at toy width. (The loader was compared with the published
    network's own code at that width: 3e-6 apart.)"""
    names = mvdream_folder(tmp_path)
    for name in ("camera_embed.2.bias", "input_blocks.2.1.transformer_blocks.0.attn1.to_q.weight", "out.2.weight"):
        assert name in names
    prior = Prior.build({"kind": "multi_view", "model": str(tmp_path)})
    x, t, condition = seen(prior)
    told = condition.view
    assert told.shape == (4, 16)
    before = prior.denoise(x, t, condition).noise
    x[0] += 1.0
    assert float((prior.denoise(x, t, condition).noise - before)[1:].abs().min(0).values.max()) > 0
    other = Cameras.orbit(torch.zeros(4), 0.2, size=64)
    assert not torch.allclose(prior.denoise(x, t, prior.condition("a red chair", other)).noise, before)


def test_mvdream_files_that_do_not_fit_are_named(tmp_path: Path):
    mvdream_folder(tmp_path)
    file = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    whole = load_file(file)
    for change, says in (
        ({"camera_embed.0.bias": None}, "'camera_embed.0.bias' is missing"),
        ({"camera_embed.0.bias": torch.zeros(3)}, "is [3], not"),
        ({"more": torch.zeros(3)}, "no place for 'more'"),
    ):
        save_file({k: v for k, v in (whole | change).items() if v is not None}, file)
        with pytest.raises(UserError, match=re.escape(says)):
            Prior.build({"kind": "multi_view", "model": str(tmp_path)})
    (tmp_path / "unet" / "config.json").write_text('{"_class_name": "MultiViewUNetModel"}')
    with pytest.raises(UserError, match="no config of a MultiViewUNetModel"):
        Prior.build({"kind": "multi_view", "model": str(tmp_path)})


def test_mvdream_hears_its_own_cameras():
    """The published `get_camera`: position (cos e sin a, -cos e cos a, sin e), x right, y up, looking along -z."""
    azimuth, elevation = torch.tensor([0.0, 0.7, 2.0]), 0.3
    told = camera_matrix(Cameras.orbit(azimuth, elevation, 2.7)).view(3, 4, 4)
    where = torch.stack([azimuth.sin(), -azimuth.cos(), torch.full((3,), math.tan(elevation))], -1) * math.cos(
        elevation
    )
    torch.testing.assert_close(told[:, :3, 3], where, atol=1e-6, rtol=0)
    torch.testing.assert_close(told[:, :3, 2], where, atol=1e-6, rtol=0)  # it looks at the origin
    torch.testing.assert_close(told[0, :3, 0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0)


def mvdream_folder(path: Path) -> set[str]:
    """A folder of the published classes, config keys and names, at toy width."""
    stable_diffusion_folder(path)
    config = {
        "_class_name": "MultiViewUNetModel",
        "image_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 32,
        "attention_resolutions": [2, 1],
        "num_res_blocks": 2,
        "channel_mult": [1, 2],
        "num_head_channels": 16,
        "transformer_depth": 1,
        "context_dim": 16,
        "camera_dim": 16,
    }
    torch.manual_seed(0)
    network = UNet2DConditionModel(**diffusers_config(config, path)).state_dict()
    tensors = {mvdream_name(key, 2, network): value.contiguous() for key, value in network.items()}
    shutil.rmtree(path / "unet")
    (path / "unet").mkdir()
    (path / "unet" / "config.json").write_text(json.dumps(config))
    save_file(tensors, path / "unet" / "diffusion_pytorch_model.safetensors")
    index = json.loads((path / "model_index.json").read_text())
    index |= {"_class_name": "MVDreamPipeline", "unet": ["mv_unet", "MultiViewUNetModel"]}
    (path / "model_index.json").write_text(json.dumps(index))
    return set(tensors)
