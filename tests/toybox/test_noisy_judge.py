"""The shipped classifier of noisy pictures reads through noise, and steers a prior that is told nothing."""

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import sample
from distill3d.run.image import steering
from distill3d.toybox.judge import Judge
from distill3d.toybox.noisy_judge import NoisyJudge
from distill3d.toybox.train_judge import draw
from distill3d.toybox.train_noisy_judge import FRESH, main, pair_labels, report, save, train


@pytest.fixture(scope="module")
def shipped():
    return NoisyJudge.load()


def test_it_reads_through_noise_and_less_the_more_there_is(shipped):
    table = report(shipped, draw(256, FRESH + 1))
    category, color = ([row[what] for row in table.values()] for what in ("category", "color"))
    assert category[0] > 0.7
    assert color[0] > 0.8
    assert category[0] > category[-1] + 0.2
    assert color[0] > color[-1] + 0.2
    assert category[-1] > 3 / 64  # even where little is to be seen, more than by chance
    torch.manual_seed(0)
    blank = report(NoisyJudge().eval(), draw(256, FRESH + 1))
    assert max(row["category"] for row in blank.values()) < 0.1


def test_it_steers_a_prior_that_is_told_nothing_towards_a_colour():
    """Of kind and colour it is the colour that is followed nearly always (`noisy_judge_weights/README.md`)."""
    prior, judge, count = DiffusionPrior(DiffusionPrior.Config()), Judge.load(), 4
    silent, red = prior.condition([""] * count), judge.colors.index("red")
    shares = {}
    for prompt, scale in (("a red mushroom", 0.0), ("a red mushroom", 20.0), ("a green mushroom", 20.0)):
        seeds = [torch.Generator().manual_seed(i) for i in range(count)]
        made = sample(prior, silent, 12, 1.0, generator=seeds, steer=steering(prompt, scale, prior))
        shares[prompt, scale] = float(judge.judge(made).color[:, red].mean())
    assert shares["a red mushroom", 20.0] > 0.6
    assert shares["a red mushroom", 0.0] < 0.4  # negative controls: no steering, and another colour
    assert shares["a green mushroom", 20.0] < 0.4


def test_it_knows_what_a_prompt_asks_of_it(shipped):
    both, pair = shipped.towards("a red mushroom")
    one, category = shipped.towards("a chair")
    x, t = torch.zeros(2, 64, 16, 16), torch.tensor([10, 900])
    assert both(x, t).shape == (2, 64 * 12)
    assert one(x, t).shape == (2, 64)
    assert torch.allclose(both(x, t).exp().sum(-1), torch.ones(2), atol=1e-5)
    assert (pair // 12, pair % 12) == (shipped.categories.index("mushroom"), shipped.colors.index("red"))
    assert category == shipped.categories.index("chair")
    for prompt in ("a quokka", "a red cube on top of a blue mug"):
        with pytest.raises(UserError, match="knows single toys"):
            shipped.towards(prompt)


def test_training_lowers_the_loss_and_what_is_saved_comes_back(tmp_path):
    torch.manual_seed(0)
    seen, judge = draw(64, 1), NoisyJudge((8, 8, 8))
    labels, x, t = pair_labels(judge, seen), torch.zeros(2, 64, 16, 16), torch.tensor([5, 600])
    before = judge.pairs(x, t)
    trained = train(judge, seen, 2)
    assert labels.max() < 64 * 12
    assert not torch.equal(trained.pairs(x, t), before)
    save(trained, tmp_path, {"seed": 0})
    assert torch.allclose(NoisyJudge.load(tmp_path).pairs(x, t), trained.pairs(x, t), atol=2e-2)
    with pytest.raises(UserError, match=r"has no config\.json"):
        NoisyJudge.load(tmp_path / "nothing")
    with pytest.raises(UserError, match="--pictures of 32"):
        main(["--pictures", "8", "--out", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()
