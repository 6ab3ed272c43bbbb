"""Folders that cannot be loaded say why, before anything is loaded."""

import json

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion import folder as folders
from distill3d.diffusion.prior import DiffusionPrior
from tests.diffusion.folders import embedded_folder, stable_diffusion_folder


@pytest.fixture
def folder(tmp_path):
    return embedded_folder(tmp_path / "prior")


def door(folder):
    return DiffusionPrior(DiffusionPrior.Config(model=str(folder)))


UNET = "unet/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
NEEDED = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "unet/config.json",
    UNET,
    "text_encoder/config.json",
    TEXT,
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "patches/config.json",
]


@pytest.mark.parametrize("file", NEEDED)
def test_a_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(UserError, match="is missing") as error:
        door(folder)
    assert str(folder / file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("file", [UNET, TEXT])
@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file_is_named(folder, file, keep):
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:keep])
    with pytest.raises(UserError, match="truncated") as error:
        door(folder)
    assert str(folder / file) in str(error.value)


def test_a_missing_shard_is_named(tmp_path):
    folder = embedded_folder(tmp_path, shards="40KB")
    shard = sorted((folder / "unet").glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(UserError, match=f"{shard.name} is missing"):
        door(folder)


def test_a_broken_json_is_named(folder):
    (folder / "unet/config.json").write_text('{"sample_size": ')
    with pytest.raises(UserError, match=r"unet/config\.json is not readable JSON"):
        door(folder)


@pytest.mark.parametrize("content", ['{"version": "1.0", "model"', "{}", "[]"])
def test_a_broken_tokenizer_is_named(folder, content):
    (folder / "tokenizer/tokenizer.json").write_text(content)
    with pytest.raises(UserError, match="tokenizer") as error:
        door(folder)
    assert "\n" not in str(error.value)


def test_an_index_without_weights_is_named(tmp_path):
    folder = embedded_folder(tmp_path, shards="40KB")
    (folder / (UNET + ".index.json")).write_text("{}")
    with pytest.raises(UserError, match="has no weight_map"):
        door(folder)


@pytest.mark.parametrize("key", ["patch_size", "channels"])
def test_patches_without_their_size_are_named(folder, key):
    config = json.loads((folder / "patches/config.json").read_text())
    del config[key]
    (folder / "patches/config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=f"needs {key}"):
        door(folder)


def test_pickled_weights_are_refused_and_not_opened(folder):
    (folder / UNET).unlink()

    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('a pickle was run')",))

    torch.save(Bomb(), folder / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match=r"pickled weights only.*convert to safetensors"):
        door(folder)


def test_a_missing_weight_is_not_made_up(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / UNET)
    del weights["conv_out.weight"]
    save_file(weights, folder / UNET, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"conv_out\.weight"):
        door(folder)


def test_weights_of_another_width_are_refused(folder):
    config = json.loads((folder / "unet/config.json").read_text())
    config["block_out_channels"] = [8, 24]
    (folder / "unet/config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="unet"):
        door(folder)


def test_patches_that_do_not_fit_the_network_are_refused(folder):
    config = json.loads((folder / "patches/config.json").read_text())
    (folder / "patches/config.json").write_text(json.dumps(config | {"patch_size": 2}))
    with pytest.raises(UserError, match="patches give 16 channels, unet takes 64"):
        door(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unet": ["somewhere.evil", "Thing"]}, "class 'Thing' is not supported"),
        ({"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}, "part 'text_encoder_2' is not supported"),
        ({"tokenizer": [None, None]}, "does not list 'tokenizer'"),
    ],
)
def test_what_the_door_does_not_know_is_refused_by_name(folder, change, message):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | change))
    with pytest.raises(UserError, match=message):
        door(folder)


def test_an_unknown_prediction_type_is_refused(folder):
    file = folder / "scheduler/scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prediction_type": "flow"}))
    with pytest.raises(UserError, match="prediction_type 'flow'"):
        door(folder)


def test_a_misspelt_model_suggests_the_nearest():
    with pytest.raises(UserError, match="did you mean 'toybox'"):
        folders.locate("toybx")


def test_half_precision_variants_are_found(tmp_path):
    folder = stable_diffusion_folder(tmp_path)
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.fp16.safetensors")
    assert folders.weights(folder / "unet")[1] == "fp16"
    assert door(folder).unet.dtype == torch.float32
