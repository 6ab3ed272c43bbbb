"""Text to 3D: what the guidance is shown, what is optimised, and what a checkpoint holds."""

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.guidance import Guidance, GuidanceOutput
from distill3d.run.config import load
from tests.diffusion.folders import embedded_folder

SMALL = {
    "renderer": {"kind": "nerf", "grid": {"levels": 4, "finest": 32}, "occupancy": {"resolution": 16}},
    "cameras": {"views": 2, "size": 16},
    "steps": 3,
}


class Watcher(Guidance):
    """Remembers what it was shown, and pulls every pixel towards opaque red."""

    kind = "watcher"

    def __init__(self, config=None, **context):
        super().__init__(config)
        self.context, self.seen = context, []

    def forward(self, rendering, cameras, step, preview=False):
        self.seen.append((rendering, cameras, step))
        target = torch.tensor([1.0, 0.0, 0.0])
        return GuidanceOutput(loss=(rendering.extras["foreground"] - target).square().mean(), metrics={"seen": 1.0})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return embedded_folder(tmp_path_factory.mktemp("prior") / "prior", size=32)


def build(folder, seed=0, **values):
    values = {"prompt": "a red mushroom", "prior.model": str(folder), **SMALL, **values}
    resolved = load("dreamfusion", seed=seed, **values)
    generator = torch.Generator().manual_seed(seed)
    return resolved.system(resolved.config, torch.device("cpu"), generator)


def test_sds_moves_the_field_and_leaves_the_prior_alone(folder):
    system = build(folder)
    before = [p.clone() for p in system.prior.parameters()]
    system.advance(0, None)
    losses = system.losses(0)
    assert set(losses) == {"sds"}
    losses["sds"].backward()
    assert system.renderer.field.table.grad.abs().sum() > 0
    assert all(p.grad is None for p in system.prior.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, system.prior.parameters(), strict=True))


def test_the_prior_is_no_part_of_a_checkpoint(folder):
    system = build(folder)
    names = set(system.state_dict())
    assert any(name.startswith("renderer.field") for name in names)
    assert not any("unet" in name or "text_encoder" in name for name in names)


def test_the_same_seed_gives_the_same_losses(folder):
    def run(seed):
        system = build(folder, seed)
        system.advance(0, None)
        return [float(system.losses(0)["sds"].detach()) for _ in range(2)]

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_the_guidance_learns_how_the_view_is_lit(folder):
    watcher = [{"kind": "watcher"}]
    shaded = build(folder, guidance=watcher, light={"shaded": 1.0})
    shaded.losses(0)
    plain = build(folder, guidance=watcher, light={"shaded": 0.0})
    plain.losses(0)
    (lit, cameras, _), (flat, _, _) = shaded.guidance[0].seen[0], plain.guidance[0].seen[0]
    assert (lit.extras["light"] == 1).all()
    assert (flat.extras["light"] == 0).all()
    assert len(cameras) == 2
    assert lit.normal is not None
    assert shaded.guidance[0].context["prompt"] == "a red mushroom"


def test_textureless_views_show_shape_alone(folder):
    system = build(folder, guidance=[{"kind": "watcher"}], light={"shaded": 1.0, "textureless": 1.0})
    system.losses(0)
    rendering = system.guidance[0].seen[0][0]
    color = rendering.extras["foreground"]
    assert torch.allclose(color[..., 0], color[..., 1])  # grey
    assert color.std() > 0.01  # but shaded


def test_penalties_are_weighted_by_their_ramps(folder):
    system = build(folder, guidance=[{"kind": "watcher"}], losses={"sparsity": {0: 0, 10: 2}, "opacity": 0.5})
    assert set(system.losses(0)) == {"watcher", "opacity"}
    rendering = system.guidance[0].seen[0][0]
    five, ten = (system.penalties(rendering, step)["sparsity"] for step in (5, 10))
    assert torch.allclose(2 * five, ten)


def test_a_guided_field_becomes_what_it_is_asked_for(folder):
    system = build(folder, guidance=[{"kind": "watcher"}], light={"shaded": 0.0})
    optimizer = torch.optim.Adam(system.parameter_groups())
    for step in range(40):
        system.advance(step, optimizer)
        optimizer.zero_grad()
        loss = system.losses(step)["watcher"]
        loss.backward()
        optimizer.step()
        if step == 0:
            first = float(loss.detach())
    assert float(loss.detach()) < 0.6 * first
    red, green, blue = system.renderer.color_at(torch.tensor([[0.0, 0.0, 0.2]]))[0].tolist()
    assert red > 0.7 > 0.3 > max(green, blue)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt": " "}, "prompt"),
        ({"guidance.0.cfg_skale": 3}, "did you mean 'cfg_scale'"),
        ({"renderer.kind": "nerv"}, "did you mean 'nerf'"),
        ({"cameras.elevation": [10, -10]}, "elevation"),
    ],
)
def test_mistakes_are_named_before_anything_is_built(values, message):
    with pytest.raises(UserError, match=message):
        load("dreamfusion", **{"prompt": "a cube", **values})


def test_words_that_the_prior_cannot_hear_are_named(folder):
    assert build(folder).notices() == []
    (notice,) = build(folder, prompt="a red zeppelin").notices()
    assert "zeppelin" in notice
    assert "red" not in notice
