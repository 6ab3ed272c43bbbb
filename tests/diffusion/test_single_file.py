"""One file with ldm's names: read as diffusers reads it, and as the folder that it was made from."""

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from distill3d.core.errors import UserError
from distill3d.diffusion import single_file
from distill3d.diffusion.ldm_names import open_clip_place, unet_name, vae_name
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.tensor_file import TensorFile
from tests.diffusion import pipelines

MAKERS = {
    "sd15": pipelines.stable_diffusion,
    "sd21": lambda: pipelines.stable_diffusion("v_prediction", open_clip=True),
    "sdxl": pipelines.sdxl,
    "ip2p": pipelines.instruct_pix2pix,
}


def ldm_state(pipeline, family):
    """The weights of a pipeline as the program that trained it would have saved them."""
    state = {}
    unet = pipeline.unet.state_dict()
    state |= {"model.diffusion_model." + unet_name(k, 2, unet): v for k, v in unet.items()}
    for key, value in pipeline.vae.state_dict().items():
        name = vae_name(key, 2)
        if ".attn_1." in name and value.ndim == 2:
            value = value[:, :, None, None]  # there it is a convolution
        state["first_stage_model." + name] = value
    if family == "sd21":
        state |= open_clip(pipeline.text_encoder, "cond_stage_model.model.")
    else:
        start = "conditioner.embedders.0" if family == "sdxl" else "cond_stage_model"
        text = pipeline.text_encoder.state_dict()
        state |= {f"{start}.transformer.text_model.{k.removeprefix('text_model.')}": v for k, v in text.items()}
    if family == "sdxl":
        state |= open_clip(pipeline.text_encoder_2, "conditioner.embedders.1.model.")
    return {k: v.contiguous() for k, v in state.items()}


def open_clip(model, start):
    thirds, state = {}, {}
    for key, value in model.state_dict().items():
        place = open_clip_place(key.removeprefix("text_model."))
        if place.third is not None:
            thirds.setdefault(start + place.name, {})[place.third] = value
        else:
            state[start + place.name] = value.T if place.transposed else value
    width = model.config.hidden_size
    state.setdefault(start + "text_projection", torch.eye(width))  # OpenCLIP always has one
    return state | {name: torch.cat([parts[i] for i in range(3)]) for name, parts in thirds.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A family's folder and its single file."""
    cache = {}

    def get(name):
        if name not in cache:
            root, pipeline = tmp_path_factory.mktemp(name), MAKERS[name]()
            pipelines.saved(pipeline, root / "folder")
            save_file(ldm_state(pipeline, name), root / "one.safetensors")
            cache[name] = root / "folder", root / "one.safetensors"
        return cache[name]

    return get


def door(model, layout=None, **options):
    layout = None if layout is None else str(layout)
    return DiffusionPrior(DiffusionPrior.Config(model=str(model), layout=layout, **options))


@pytest.mark.parametrize("name", MAKERS)
def test_the_file_is_the_folder(made, name):
    folder, file = made(name)
    one, other = door(file, folder), door(folder)
    ours, theirs = (p.state_dict() for p in (one, other))
    assert ours.keys() == theirs.keys()
    for key in theirs:
        assert torch.equal(ours[key], theirs[key]), key
    assert one.predicts == other.predicts
    x, t = torch.randn(one.x_shape(1), generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    image = torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(1)) if name == "ip2p" else None
    seen = [p.denoise(x, t, p.condition("a red chair", image=image)).noise for p in (one, other)]
    assert torch.allclose(*seen, atol=1e-5)


@pytest.mark.parametrize("name", ["sd15", "sd21", "sdxl"])
def test_the_file_is_what_diffusers_reads(made, name):
    folder, file = made(name)
    pipeline_class = StableDiffusionXLPipeline if name == "sdxl" else StableDiffusionPipeline
    theirs = pipeline_class.from_single_file(str(file), config=str(folder), local_files_only=True)
    ours = door(file, folder)
    pairs = [(ours.unet, theirs.unet), (ours.codec.vae, theirs.vae), (ours.text_encoder, theirs.text_encoder)]
    if name == "sdxl":
        pairs.append((ours.text_encoder_2, theirs.text_encoder_2))
    for mine, yours in pairs:
        for key, value in yours.state_dict().items():
            assert torch.equal(mine.state_dict()[key], value), key


def test_the_family_is_told_by_the_tensors(made):
    for name in ("sd15", "sdxl", "ip2p"):
        assert single_file.layout_of(TensorFile(made(name)[1])) == name
    with pytest.raises(UserError, match=r"say prior\.layout=sd21-base .* or prior\.layout=sd21 "):
        single_file.layout_of(TensorFile(made("sd21")[1]))


def test_half_precision_is_taken_over(made):
    folder, file = made("sd15")
    prior = door(file, folder, dtype="bfloat16")
    assert {p.dtype for p in prior.parameters()} == {torch.bfloat16}


def changed(made, tmp_path, change, name="sd15"):
    folder, file = made(name)
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, tmp_path / "changed.safetensors")
    return tmp_path / "changed.safetensors", folder


