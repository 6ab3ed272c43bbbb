"""One call of the UNet of Stable Diffusion 1.5 at full width, with random weights: time and memory, by dtype.

The weights of the real model cannot be had where this project is built; what a call costs does not depend on what they
are. Each dtype runs in a process of its own, whose peak memory is read from the operating system: the network alone,
then with a call for a batch of 1, 512 pixels (64 x 64 latents), 77 tokens. The floor is a multiply-add count of the
call over the speed of a large matrix product of the same dtype in the same process. The figure is how many times the
floor the call takes in float32, the median over rounds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Iterable
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from figures import CannotRun, Figure, main
from memory import peak_resident
from torch.utils.flop_counter import FlopCounterMode

from distill3d.core.threads import use_threads

CONFIG = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}  # the rest is diffusers' default
GOAL = 2.0
GIB = 2**30


def make_unet(dtype: torch.dtype) -> Any:
    """Stable Diffusion 1.5's UNet: the published config, made in its dtype."""
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            unet = UNet2DConditionModel(**CONFIG)
    finally:
        torch.set_default_dtype(torch.float32)
    unet.to_empty(device="cpu")
    pool = (0.02 * torch.randn(1 << 20)).to(dtype)  # repeated: drawing 860 million takes longer than a call
    for parameter in unet.parameters():
        values = parameter.data.view(-1)
        for start in range(0, len(values), len(pool)):
            values[start : start + len(pool)] = pool[: len(values) - start]
    return unet.eval().requires_grad_(False)


def peak() -> float:
    """GiB that this process has held at most."""
    return peak_resident() / GIB


def matrix_speed(dtype: torch.dtype) -> float:
    """Operations a second of a product of 2048 x 2048 matrices, the best of five."""
    a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


def count_operations() -> int:
    """Multiplications and additions of one call, counted on shapes alone."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**CONFIG)
        x, t, text = torch.empty(1, 4, 64, 64), torch.empty(1, dtype=torch.long), torch.empty(1, 77, 768)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(x, t, encoder_hidden_states=text)
    return counter.get_total_flops()


def measure_one(name: str, rounds: int, threads: int, answer: Any) -> None:
    """In a process of its own: the numbers of one dtype, as JSON."""
    use_threads(threads)
    dtype = getattr(torch, name)
    before = peak()
    unet = make_unet(dtype)
    with_weights = peak()
    x, text = torch.randn(1, 4, 64, 64).to(dtype), torch.randn(1, 77, 768).to(dtype)
    t = torch.tensor([500])
    seconds, floors, operations = [], [], count_operations()
    with torch.no_grad():
        for _ in range(rounds):
            floors.append(operations / matrix_speed(dtype))  # beside every call, so that a busy moment meets both
            start = time.perf_counter()
            output = unet(x, t, encoder_hidden_states=text).sample
            seconds.append(time.perf_counter() - start)
    answer.send(
        json.dumps(
            {
                "dtype": name,
                "parameters": sum(p.numel() for p in unet.parameters()),
                "operations": operations,
                "seconds": seconds,
                "floors": floors,
                "weights_gib": with_weights - before,
                "call_gib": peak() - with_weights,
                "finite": bool(output.isfinite().all()),
            }
        )
    )


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    names = ["float32"] if options.quick else options.dtypes
    context = multiprocessing.get_context("spawn")
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        ours, theirs = context.Pipe()
        process = context.Process(
            target=measure_one, args=(name, options.rounds, torch.get_num_threads(), theirs), daemon=True
        )
        process.start()
        theirs.close()
        try:
            found[name] = json.loads(ours.recv())
        except EOFError as problem:  # the process is gone: out of memory, most likely
            raise CannotRun(f"the {name} process ended without an answer") from problem
        finally:
            process.join()
        row = found[name]
        print(
            f"{name}: {row['parameters'] / 1e6:.1f} M weights in {row['weights_gib']:.2f} GiB, a call needs "
            f"{row['call_gib']:.2f} GiB more and {min(row['seconds']):.2f} s "
            f"({row['operations'] / 1e9:.0f} G operations, floor {min(row['floors']):.2f} s)",
            flush=True,
        )
    options.raw |= found
    row = found["float32"]
    ratio = statistics.median(s / f for s, f in zip(row["seconds"], row["floors"], strict=True))
    yield Figure("sd15_unet_call_over_matrix_floor", ratio, goal=GOAL, unit="x", at_most=True)


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        rounds={"type": int, "default": 2, "help": "timed calls of each dtype (2)"},
        dtypes={"nargs": "*", "default": ["float32", "bfloat16"], "help": "float32 must be among them"},
    )
