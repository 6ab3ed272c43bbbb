"""LoRA files in both ways of naming, against what diffusers makes of the same files through PEFT."""

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from distill3d.core.errors import UserError
from distill3d.diffusion.ldm_names import unet_name
from distill3d.diffusion.prior import DiffusionPrior
from tests.diffusion import pipelines

peft = pytest.importorskip("peft")
X = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
T = torch.tensor([400])
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("lora")
    pipelines.saved(pipelines.stable_diffusion(), root / "sd")
    pipelines.saved(pipelines.sdxl(), root / "xl")
    return root


def door(folder, *lora):
    return DiffusionPrior(
        DiffusionPrior.Config(model=str(folder), lora=[{"file": str(f), "scale": s} for f, s in lora])
    )


def seen(prior):
    return prior.denoise(X, T, prior.condition("a red chair")).noise


def factors(module, rank, generator):
    """Random down and up factors for a linear layer or a convolution."""
    out, inside, *kernel = module.weight.shape
    down = torch.randn(rank, inside, *kernel, generator=generator) * 0.3
    return down, torch.randn(out, rank, *[1] * len(kernel), generator=generator) * 0.3


def in_kohyas_names(pipeline, ends, ldm=False, rank=3, alpha=2.0):
    """What kohya's trainer writes for the modules of a pipeline that end so; with ldm's names for SDXL."""
    generator = torch.Generator().manual_seed(4)
    te = ("te1", "te2") if hasattr(pipeline, "text_encoder_2") else ("te",)
    encoders = (pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None))
    networks = {"unet": pipeline.unet, **dict(zip(te, encoders, strict=False))}
    tensors = {}
    for prefix, network in networks.items():
        paths = [p for p, m in network.named_modules() if p.endswith(ends) and hasattr(m, "weight")]
        for path in paths:
            module = network.get_submodule(path)
            name = path
            if prefix == "unet" and ldm:
                name = unet_name(path, 2, [p for p, _ in network.named_modules()])
            elif prefix != "unet":
                name = "text_model." + path.removeprefix("text_model.")
            stem = f"lora_{prefix}_{name.replace('.', '_')}"
            down, up = factors(module, rank, generator)
            tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
            tensors[f"{stem}.alpha"] = torch.tensor(alpha)
    return tensors


