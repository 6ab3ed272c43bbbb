"""Cross-attention to words, on toy-width networks of both layouts: what is heard, and that hearing changes nothing."""

from __future__ import annotations

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.word_attention import attention_to, listening, token_positions
from distill3d.diffusion.word_difference import difference_of
from tests.diffusion.folders import embedded_folder, stable_diffusion_folder

LAYOUTS = {"embedded": embedded_folder, "stable diffusion": stable_diffusion_folder}


@pytest.fixture(scope="module", params=LAYOUTS)
def prior(request, tmp_path_factory):
    folder = LAYOUTS[request.param](tmp_path_factory.mktemp("prior"))
    return DiffusionPrior.build({"kind": "diffusion", "model": str(folder)}, "prior", device=torch.device("cpu"))


def asked(prior, sentence="a red mushroom"):
    x = torch.randn(prior.x_shape(2), generator=torch.Generator().manual_seed(0))
    return x, torch.tensor([300, 700]), prior.condition([sentence] * 2)


def test_shares_of_all_tokens_add_up_to_one(prior):
    x, t, told = asked(prior)
    everything = list(range(told.text.shape[1]))
    maps = attention_to(prior, x, t, told, everything)
    assert maps.shape == (2, *x.shape[-2:])
    assert torch.allclose(maps, torch.ones_like(maps), atol=1e-5)
    one, two = (attention_to(prior, x, t, told, [k]) for k in (1, 2))
    assert not torch.allclose(one, two)  # negative control: each has its own
    assert torch.allclose(one + two, attention_to(prior, x, t, told, [1, 2]), atol=1e-5)


def test_a_token_that_every_place_asks_for_is_heard(prior):
    """Keys that say nothing: every token gets the same share."""
    layers = [m for name, m in prior.unet.named_modules() if name.endswith("attn2")]
    before = [layer.to_k.weight.detach().clone() for layer in layers]
    x, t, told = asked(prior)
    for layer in layers:
        layer.to_k.weight.data.zero_()
    flat = attention_to(prior, x, t, told, [1])
    for layer, weight in zip(layers, before, strict=True):
        layer.to_k.weight.data.copy_(weight)
    assert torch.allclose(flat, torch.full_like(flat, 1 / told.text.shape[1]), atol=1e-6)
    assert not torch.allclose(attention_to(prior, x, t, told, [1]), flat, atol=1e-6)  # negative control


def test_hearing_changes_nothing_and_ends(prior):
    x, t, told = asked(prior)
    before = dict(prior.unet.attn_processors)
    with torch.no_grad():
        plain = prior.denoise(x, t, told).clean
        with listening(prior.unet, [1]) as heard:
            assert torch.equal(prior.denoise(x, t, told).clean, plain)
        count = len(heard)
        prior.denoise(x, t, told)
    assert count == sum(name.endswith("attn2.processor") for name in before) == len(heard)
    assert all(prior.unet.attn_processors[name] is processor for name, processor in before.items())


def test_where_words_stand(prior):
    tokenizer = prior.text.tokenizer
    one, two = (token_positions(tokenizer, "a red mushroom", words) for words in ("red", "red mushroom"))
    assert two == [*one, one[0] + 1]
    for words in ("blue", "mushroom red", ""):
        with pytest.raises(UserError, match="does not say"):
            token_positions(tokenizer, "a red mushroom", words)


def test_a_network_that_cannot_be_heard_says_so():
    with pytest.raises(UserError, match="no cross-attention"), listening(torch.nn.Linear(1, 1), [0]):
        pass


def test_the_difference_of_a_text_to_itself_is_nothing(prior):
    x, t, told = asked(prior)
    other = prior.condition(["a blue chair"] * 2)
    assert float(difference_of(prior, x, t, told, [told]).abs().max()) == 0
    found = difference_of(prior, x, t, told, [other])
    assert found.shape[0] == 2
    assert float(found.min()) >= 0 < float(found.max())  # negative control
    assert torch.allclose(difference_of(prior, x, t, told, [other, told]), found / 2, atol=1e-6)
