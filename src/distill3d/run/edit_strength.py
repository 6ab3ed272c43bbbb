"""`distill3d edit --strength`: one number for how far an edit may go, in the terms of each method."""

from __future__ import annotations

from typing import Any

from distill3d.core.errors import UserError
from distill3d.run.config import ResolvedConfig, resolve


def weakened(resolved: ResolvedConfig, strength: float) -> ResolvedConfig:
    """The config of an edit at a strength of 0 to 1; at 1 it is as it was.

    Every method noises what it looks at, and what is noised less is kept more, as in SDEdit: the shares of the schedule
    of every guidance (`timesteps`), or of the edited frames (`edits.noise`), end at `strength` times where they ended.
    PDS has a way back to the source besides, whose weight (`identity`) is divided by the strength.

    Raises:
        UserError: a strength that is not above 0 and 1 at most.
    """
    if not 0 < strength <= 1:
        raise UserError(f"--strength is above 0, and 1 at most (got {strength:g})")
    if strength == 1:
        return resolved
    tree = resolved.plain
    for section in tree.get("guidance", []):
        if "timesteps" in section:
            section["timesteps"] = lowered(section["timesteps"], strength)
        if "identity" in section:
            section["identity"] /= strength
    if "noise" in tree.get("edits", {}):
        tree["edits"]["noise"] = lowered(tree["edits"]["noise"], strength)
    return resolve(tree, resolved.name)


def lowered(ramp: Any, strength: float) -> Any:
    """[low, high], or {step: [low, high]}, with `strength * high` in place of high, and of a low that is above it."""
    if isinstance(ramp, dict):
        return {step: lowered(value, strength) for step, value in ramp.items()}
    low, high = ramp
    return [min(low, strength * high), strength * high]
