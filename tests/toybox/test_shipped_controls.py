"""The ControlNets that are shipped: samples follow their hint, more with more weight, and only where it counts."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from distill3d.diffusion.hint import Hint
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import sample
from distill3d.geometry.canny import canny
from distill3d.run.image import Asked
from distill3d.run.image_control import control
from distill3d.toybox.dataset import make_batch
from distill3d.toybox.hints import HINTS

COUNT, STEPS = 2, 6


@pytest.fixture(scope="module", params=HINTS)
def shipped(request):
    """A kind, its prior, and toys that no training has seen."""
    prior = DiffusionPrior(DiffusionPrior.Config(control=[{"model": f"toybox-{request.param}"}]))
    return request.param, prior, make_batch(12_345, 1, COUNT, 64, hint=request.param)


def sampled(prior, batch, hint):
    """Without a camera: the hint alone says where from."""
    seeds = [torch.Generator().manual_seed(i) for i in range(COUNT)]
    return sample(prior, prior.condition(batch.captions, control=hint), STEPS, 2.0, generator=seeds)


def adherence(kind, pictures, hints):
    """Of the silhouettes by intersection over union, of the edges by recall within a pixel."""
    shares = []
    for picture, hint in zip(pictures.numpy(), hints[..., 0].numpy(), strict=True):
        if kind == "depth":
            covered, wanted = picture[..., 3] > 0.5, hint > 0.12
            shares.append((covered & wanted).sum() / (covered | wanted).sum())
        else:
            near = ndimage.binary_dilation(canny(picture), np.ones((3, 3)))
            shares.append(near[hint > 0.5].mean())
    return float(np.mean(shares))


def test_samples_follow_their_hint_and_only_where_it_counts(shipped):
    kind, prior, batch = shipped
    left = torch.zeros(1, 64, 64, 1)
    left[:, :, :32] = 1
    free, full, other = (
        sampled(prior, batch, hint) for hint in (None, Hint(batch.hints), Hint(batch.hints.roll(1, 0)))
    )
    half = sampled(prior, batch, Hint(batch.hints, region=left))
    follows = adherence(kind, full, batch.hints)
    assert follows > 0.8
    assert 1 - follows < 0.6 * (1 - adherence(kind, free, batch.hints))
    assert 1 - follows < 0.6 * (1 - adherence(kind, other, batch.hints))  # negative control: another toy's hint
    inside, outside = (
        float((half - free)[:, :, side].abs().mean() / (full - free)[:, :, side].abs().mean())
        for side in (slice(None, 32), slice(32, None))
    )
    assert outside < 0.7 * inside


def test_the_verb_takes_them_by_name(tmp_path, shipped):
    kind, _, batch = shipped
    shown = batch.pictures[0] if kind == "edge" else batch.hints[0].expand(-1, -1, 3)
    Image.fromarray((255 * shown).round().byte().numpy()).save(tmp_path / "hint.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    asked = Asked(batch.captions[0], steps=2, control=[{"model": f"toybox-{kind}", "weight": 1.0}])
    canny_too = kind == "edge"
    made = [
        np.asarray(Image.open(control(tmp_path / "hint.png", asked, tmp_path / f"{i}.png", None, m, canny_too)))
        for i, m in enumerate((None, tmp_path / "mask.png"))
    ]
    assert made[0].shape == (64, 64, 4)
    assert not np.array_equal(*made)
