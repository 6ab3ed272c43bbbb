import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.view_names import with_view
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import sample
from distill3d.diffusion.text_only import TextOnlyPrior, spoken
from distill3d.diffusion.view import view_vector
from distill3d.toybox.judge import Judge
from tests.diffusion import pipelines


@pytest.fixture(scope="module")
def prior() -> TextOnlyPrior:
    return TextOnlyPrior()


def test_a_view_is_taken_out_of_the_words_and_put_where_the_camera_stands():
    texts, views = spoken(["a red car, back view", "a red car", "a red car, back view of it"])
    assert texts == ["a red car", "a red car", "a red car, back view of it"]
    assert not views[1:].any()
    back = view_vector(Cameras.orbit(torch.pi, torch.tensor(20.0).deg2rad()))[0]
    assert torch.allclose(views[0], back, atol=1e-6)


def test_cameras_are_not_heard(prior: TextOnlyPrior):
    there = prior.condition(["a red car"], Cameras.orbit(0.0))
    elsewhere = prior.condition(["a red car"], Cameras.orbit(2.0))
    assert torch.equal(there.view, elsewhere.view)
    assert not there.view.any()
    full = DiffusionPrior()
    assert not torch.equal(full.condition(["a red car"], Cameras.orbit(2.0)).view, there.view)


def test_no_view_is_heard_without_the_text(prior: TextOnlyPrior):
    condition = prior.condition([with_view("a red car", "side")])
    assert condition.view.any()
    assert not condition.unconditional.view.any()


def test_samples_show_the_side_that_is_spoken_of(prior: TextOnlyPrior):
    asked = ("front", "side", "back")
    condition = prior.condition([with_view("a yellow duck", name) for name in asked])
    pictures = sample(prior, condition, 8, 2.0, generator=torch.Generator().manual_seed(0))
    wide = (pictures[..., 3] > 0.5).any(1).sum(1)
    assert wide[1] > 1.2 * wide[0]  # a duck is longer than it is wide
    assert wide[1] > 1.2 * wide[2]
    assert Judge.load().judge(pictures).category_names == ["duck"] * 3


def test_a_prior_without_a_camera_is_refused(tmp_path):
    folder = pipelines.saved(pipelines.stable_diffusion(), tmp_path / "sd")
    with pytest.raises(UserError, match="has no camera, as the toybox has, to leave out"):
        TextOnlyPrior(TextOnlyPrior.Config(model=str(folder)))
