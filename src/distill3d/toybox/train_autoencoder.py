"""The first stage of latent diffusion: an autoencoder of toybox pictures (Rombach et al. 2022, section 3.1).

It learns on small crops around the toys, four times as many as whole pictures in the same time (it has no attention,
so a crop teaches what a picture does), and on whole pictures at the end, because the statistics of its group
normalisation are those of what it is shown.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from distill3d.toybox.backdrops import before, random_backdrops
from distill3d.toybox.color_start import keep_colors
from distill3d.toybox.dataset import make_batch
from distill3d.toybox.latent_model import LatentShape, make_autoencoder
from distill3d.toybox.training_state import falling_rate, load_state, log_row, save_state

UNSEEN = 9_000_000  # seed of the pictures that the autoencoder is measured on


@dataclass(frozen=True)
class AutoencoderSettings:
    """`crops` of `crop` pixels and then `whole` pictures."""

    crops: int = 8_000
    whole: int = 1_200
    crop: int = 32
    batch: int = 4
    lr: float = 1e-3
    warmup: int = 50  # steps
    absolute: float = 0.1  # weight of the absolute error beside the squared one: it keeps edges
    divergence: float = 1e-4  # weight of a latent number's mean divergence from the unit normal
    seed: int = 20

    @property
    def steps(self) -> int:
        return (self.crops + self.whole) // self.batch


def toy_pictures(seed: int, index: int, count: int, size: int) -> tuple[Tensor, Tensor, list[str]]:
    """Batch `index` of a stream: pictures before plain walls [B, 3, H, W] in -1..1, coverage [B, H, W], captions."""
    batch = make_batch(seed, index, count, size)
    walls = random_backdrops(np.random.default_rng((seed, index, 1)), count)
    pictures = 2 * before(batch.pictures, walls).permute(0, 3, 1, 2) - 1
    return pictures.contiguous(memory_format=torch.channels_last), batch.pictures[..., 3], batch.captions


def crops(pictures: Tensor, coverage: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """One square crop a picture, [B, 3, size, size], its middle on the toy where the picture's edge allows."""
    last = pictures.shape[-1] - size
    cut = []
    for picture, covered in zip(pictures, coverage, strict=True):
        rows, columns = np.nonzero(covered.numpy() > 0)
        at = int(rng.integers(len(rows)))
        top, left = (int(np.clip(v[at] - size // 2 + rng.integers(-4, 5), 0, last)) for v in (rows, columns))
        cut.append(picture[:, top : top + size, left : left + size])
    return torch.stack(cut).contiguous(memory_format=torch.channels_last)


def autoencoder_loss(
    vae: AutoencoderKL, pictures: Tensor, settings: AutoencoderSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and its squared error alone, of values in -1..1."""
    posterior = vae.encode(pictures).latent_dist
    error = vae.decode(posterior.sample(generator)).sample - pictures
    squared = error.square().mean()
    divergence = posterior.kl().mean() / posterior.mean[0].numel()
    return squared + settings.absolute * error.abs().mean() + settings.divergence * divergence, squared.detach()


def train_autoencoder(
    folder: Path, shape: LatentShape, settings: AutoencoderSettings, resume: bool, save_minutes: float
) -> AutoencoderKL:
    """Train, or go on; ends with the scaling factor measured. State and log go to `folder`."""
    torch.manual_seed(settings.seed)
    vae = make_autoencoder(shape)
    keep_colors(vae)
    vae.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), settings.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {"step": 0.0, "seconds": 0.0}
    if resume:
        numbers = load_state(folder, {"vae": vae}, optimizer)
    step, steps = int(numbers["step"]), settings.steps
    started, saved, errors = time.monotonic() - numbers["seconds"], time.monotonic(), []
    while step < steps:
        rng = np.random.default_rng((settings.seed, step, 2))
        pictures, coverage, _ = toy_pictures(settings.seed, step, settings.batch, shape.size)
        if step * settings.batch < settings.crops:
            pictures = crops(pictures, coverage, settings.crop, rng)
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * falling_rate(step, steps, settings.warmup, 0.4)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        loss, squared = autoencoder_loss(vae, pictures, settings, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
        errors.append(squared)
        if step % 100 == 0 or step == steps:
            error, seconds = float(torch.stack(errors).mean()), time.monotonic() - started
            log_row(folder, {"autoencoder_step": step, "squared_error": round(error, 6), "seconds": round(seconds)})
            print(f"autoencoder: step {step} of {steps}  squared error {error:.5f}  {seconds:.0f} s", flush=True)
            errors.clear()
        if time.monotonic() - saved > 60 * save_minutes or step == steps:
            save_state(folder, {"vae": vae}, optimizer, {"step": step, "seconds": time.monotonic() - started})
            saved = time.monotonic()
    vae.eval().requires_grad_(False)
    vae.register_to_config(scaling_factor=1 / float(latent_spread(vae, shape)))
    return vae


@torch.no_grad()
def latent_spread(vae: AutoencoderKL, shape: LatentShape, count: int = 128) -> Tensor:
    """Standard deviation of the latents of unseen pictures, all channels together."""
    return vae.encode(toy_pictures(UNSEEN + 1, 0, count, shape.size)[0]).latent_dist.mean.std()


@torch.no_grad()
def reconstruction_psnr(vae: AutoencoderKL, shape: LatentShape, count: int = 128) -> float:
    """Peak signal to noise ratio of reconstructed unseen pictures, dB, of all their pixels together."""
    pictures = toy_pictures(UNSEEN, 0, count, shape.size)[0]
    errors = [(vae(p).sample.clamp(-1, 1) - p).square().mean() / 4 for p in pictures.split(32)]
    return float(-10 * torch.stack(errors).mean().log10())