UNET = "model.diffusion_model."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(UNET + "out.2.weight"), r"'model\.diffusion_model\.out\.2\.weight' is missing"),
        (lambda t: t.pop("first_stage_model.quant_conv.bias"), r"quant_conv\.bias' is missing"),
        (
            lambda t: t.update({UNET + "extra.weight": torch.zeros(2)}),
            r"has no place for 'model\.diffusion_model\.extra",
        ),
        (
            lambda t: t.update({UNET + "out.2.weight": torch.zeros(3, 3)}),
            r"is \[3, 3\], the unet of .* wants \[4, 8, 3, 3\]",
        ),
        (lambda t: t.update({UNET + "out.2.bias": torch.zeros(4, dtype=torch.int8)}), r"is stored as I8"),
        (lambda t: t.update({UNET + "out.2.bias": torch.zeros(4).to(torch.float8_e4m3fn)}), r"is stored as F8_E4M3"),
        (lambda t: t.pop(UNET + "input_blocks.0.0.weight"), "is not a Stable Diffusion in one file"),
    ],
)
def test_a_file_with_wrong_tensors_is_refused(made, tmp_path, change, message):
    file, folder = changed(made, tmp_path, change)
    layout = None if "one file" in message else folder
    with pytest.raises(UserError, match=message) as error:
        door(file, layout)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_training_left_in_a_file_does_no_harm(made, tmp_path):
    extra = {
        "model_ema.decay": torch.zeros(()),
        "betas": torch.zeros(1000),
        "first_stage_model.loss.logvar": torch.zeros(()),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(12)[None],
    }
    file, folder = changed(made, tmp_path, lambda t: t.update(extra))
    assert door(file, folder).resolution == 16


def test_files_that_are_something_else_say_what_they_are(tmp_path):
    for name, message in {
        "lora_unet_x.lora_down.weight": r"it is a LoRA, which goes into prior\.lora",
        "down_blocks.0.resnets.0.conv1.weight": "it is one network of a folder",
        "control_model.time_embed.0.weight": "it is a ControlNet",
    }.items():
        save_file({name: torch.zeros(2, 2)}, tmp_path / "x.safetensors")
        with pytest.raises(UserError, match=message):
            door(tmp_path / "x.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "x.safetensors").read_bytes()[:-3])
    with pytest.raises(UserError, match="truncated"):
        door(tmp_path / "cut.safetensors")
    with pytest.raises(UserError, match="no such file or folder"):
        door(tmp_path / "none.safetensors")
    (tmp_path / "x.txt").write_text("?")
    with pytest.raises(UserError, match=r"neither a folder nor a \.safetensors file"):
        door(tmp_path / "x.txt")


def test_a_layout_is_for_single_files(made):
    folder, _ = made("sd15")
    with pytest.raises(UserError, match="layout is for a single file"):
        door(folder, folder)
    with pytest.raises(UserError, match="layout is for a single file"):
        door("sd15", folder)


def test_pickles_are_read_with_the_flag_alone_and_never_run(made, tmp_path):
    folder, file = made("sd15")
    torch.save({"state_dict": load_file(file), "global_step": 3}, tmp_path / "old.ckpt")
    with pytest.raises(UserError, match=r"is a pickle, which can run code.*allow_pickle"):
        door(tmp_path / "old.ckpt", folder)
    prior = door(tmp_path / "old.ckpt", folder, allow_pickle=True)
    for a, b in zip(prior.parameters(), door(folder).parameters(), strict=True):
        assert torch.equal(a, b)

    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('a pickle was run')",))

    torch.save({"state_dict": {"x": Bomb()}}, tmp_path / "bomb.ckpt")
    with pytest.raises(UserError, match="holds more than tensors") as error:
        door(tmp_path / "bomb.ckpt", folder, allow_pickle=True)
    assert "\n" not in str(error.value)
