"""The plots of docs/paper-tables.md, from the tables' own JSON files: python docs/make/paper_tables.py FOLDER

FOLDER holds ddim, cfg and sdedit, each as .json and .png, as `benchmarks/paper_tables/*.py --json --grid` write them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from plots import WIDTH, panel, write_panels

OUT = Path(__file__).resolve().parents[1] / "pictures"


def raw(folder: Path, table: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{table}.json").read_text())["raw"]
    return found


def curve(values: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([float(x) for x in values]), np.array(list(values.values()))


def main(folder: Path) -> None:
    for name in ("ddim", "cfg", "sdedit"):
        Image.open(folder / f"{name}.png").quantize(256).save(OUT / f"paper-{name}.png", optimize=True)
    distance = raw(folder, "ddim")["distance"]
    etas = {f"eta {e}" if e != "sigma-hat" else e: e for e in next(iter(distance.values()))}
    rows = {name: curve({str(np.log10(float(s))): row[e] for s, row in distance.items()}) for name, e in etas.items()}
    write_panels(
        OUT / "paper-ddim.svg",
        [
            panel("distance over log10(steps)", rows, "log10 of the steps"),
            panel("the same without sigma-hat", {n: c for n, c in rows.items() if n != "sigma-hat"}, "log10", WIDTH),
        ],
    )
    cfg = raw(folder, "cfg")
    sdedit = raw(folder, "sdedit")
    t0 = np.array(sdedit["t0"])
    write_panels(
        OUT / "paper-cfg-sdedit.svg",
        [
            panel("guidance: distance over w", {"distance": curve(cfg["distance"])}, "w"),
            panel("guidance: told right, per cent", {"right": curve(cfg["right"])}, "w", WIDTH),
            panel("SDEdit: distance over t0", {"distance": (t0, np.array(sdedit["distance"]))}, "t0", 2 * WIDTH),
        ],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
