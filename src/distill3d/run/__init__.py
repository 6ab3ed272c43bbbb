"""The run: config, folder, loop, checkpoints, progress.

The package and the function `distill3d.run(...)` share a name, and importing any module in here binds the package to
it; so the package itself can be called, and does what `distill3d.run.api.run` does.
"""

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from distill3d.run.api import run

        return run(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
