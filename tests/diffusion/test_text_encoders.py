"""Prompts that are long, strange or empty."""

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.text_encoders import LONGEST_PROMPT, T5Encoder
from tests.diffusion import pipelines


@pytest.fixture(scope="module")
def embedded():
    return DiffusionPrior()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = pipelines.saved(pipelines.stable_diffusion(), tmp_path_factory.mktemp("sd"))
    return DiffusionPrior(DiffusionPrior.Config(model=str(folder)))


def test_unknown_words_are_named_and_the_rest_is_heard(embedded):
    assert embedded.unknown_words("a zorbly red mushroom, front view") == ["zorbly"]
    heard = embedded.condition("a zorbly red mushroom").text
    assert heard.isfinite().all()
    assert not torch.equal(heard, embedded.condition("a zorbly blue mushroom").text)


def test_pieces_of_words_are_never_unknown(clip):
    assert clip.unknown_words("zorbly") == []


def test_the_empty_prompt_is_a_prompt(embedded, clip):
    for prior in (embedded, clip):
        assert prior.unheard("") == ""
        assert torch.equal(prior.condition("").text, prior.condition("").unconditional.text)


def test_what_does_not_fit_is_said(clip, embedded):
    assert clip.text.limit == 12
    assert clip.unheard("a red cup") == ""
    cut = clip.unheard("a red chair with arms")
    assert cut.endswith("arms")
    assert torch.equal(clip.condition("a red chair with arms").text, clip.condition("a red chair with legs").text)
    assert not torch.equal(clip.condition("a red cup").text, clip.condition("a red cap").text)
    words = "a red mushroom on top of a blue cube beside a green cone and a yellow ball"
    assert embedded.unheard("a red mushroom") == ""
    assert embedded.unheard(words).endswith("ball")


def test_a_prompt_of_ten_thousand_characters_is_refused(embedded, clip):
    for prior in (embedded, clip):
        with pytest.raises(UserError, match=f"a prompt has 10000 characters; {LONGEST_PROMPT} are the most") as error:
            prior.condition("red " * 2500)
        assert len(str(error.value)) < 200
        assert prior.condition(("red " * 2500)[:LONGEST_PROMPT]).text.isfinite().all()


def test_t5_does_not_attend_to_padding_and_reads_lower_case():
    pipeline = pipelines.deepfloyd()
    encoder = T5Encoder(pipeline.tokenizer, pipeline.text_encoder.eval())
    assert torch.equal(encoder(["A Red Chair "]), encoder(["a red chair"]))
    alone = pipeline.text_encoder(torch.tensor([pipeline.tokenizer("a red chair")["input_ids"]])).last_hidden_state
    padded = encoder(["a red chair"])[:, : alone.shape[1]]
    assert torch.allclose(padded, alone, atol=1e-5)
    ids = encoder._padded("a red chair", pipeline.tokenizer)
    careless = pipeline.text_encoder(ids).last_hidden_state[:, : alone.shape[1]]
    assert not torch.allclose(careless, alone, atol=1e-3)
