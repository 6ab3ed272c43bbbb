"""Folders that cannot be loaded say why, before anything is loaded."""

import json

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file, save_file

from distill3d.core.errors import UserError
from distill3d.diffusion import folder as folders
from distill3d.diffusion.checkpoint import predicted_kind
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.weight_files import weights
from tests.diffusion import pipelines
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
    change_weights(folder, lambda t: t.pop("conv_out.weight"))
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
        ({"unet": ["somewhere.evil", "UNet2DConditionModel"]}, "module 'somewhere.evil'"),
        ({"canvas": ["diffusers", "Canvas"]}, "module 'diffusers'"),
        ({"prior": ["diffusers", "PriorTransformer"]}, "part 'prior' is not supported"),
        ({"scheduler": ["diffusers", "EDMEulerScheduler"]}, "scheduler of class 'EDMEulerScheduler'"),
        ({"tokenizer": [None, None]}, "does not list 'tokenizer'"),
    ],
)
def test_what_the_door_does_not_know_is_refused_by_name(folder, change, message):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | change))
    with pytest.raises(UserError, match=message):
        door(folder)


@pytest.mark.parametrize(
    ("scheduler", "kind"),
    [
        (FlowMatchEulerDiscreteScheduler(shift=3.0), "flow"),
        (FlowMatchEulerDiscreteScheduler.from_config(DDIMScheduler(prediction_type="epsilon").config), "flow"),
        (DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"), "flow"),
        (DDIMScheduler(prediction_type="epsilon"), "noise"),
    ],
)
def test_a_flow_matching_folder_predicts_the_flow(folder, scheduler, kind):
    scheduler.save_pretrained(folder / "scheduler")
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert predicted_kind(config, folder) == kind
    straight = NoiseSchedule.from_config(config)
    assert torch.allclose(straight.alpha + straight.sigma, torch.ones(1).double(), atol=1e-9) == (kind == "flow")


def test_an_unknown_prediction_type_is_refused(folder):
    file = folder / "scheduler/scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prediction_type": "flow"}))
    with pytest.raises(UserError, match="prediction_type 'flow'"):
        door(folder)


def test_a_misspelt_model_suggests_the_nearest():
    with pytest.raises(UserError, match="did you mean 'toybox'"):
        folders.local("toybx")


def test_half_precision_variants_are_found(tmp_path):
    folder = stable_diffusion_folder(tmp_path)
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.fp16.safetensors")
    assert weights(folder / "unet")[1] == "fp16"
    assert door(folder).unet.dtype == torch.float32


def change_weights(folder, change, file=UNET):
    tensors = load_file(folder / file)
    change(tensors)
    save_file(tensors, folder / file, metadata={"format": "pt"})


@pytest.mark.parametrize("file", [UNET, TEXT])
def test_a_weight_too_many_is_named(folder, file):
    change_weights(folder, lambda t: t.update({"somewhere.else.weight": torch.zeros(2)}), file)
    with pytest.raises(UserError, match=r"no place for 'somewhere\.else\.weight'") as error:
        door(folder)
    assert str(folder / file.split("/")[0]) in str(error.value)


@pytest.mark.parametrize("file", [UNET, TEXT])
def test_a_weight_of_another_shape_is_named(folder, file):
    name = max(load_file(folder / file))
    change_weights(folder, lambda t: t.update({name: torch.zeros(3, 7)}), file)
    with pytest.raises(UserError, match="is missing or misshapen") as error:
        door(folder)
    assert name.removeprefix("text_model.") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("dtype", "name"), [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3")])
def test_weights_in_a_format_that_is_not_read_are_named(folder, dtype, name):
    change_weights(folder, lambda t: t.update({"conv_out.bias": t["conv_out.bias"].to(dtype)}))
    with pytest.raises(UserError, match=f"conv_out.bias is stored as {name}; F64, F32, F16, BF16 are read"):
        door(folder)


def test_tables_that_old_checkpoints_store_do_no_harm(folder):
    change_weights(folder, lambda t: t.update({"text_model.embeddings.position_ids": torch.arange(8)[None]}), TEXT)
    assert door(folder).resolution == 32


def test_shards_outside_the_folder_are_refused(tmp_path):
    folder = embedded_folder(tmp_path, shards="40KB")
    index = folder / (UNET + ".index.json")
    index.write_text(index.read_text().replace("diffusion_pytorch_model-00001", "../../diffusion_pytorch_model-00001"))
    with pytest.raises(UserError, match="which is not a file beside it"):
        door(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(min(t)), r"00002.*lacks '.*', which its index lists"),
        (lambda t: t.update({"surplus.weight": torch.zeros(3)}), "00002.*holds 'surplus.weight', which its index does"),
        (lambda t: t.update({max(t): torch.zeros(3, 7)}), "unet: weights do not fit .* is missing or misshapen"),
        (lambda t: None, None),
    ],
    ids=["missing", "extra", "shape", "untouched"],
)
def test_shards_that_are_not_what_the_index_says_are_refused(tmp_path, change, message):
    folder = embedded_folder(tmp_path, shards="40KB")
    shard = sorted((folder / "unet").glob("*.safetensors"))[1]
    change_weights(folder, change, shard.relative_to(folder))
    if message is None:
        assert door(folder).resolution == 32
        return
    with pytest.raises(UserError, match=message) as error:
        door(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("part", "key"), [("unet", "_class_name"), ("text_encoder", "architectures")])
