"""A prior with a second opinion: LoRA adapters (Hu et al. 2022) that learn what the present renderings look like.

The adapters live inside the prior's network but are asleep, so that it is the pretrained one for everybody else; only
inside `awake` do they take part. A camera embedding is added to the time embedding there too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")  # the projections that ProlificDreamer adapts
CONVOLUTIONS = ("conv1", "conv2", "conv_shortcut", "conv_out")  # of the residual blocks, and the last


class Adapters(nn.Module):
    """Trainable low-rank changes of a diffusers UNet, and a camera embedding.

    Args:
        unet: its own parameters are frozen and stay as they are.
        rank: of each change.
        view_size: length of the camera's vector.
        seed: of the start; a LoRA starts as no change at all, the camera embedding as zero.
        targets: names of the layers that get one.
    """

    def __init__(
        self, unet: nn.Module, rank: int, view_size: int, seed: int, targets: Sequence[str] = ATTENTION
    ) -> None:
        from peft import LoraConfig, inject_adapter_in_model  # takes seconds to import
        from peft.tuners.tuners_utils import BaseTunerLayer

        super().__init__()
        logging.getLogger("peft").setLevel(logging.ERROR)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets))
            inject_adapter_in_model(config, unet, "opinion")
        self._layers = [m for m in unet.modules() if isinstance(m, BaseTunerLayer)]
        self._sleep()
        changes = {n.replace(".", "/"): p for n, p in unet.named_parameters() if "lora_" in n}
        if not changes:
            raise ValueError("the network has no layer that a LoRA could change")
        self.changes = nn.ParameterDict(changes)  # the very parameters of the network, so that a checkpoint has them
        embedding: Any = unet.time_embedding
        self.camera = nn.Linear(view_size, embedding.linear_2.out_features, bias=False)
        nn.init.zeros_(self.camera.weight)
        self._views: Tensor | None = None
        embedding.register_forward_hook(self._add_camera)

    @contextmanager
    def awake(self, views: Tensor | None) -> Iterator[None]:
        """Inside, the network answers with its adapters; `views` [B, view_size], or None for "no camera is told"."""
        self._views = views
        for layer in self._layers:
            layer.enable_adapters(True)
        try:
            yield
        finally:
            self._views = None
            self._sleep()

    def _sleep(self) -> None:
        for layer in self._layers:
            frozen = [p for p in layer.parameters() if not p.requires_grad]
            layer.enable_adapters(False)  # which also takes their gradient away
            for p in layer.parameters():
                p.requires_grad_(not any(p is f for f in frozen))

    def _add_camera(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        return None if self._views is None else output + self.camera(self._views).to(output.dtype)
