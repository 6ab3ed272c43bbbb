"""A ControlNet around a copy of the embedded prior's encoder: the copy is one, zero convolutions let it in slowly."""

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.networks.encoder_control import EncoderControl
from distill3d.diffusion.prior import DiffusionPrior
from tests.diffusion import pipelines

CAMERAS = Cameras.orbit(torch.tensor([0.4, 2.0]), 0.3, size=64)
PROMPTS = ["a red chair", "a blue mug"]


def prior_with(*control):
    return DiffusionPrior(DiffusionPrior.Config(control=[{"model": str(c)} for c in control]))


@pytest.fixture(scope="module")
def prior():
    return prior_with()


@pytest.fixture(scope="module")
def untrained(prior, tmp_path_factory):
    folder = tmp_path_factory.mktemp("control")
    torch.manual_seed(0)
    EncoderControl.of(prior.unet, prior.codec.scale).save_pretrained(folder)
    return folder


@pytest.fixture
def noisy(prior):
    return torch.randn(prior.x_shape(2), generator=torch.Generator().manual_seed(0)), torch.tensor([300, 800])


@pytest.fixture(scope="module")
def hint():
    return Hint(torch.rand(1, 64, 64, 1, generator=torch.Generator().manual_seed(1)))


def told(prior, x, t):
    """What the UNet is given for two pictures, as `DiffusionPrior.denoise` puts it together."""
    condition = prior.condition(PROMPTS, CAMERAS)
    labels = torch.cat([condition.view, condition.text.mean(1)], -1)
    return torch.cat([x, prior.canvas(labels)], 1), t, condition.text, labels


def test_untrained_it_changes_nothing_to_the_bit(prior, untrained, noisy, hint):
    controlled = prior_with(untrained)
    plain = prior.denoise(*noisy, prior.condition(PROMPTS, CAMERAS)).clean
    seen = controlled.denoise(*noisy, controlled.condition(PROMPTS, CAMERAS, control=hint)).clean
    assert torch.equal(seen, plain)
    torch.nn.init.normal_(controlled.controls.networks[0].controlnet_mid_block.weight, std=0.2)
    moved = controlled.denoise(*noisy, controlled.condition(PROMPTS, CAMERAS, control=hint)).clean
    assert not torch.allclose(moved, plain, atol=1e-3)


@torch.no_grad()
def test_what_it_copies_is_the_encoder(prior, noisy, hint):
    """With open convolutions and a mute hint its residuals are the UNet's own skip connections and middle."""
    control = EncoderControl.of(prior.unet, prior.codec.scale)
    for zero in (*control.controlnet_down_blocks, control.controlnet_mid_block):
        torch.nn.init.dirac_(zero.weight)
    found, hooks = {}, []
    for name, module in prior.unet.named_modules():
        if name in ("conv_in", "mid_block") or (name.startswith("down_blocks.") and name.count(".") == 1):
            keep = lambda _, __, output, name=name: found.__setitem__(name, output)  # noqa: E731
            hooks.append(module.register_forward_hook(keep))
    seen, t, text, labels = told(prior, *noisy)
    prior.unet(seen, t, encoder_hidden_states=text, class_labels=labels)
    for hook in hooks:
        hook.remove()
    picture = hint.image.expand(2, -1, -1, 3).permute(0, 3, 1, 2)
    down, middle = control(seen, t, text, picture, class_labels=labels)
    theirs = [found["conv_in"], *(skip for i in range(3) for skip in found[f"down_blocks.{i}"][1])]
    assert len(down) == len(theirs) == 7
    assert all(torch.allclose(ours, skip, atol=1e-5) for ours, skip in zip(down, theirs, strict=True))
    assert torch.allclose(middle, found["mid_block"], atol=1e-5)
    torch.nn.init.constant_(control.hint.conv_out.bias, 0.3)
    assert not torch.allclose(control(seen, t, text, picture, class_labels=labels)[1], middle, atol=1e-3)


def test_the_gradient_reaches_the_zero_convolutions_first_and_the_copy_next(prior, noisy, hint):
    control = EncoderControl.of(prior.unet, prior.codec.scale)
    optimizer = torch.optim.SGD(control.parameters(), 0.1)
    seen, t, text, labels = told(prior, *noisy)
    picture = hint.image.expand(2, -1, -1, 3).permute(0, 3, 1, 2)

    def gradients():
        optimizer.zero_grad()
        down, middle = control(seen, t, text, picture, class_labels=labels)
        output = prior.unet(
            seen,
            t,
            encoder_hidden_states=text,
            class_labels=labels,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        output.square().mean().backward()
        return [
            float(p.grad.abs().max()) for p in (control.controlnet_mid_block.weight, control.encoder.conv_in.weight)
        ]

    outer, inner = gradients()
    assert outer > 0
    assert inner == 0
    optimizer.step()
    assert gradients()[1] > 0


def test_beside_a_prior_that_it_was_not_made_for_it_is_refused(untrained, tmp_path):
    pipelines.saved(pipelines.stable_diffusion(), tmp_path / "base")
    pipelines.controlnet(5).save_pretrained(tmp_path / "net")
    with pytest.raises(UserError, match=r"does not fit the prior .*: its block_out_channels"):
        DiffusionPrior(DiffusionPrior.Config(model=str(tmp_path / "base"), control=[{"model": str(untrained)}]))
    with pytest.raises(UserError, match=r"does not fit the prior .*: its block_out_channels"):
        prior_with(tmp_path / "net")
    with pytest.raises(UserError, match="did you mean 'toybox-depth'"):
        prior_with("toybox-dept")