def test_a_config_of_another_class_is_refused(folder, part, key):
    config = json.loads((folder / part / "config.json").read_text())
    config[key] = "FluxTransformer2DModel" if key == "_class_name" else ["BertModel"]
    (folder / part / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"is of class '(FluxTransformer2DModel|BertModel)', where .* is expected"):
        door(folder)


def test_a_scheduler_whose_numbers_mean_something_else_is_refused(folder):
    file = folder / "scheduler/scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"_class_name": "EDMEulerScheduler"}))
    with pytest.raises(UserError, match="scheduler of class 'EDMEulerScheduler' is not supported; did you mean"):
        door(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 9}, "its unet takes 9 channels; 4, or 8 with a picture, are known"),
        ({"out_channels": 5}, "its unet gives 5 channels for the 4 of a picture"),
        ({"cross_attention_dim": 24}, "text of width 16 for a unet that takes 24"),
        ({"class_embed_type": "timestep"}, "class labels that are not a camera vector"),
        (
            {
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 64,
            },
            "sentence and sizes are 48 numbers for a unet that takes 64",
        ),
    ],
)
def test_a_unet_that_wants_something_else_is_refused(tmp_path, changes, message):
    folder = pipelines.saved(pipelines.stable_diffusion(), tmp_path)
    pipelines.unet(**changes).save_pretrained(folder / "unet")
    with pytest.raises(UserError, match=message):
        door(folder)


def test_a_resolution_that_the_model_cannot_take_is_refused(folder, tmp_path):
    latent = stable_diffusion_folder(tmp_path / "latent")

    def at(path, resolution):
        return DiffusionPrior(DiffusionPrior.Config(model=str(path), resolution=resolution))

    assert at(latent, 24).x_shape(1) == (1, 4, 12, 12)
    x = torch.zeros(1, 4, 12, 12)
    assert at(latent, 24).denoise(x, torch.tensor([5]), at(latent, 24).condition("a chair")).noise.shape == x.shape
    with pytest.raises(UserError, match=r"prior\.resolution 21: this prior takes multiples of 2 from 4 pixels on"):
        at(latent, 21)
    with pytest.raises(UserError, match="this prior was made for 64 pixels alone"):
        at("toybox", 128)
    with pytest.raises(UserError, match="pictures of 15 x 16 with 3 channels; this prior takes multiples of 2 pixels"):
        at(latent, 16).encode(torch.zeros(1, 15, 16, 3))
    with pytest.raises(UserError, match=r"with 4 channels; this prior takes .* with 3 channels"):
        at(latent, 16).encode(torch.zeros(1, 16, 16, 4))


def test_pickled_weights_are_read_with_the_flag_and_never_run(folder):
    plain = [p.clone() for p in door(folder).parameters()]
    torch.save(load_file(folder / UNET), folder / "unet/diffusion_pytorch_model.bin")
    (folder / UNET).unlink()

    def trusting():
        return DiffusionPrior(DiffusionPrior.Config(model=str(folder), allow_pickle=True))

    assert all(torch.equal(a, b) for a, b in zip(trusting().parameters(), plain, strict=True))

    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('a pickle was run')",))

    torch.save({"conv_in.weight": Bomb()}, folder / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match="unet cannot be loaded as UNet2DConditionModel") as error:
        trusting()
    assert "\n" not in str(error.value)
