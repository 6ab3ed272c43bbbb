"""Which times a sampler visits."""

from __future__ import annotations

from typing import Literal

Spacing = Literal["leading", "trailing", "linspace"]


def timesteps(steps: int, spacing: Spacing = "trailing", total: int = 1000, offset: int = 0) -> list[int]:
    """`steps` falling times and the clean end: t_1 > ... > t_N > -1 (Lin et al. 2023, table 2).

    Consecutive pairs are the (t, s) of a sampler, so no step size is ever derived from N again. diffusers' DDIM
    scheduler does derive it, as T // N: with trailing times it is off by one wherever N does not divide T, with
    linspace by up to 11 (of ten steps).

    Args:
        spacing: trailing starts at T - 1, leading ends at 0, linspace does both.
        offset: added to leading times, as Stable Diffusion 1 does with 1.
    """
    if not 1 <= steps <= total:
        raise ValueError(f"{steps} steps do not fit a schedule of {total}")
    if spacing == "leading":
        times = [min(i * (total // steps) + offset, total - 1) for i in range(steps)]
    elif spacing == "trailing":
        times = [round((i + 1) * total / steps) - 1 for i in range(steps)]
    elif spacing == "linspace":
        times = [round(i * (total - 1) / (steps - 1)) for i in range(steps)] if steps > 1 else [total - 1]
    else:
        raise ValueError(f"unknown spacing {spacing!r}: leading, trailing or linspace")
    return [*reversed(times), -1]


def started_at(times: list[int], t: int) -> list[int]:
    """The part of falling `times` below `t`, begun at `t` itself; [-1], which is no step at all, for t = -1.

    A first step of less than half the next one's length is joined to it: it would cost a call and do little.
    """
    below = [earlier for earlier in times if earlier < t]
    if len(below) > 1 and 2 * (t - below[0]) < below[0] - below[1]:
        below = below[1:]
    return [t, *below]
