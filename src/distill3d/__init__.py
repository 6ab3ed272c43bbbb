"""distill3d: 3D assets from a sentence, by distilling 2D diffusion priors through differentiable renderers.

>>> import distill3d
>>> result = distill3d.run("dreamfusion", prompt="a red mushroom")  # doctest: +SKIP
>>> result.paths["glb"]  # doctest: +SKIP
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["UserError", "run"]


def __getattr__(name: str) -> Any:  # torch is imported by the first use, not by `import distill3d`
    if name == "run":
        return importlib.import_module("distill3d.run")  # callable: see there
    if name == "UserError":
        return importlib.import_module("distill3d.core.errors").UserError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
