"""Numbers handed out one after another to whichever thread asks next, for jobs of uneven length.

numba cuts a parallel loop into equal stretches beforehand. Where nobody knows how long a job takes (a tile of splats
ends when its light does), threads take the next from a queue instead:

    taken = np.zeros(1, np.int64)
    for _ in numba.prange(threads):  # numba.get_num_threads() from outside: inside it keeps the kernel from the cache
        job = take(taken)
        while job < jobs:
            ...                       # writes only what belongs to this job: the same bytes whoever does it
            job = take(taken)

A loop may run on fewer threads than it asked for; the queue is emptied all the same.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic


@intrinsic
def take(typing: Any, taken: Any) -> Any:
    """The number in taken[0] (int64, C-contiguous), which grows by one; no two calls get the same."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(taken), generate
