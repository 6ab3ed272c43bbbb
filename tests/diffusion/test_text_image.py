"""Every encoder behind the one door; what cannot be opened is refused in one line."""

import json
import shutil
import sys

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel

from distill3d.core.errors import UserError
from distill3d.diffusion.conv_clip import ConvClip, ConvClipShape
from distill3d.diffusion.text_image import MEAN, STD, check, load_text_image
from distill3d.toybox.model import END
from distill3d.toybox.train_clip import WORDS, clip_tokenizer

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory):
    """A CLIP as transformers writes it, of toy width."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    end = WORDS.index(END)
    text = {**SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 12, "eos_token_id": end, "bos_token_id": end}
    vision = {**SMALL, "image_size": 16, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(folder)
    clip_tokenizer(12).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    torch.manual_seed(0)
    shape = ConvClipShape(size=16, widths=(4, 4, 8, 8), text_width=16, text_layers=1, vocabulary=len(WORDS))
    ConvClip(shape).save(folder)
    clip_tokenizer(shape.tokens).save_pretrained(folder)
    return folder


def test_a_folder_of_transformers_gives_what_transformers_gives(hub_folder):
    encoder, model = load_text_image(hub_folder), CLIPModel.from_pretrained(hub_folder).eval()
    pictures = torch.rand(3, 16, 16, 3)
    ids = torch.tensor(
        encoder.tokenizer(["a red mushroom", "a blue chair"], padding="max_length", max_length=12).input_ids
    )
    pixels = (pictures - torch.tensor(MEAN)) / torch.tensor(STD)
    with torch.no_grad():
        theirs = model(input_ids=ids, pixel_values=pixels.permute(0, 3, 1, 2))
    assert torch.allclose(encoder.pictures(pictures), F.normalize(theirs.image_embeds, dim=1), atol=1e-5)
    assert torch.allclose(encoder.texts(["a red mushroom", "a blue chair"]), F.normalize(theirs.text_embeds), atol=1e-5)


@pytest.mark.parametrize("folder", ["hub_folder", "own_folder"])
def test_vectors_are_of_unit_length_and_gradient_reaches_the_picture_alone(folder, request):
    encoder = load_text_image(request.getfixturevalue(folder))
    pictures = torch.rand(2, 20, 20, 3, requires_grad=True)
    seen, said = encoder.pictures(pictures), encoder.texts(["a red mushroom", "a blue chair", "a cake"])
    assert torch.allclose(seen.norm(dim=1), torch.ones(2), atol=1e-5)
    assert torch.allclose(said.norm(dim=1), torch.ones(3), atol=1e-5)
    assert not said.requires_grad
    (seen @ said.T).sum().backward()
    assert pictures.grad.abs().max() > 0
    assert all(p.grad is None and not p.requires_grad for p in encoder.model.parameters())


def test_words_after_the_end_count_nothing_and_words_before_it_do(own_folder):
    encoder = load_text_image(own_folder)
    one, two, three = encoder.texts(["a red chair", "a red mug", "a blue chair"])
    assert not torch.allclose(one, two, atol=1e-3)
    assert not torch.allclose(one, three, atol=1e-3)
    ids = torch.tensor([encoder.tokenizer("a red chair").input_ids])
    assert torch.allclose(F.normalize(encoder.model.hear(ids), dim=1)[0], one, atol=1e-6)  # without any padding


def test_what_was_saved_is_what_is_loaded(own_folder, tmp_path):
    clip = ConvClip.load(own_folder)
    clip.save(tmp_path)
    again, pixels = ConvClip.load(tmp_path), torch.rand(2, 3, 16, 16)
    assert torch.equal(again.see(pixels), clip.see(pixels))


def broken(folder, tmp_path, change):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    change(copy)
    return copy


def rewritten(name, **values):
    def change(folder):
        content = json.loads((folder / name).read_text()) | values
        (folder / name).write_text(json.dumps(content))

    return change


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncated(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pickled, "pickled weights only.*can run code"),
        (truncated, "truncated"),
        (rewritten("config.json", model_type="bert"), "describes a 'bert'"),
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    ],
)
def test_a_folder_that_is_not_one_is_refused_before_anything_is_loaded(hub_folder, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        check(broken(hub_folder, tmp_path, change))
    assert check(hub_folder) == hub_folder


def test_weights_that_do_not_fit_are_named(own_folder, hub_folder, tmp_path):
    with pytest.raises(UserError, match="do not fit"):
        load_text_image(broken(own_folder, tmp_path, rewritten("config.json", space=7)))
    shutil.rmtree(tmp_path / "copy")
    with pytest.raises(UserError, match="copy"):
        load_text_image(broken(hub_folder, tmp_path, rewritten("config.json", projection_dim=7)))


def test_a_name_that_is_no_folder_says_what_could_be_there():
    with pytest.raises(UserError, match=r"guidance\.model 'nowhere' is neither 'toybox' nor a folder"):
        check("nowhere", "guidance.model")


def test_a_model_of_open_clip_says_what_to_install(tmp_path, own_folder, monkeypatch):
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {}}))
    shutil.copy(own_folder / "model.safetensors", tmp_path / "open_clip_model.safetensors")
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(UserError, match="pip install 'open_clip_torch"):
        load_text_image(tmp_path)
