"""The mean picture beside the noisy one is made once for a walk, and is never an old one."""

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.diffusion.mean_picture import MeanPicture
from distill3d.diffusion.networks.canvas import Canvas
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import sample
from tests.diffusion.walks import seeded


@pytest.fixture
def canvas():
    torch.manual_seed(0)
    return Canvas(6, 4, 8, 16).requires_grad_(False)


@pytest.fixture
def calls(canvas):
    seen = []
    canvas.register_forward_hook(lambda *_: seen.append(1))
    return seen


@pytest.fixture
def labels():
    return torch.randn(2, 6, generator=seeded(1))


@torch.no_grad()
def test_the_same_labels_are_asked_once(canvas, calls, labels):
    mean = MeanPicture()
    first = mean(canvas, labels)
    assert torch.equal(mean(canvas, labels.clone()), first)
    assert len(calls) == 1


@torch.no_grad()
@pytest.mark.parametrize("change", ["a label", "a label in place", "fewer", "a weight", "other weights"])
def test_whatever_changes_it_is_asked_again(canvas, calls, labels, change):
    mean = MeanPicture()
    before = mean(canvas, labels)
    if change == "a label":
        labels = labels + torch.eye(2, 6)
    elif change == "a label in place":
        labels[0, 3] += 1
    elif change == "fewer":
        labels = labels[:1]
    elif change == "a weight":
        canvas.grid.bias[5] += 1
    else:
        canvas.load_state_dict({name: 0.5 * value for name, value in canvas.state_dict().items()})
    after = mean(canvas, labels)
    assert len(calls) == 2
    assert torch.equal(after, canvas(labels))
    assert not torch.equal(after, before[: len(after)]) or change == "fewer"


def test_a_training_gets_its_graph(canvas, calls, labels):
    mean = MeanPicture()
    with torch.no_grad():
        mean(canvas, labels)
    canvas.requires_grad_(True)
    mean(canvas, labels).sum().backward()
    assert canvas.fine.weight.grad is not None
    assert len(calls) == 2


def test_a_sampler_asks_the_canvas_once():
    prior = DiffusionPrior()
    seen = []
    prior.canvas.register_forward_hook(lambda *_: seen.append(1))
    condition = prior.condition("a red chair", Cameras.orbit(torch.tensor([0.4])))
    first = sample(prior, condition, 3, generator=seeded(0))
    assert len(seen) == 1
    # Control: other labels are not answered with the old picture.
    turned = prior.condition("a red chair", Cameras.orbit(torch.tensor([2.0])))
    assert not torch.equal(sample(prior, turned, 3, generator=seeded(0)), first)
    assert len(seen) == 2
