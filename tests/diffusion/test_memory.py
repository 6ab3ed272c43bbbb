"""What saves memory changes nothing else."""

import pytest
import torch
from torch import nn

from distill3d.diffusion import memory
from distill3d.diffusion.prior import DiffusionPrior
from tests.diffusion import pipelines


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(pipelines.saved(pipelines.sdxl(), tmp_path_factory.mktemp("sdxl")))


@pytest.fixture(scope="module")
def plain(folder):
    return DiffusionPrior(DiffusionPrior.Config(model=folder))


def seen(prior):
    x = torch.randn(prior.x_shape(1), generator=torch.Generator().manual_seed(0))
    return prior.denoise(x, torch.tensor([500]), prior.condition("a red chair")).noise


def test_slices_of_attention_give_the_same_prediction(folder, plain):
    sliced = DiffusionPrior(DiffusionPrior.Config(model=folder, attention_slicing=True, offload="layers"))
    processors = {type(p).__name__ for p in sliced.unet.attn_processors.values()}
    assert processors == {"SlicedAttnProcessor"}
    assert torch.allclose(seen(sliced), seen(plain), atol=1e-5)


def test_tiles_take_large_pictures_and_leave_small_ones_alone(folder, plain):
    tiled = DiffusionPrior(DiffusionPrior.Config(model=folder, vae_tiling=True))
    small, large = (torch.rand(1, n, n, 3, generator=torch.Generator().manual_seed(0)) for n in (16, 40))
    with torch.no_grad():
        assert torch.equal(tiled.encode(small), plain.encode(small))
        tiles, whole = tiled.encode(large), plain.encode(large)
        assert tiles.shape == whole.shape
        assert not torch.equal(tiles, whole)
        assert (tiles - whole).abs().mean() < 0.5 * whole.abs().mean()
        assert tiled.decode(tiles).shape == large.shape


class Where(nn.Module):
    """Says on which device its weights and its input are while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(2, 2)
        self.register_buffer("table", torch.arange(3))
        self.fails = False

    def forward(self, x, named=None):
        if self.fails:
            raise RuntimeError("in the middle")
        self.seen = {t.device.type for t in (*self.parameters(), self.table, x, named["x"])}
        return x


def test_weights_that_are_kept_away_visit_the_device():
    module = Where()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    memory.keep_away(module, torch.device("meta"))
    assert module(torch.zeros(1), named={"x": torch.zeros(1)}).device.type == "meta"
    assert module.seen == {"meta"}
    for key, value in module.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, before[key])
    module.fails = True
    with pytest.raises(RuntimeError, match="in the middle"):
        module(torch.zeros(1))
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_what_waits_and_what_does_not(folder):
    prior = DiffusionPrior(DiffusionPrior.Config(model=folder))
    encoders, device = [prior.text_encoder, prior.text_encoder_2], torch.device("meta")
    memory.place(prior, encoders, [prior.unet], device, "layers")
    where = {name: parameter.device.type for name, parameter in prior.named_parameters()}
    waiting = ("text_encoder.", "text_encoder_2.", "unet.down_blocks", "unet.mid_block", "unet.up_blocks")
    assert {w for n, w in where.items() if n.startswith(waiting)} == {"cpu"}
    assert {w for n, w in where.items() if not n.startswith(waiting)} == {"meta"}
    assert prior.device.type == "meta"
    assert prior.text(["a red chair"]).device.type == "meta"
    x = torch.zeros(prior.x_shape(1), device="meta")
    condition = prior.condition("a red chair")
    assert (
        prior.unet(
            x,
            torch.tensor([3], device="meta"),
            encoder_hidden_states=condition.text,
            added_cond_kwargs={"text_embeds": condition.sentence, "time_ids": condition.sizes.to("meta")},
        ).sample.device.type
        == "meta"
    )


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("offload", ["text", "layers"])
def test_offloading_changes_no_bit(folder, offload):
    options = {"model": folder, "dtype": "float32"}
    resident = DiffusionPrior(DiffusionPrior.Config(**options), "cuda")
    away = DiffusionPrior(DiffusionPrior.Config(**options, offload=offload), "cuda")
    x = torch.randn(resident.x_shape(1), generator=torch.Generator().manual_seed(0)).cuda()
    t = torch.tensor([500], device="cuda")
    assert torch.equal(*(p.denoise(x, t, p.condition("a red chair")).noise for p in (resident, away)))