@torch.no_grad()
def theirs(pipeline, file, scale):
    """The UNet with the file as diffusers applies it through PEFT, and the text encoders by the formula."""
    state, alphas = pipeline.lora_state_dict(str(file), unet_config=pipeline.unet.config)
    unet = {k: v for k, v in state.items() if k.startswith("unet.")}
    pipeline.unet.load_lora_adapter(unet, prefix="unet", network_alphas=alphas, adapter_name="it", metadata=told(file))
    pipeline.unet.set_adapters(["it"], [scale])
    for name in ("text_encoder", "text_encoder_2"):
        add_by_hand(getattr(pipeline, name, None), load_file(file), name, scale)
    options = {}
    encoded = pipeline.encode_prompt(
        "a red chair", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    if hasattr(pipeline, "text_encoder_2"):
        sizes = torch.tensor([[16.0, 16, 0, 0, 16, 16]])
        options = {"added_cond_kwargs": {"text_embeds": encoded[2], "time_ids": sizes}}
    return pipeline.unet.eval()(X, T, encoder_hidden_states=encoded[0], **options).sample


def told(file):
    with safe_open(file, "pt") as opened:
        facts = json.loads((opened.metadata() or {}).get("lora_adapter_metadata", "null"))
    return facts and {k: v for k, v in facts.items() if k.startswith("unet.")}


def add_by_hand(network, tensors, name, scale):
    kohya = {"text_encoder": ("lora_te_", "lora_te1_"), "text_encoder_2": ("lora_te2_",)}[name]
    for path, module in [] if network is None else network.named_modules():
        path = "text_model." + path.removeprefix("text_model.")
        for stem in [f"{name}.{path}", *(start + path.replace(".", "_") for start in kohya)]:
            for down, up in ((".lora_down.weight", ".lora_up.weight"), (".lora_A.weight", ".lora_B.weight")):
                if stem + down in tensors:
                    low, high = tensors[stem + down], tensors[stem + up]
                    alpha = tensors.get(stem + ".alpha", torch.tensor(float(TEXT_ALPHA.get(name, len(low)))))
                    module.weight += scale * alpha / len(low) * high @ low


TEXT_ALPHA = {}  # what a file's metadata says, set by the test that writes it


def test_diffusers_own_files(root, monkeypatch):
    pipeline = pipelines.stable_diffusion()
    networks = {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    targets = {"unet": [*ATTENTION, "conv1", "proj_in"], "text_encoder": ["q_proj", "v_proj"]}
    states, facts = {}, {}
    for name, network in networks.items():
        config = peft.LoraConfig(r=3, lora_alpha=5, target_modules=targets[name], init_lora_weights=False)
        peft.inject_adapter_in_model(config, network)
        found = peft.get_peft_model_state_dict(network).items()
        middle = "" if name == "unet" or "text_model" in next(iter(found))[0] else "text_model."
        states[name] = {middle + k: v for k, v in found}
        facts[name] = config.to_dict()
    StableDiffusionPipeline.save_lora_weights(
        root / "own",
        unet_lora_layers=states["unet"],
        text_encoder_lora_layers=states["text_encoder"],
        unet_lora_adapter_metadata=facts["unet"],
        text_encoder_lora_adapter_metadata=facts["text_encoder"],
    )
    file = root / "own/pytorch_lora_weights.safetensors"
    assert any(name.startswith("text_encoder.") for name in load_file(file))
    monkeypatch.setitem(TEXT_ALPHA, "text_encoder", 5)
    ours = seen(door(root / "sd", (root / "own", 0.8)))
    assert torch.allclose(ours, theirs(pipelines.stable_diffusion(), file, 0.8), atol=2e-5)
    assert not torch.allclose(ours, seen(door(root / "sd", (file, 0.5))), atol=1e-3)
    assert not torch.allclose(ours, seen(door(root / "sd")), atol=1e-2)

    bare = root / "bare.safetensors"  # without metadata, alpha is the rank
    save_file(load_file(file), bare)
    monkeypatch.delitem(TEXT_ALPHA, "text_encoder")
    ours = seen(door(root / "sd", (bare, 1.0)))
    assert torch.allclose(ours, theirs(pipelines.stable_diffusion(), bare, 1.0), atol=2e-5)


@pytest.mark.parametrize("ldm", [False, True])
def test_kohyas_files(root, ldm):
    make, folder = (pipelines.sdxl, "xl") if ldm else (pipelines.stable_diffusion, "sd")
    file = root / f"kohya{ldm}.safetensors"
    ends = (*ATTENTION, "ff.net.2", "q_proj", "fc1") if ldm else (*ATTENTION, "ff.net.2", "conv2", "q_proj", "fc1")
    save_file(in_kohyas_names(make(), ends, ldm), file)
    assert ldm == any("input_blocks" in name for name in load_file(file))
    ours = seen(door(root / folder, (file, 0.6)))
    assert torch.allclose(ours, theirs(make(), file, 0.6), atol=3e-5)
    assert not torch.allclose(ours, seen(door(root / folder)), atol=1e-2)


def test_two_files_add_up_and_one_taken_back_is_gone(root):
    file = root / "sum.safetensors"
    save_file(in_kohyas_names(pipelines.stable_diffusion(), ATTENTION), file)
    twice, double, none = (
        seen(door(root / "sd", *loras))
        for loras in ([(file, 0.5), (file, 0.5)], [(file, 1.0)], [(file, 1.0), (file, -1.0)])
    )
    assert torch.allclose(twice, double, atol=1e-5)
    assert torch.allclose(none, seen(door(root / "sd")), atol=1e-5)


def broken(root, name, change):
    tensors = in_kohyas_names(pipelines.stable_diffusion(), ("to_q",))
    change(tensors)
    save_file(tensors, root / name)
    return root / name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.update({"lora_unet_nowhere.lora_down.weight": torch.zeros(1, 1)}),
            "fits no weight of this prior's unet",
        ),
        (lambda t: t.update({"lora_unet_conv_in.hada_w1_a": torch.zeros(1, 1)}), "is no part of a LoRA"),
        (lambda t: t.pop(next(k for k in t if "lora_up" in k)), "only one of its two factors"),
        (
            lambda t: t.update({k: v[:, :5].clone() for k, v in t.items() if "lora_down" in k}),
            r"changes \[\d+, 5\], the weight is",
        ),
        (lambda t: t.clear(), "is empty"),
    ],
)
def test_files_that_do_not_fit_are_refused(root, tmp_path, change, message):
    with pytest.raises(UserError, match=message) as error:
        door(root / "sd", (broken(tmp_path, "broken.safetensors", change), 1.0))
    assert "broken.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_lora_of_another_family_and_a_missing_one_are_refused(root, tmp_path):
    save_file(in_kohyas_names(pipelines.sdxl(), ATTENTION), tmp_path / "xl.safetensors")
    with pytest.raises(UserError, match=r"fits no weight|the weight is"):
        door(root / "sd", (tmp_path / "xl.safetensors", 1.0))
    with pytest.raises(UserError, match="does not exist"):
        door(root / "sd", (tmp_path / "none.safetensors", 1.0))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "xl.safetensors").read_bytes()[:-9])
    with pytest.raises(UserError, match="truncated"):
        door(root / "sd", (tmp_path / "cut.safetensors", 1.0))
    metadata = {"lora_adapter_metadata": json.dumps({"unet.use_dora": True})}
    save_file({"unet.conv_in.lora_A.weight": torch.zeros(1, 1)}, tmp_path / "dora.safetensors", metadata)
    with pytest.raises(UserError, match="a LoRA with magnitudes"):
        door(root / "sd", (tmp_path / "dora.safetensors", 1.0))
