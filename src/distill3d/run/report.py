"""A run on one page that opens anywhere: pictures, film, numbers, curves and config in a single HTML file."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from distill3d.files.atomic import write_bytes
from distill3d.run.curves import curve_svg, short
from distill3d.run.folder import RunFolder
from distill3d.run.metrics import read_lines

LARGEST_FILM = 8 << 20  # bytes; a larger film is linked, not embedded
PREVIEWS = 8  # pictures along the way
FILMS = {  # beside the turntable
    "before-after.mp4": "Before the edit, and after it.",
    "particles.mp4": "All particles; the first is the one above, the others have folders of their own.",
}
MEDIA = {".png": "image/png", ".mp4": "video/mp4"}

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #6a7078; --line: #d9dce1; --page: #f6f7f9; --card: #fff;
  --accent: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #9aa0a8; --line: #33373d; --page: #131518;
  --card: #1b1e22; --accent: #fb923c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1020px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .25rem; text-wrap: balance; }
h2 { font-size: 1.05rem; margin: 2.5rem 0 .75rem; }
p.lead { color: var(--soft); margin: 0 0 1.75rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
video, .card img { display: block; width: 100%; height: auto; }
.wide { overflow-x: auto; } .wide img { min-width: 760px; }
.facts { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1px; background: var(--line); }
@media (max-width: 560px) { .facts { grid-template-columns: repeat(2, 1fr); } }
.facts div { background: var(--card); padding: .8rem 1rem; }
.facts b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.facts span, figcaption, .note { color: var(--soft); font-size: .85rem; }
.note { margin: .6rem 0 0; }
.curves, .previews { display: grid; gap: .9rem; }
.curves { grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); }
.previews { grid-template-columns: repeat(auto-fill, minmax(225px, 1fr)); }
figure { margin: 0; } figcaption { padding: .5rem .8rem; } .previews img { image-rendering: pixelated; }
svg { display: block; width: 100%; height: auto; } svg text { font: 10px system-ui, sans-serif; fill: var(--soft); }
svg .axis { fill: none; stroke: var(--line); } svg .raw { fill: none; stroke: var(--accent); opacity: .3; }
svg .trend { fill: none; stroke: var(--accent); stroke-width: 1.8; } svg .trend-dot { fill: var(--accent); }
table { width: 100%; border-collapse: collapse; } td { padding: .45rem 1rem; border-top: 1px solid var(--line); }
tr:first-child td { border-top: 0; } td:last-child { text-align: right; font-variant-numeric: tabular-nums; }
pre { margin: 0; padding: 1rem; overflow-x: auto; font: 13px/1.5 ui-monospace, monospace; }
a { color: var(--accent); }
"""


def write_report(folder: Path) -> Path:
    """Writes `folder/report.html` from what is there: config, metrics, asset.json, turntable, views and previews.

    The page needs no network, no script and no other file (a film over 8 MiB is linked instead of embedded). Parts
    that the run did not make are left out.

    Returns:
        the page's path.
    Raises:
        UserError: it cannot be written.
    """
    run = RunFolder(folder)
    config_text = run.config.read_text(encoding="utf-8") if run.config.is_file() else ""
    config = yaml.safe_load(config_text) or {}
    lines = read_lines(run)
    asset = json.loads((folder / "asset.json").read_text()) if (folder / "asset.json").is_file() else None
    title = str(config.get("prompt") or folder.resolve().name)
    parts = [
        f"<h1>{escape(title)}</h1><p class='lead'>{escape(lead(config_text, config, lines))}</p>",
        film(folder),
        section("All around", picture(folder / "views.png", "Eight views, the front first", "card wide")),
        section("What may change", picture(folder / "region.png", "The scene, and the region tinted", "card wide")),
        section("The asset", asset_facts(asset) if asset else ""),
        section("What was found", findings(run)),
        section("Curves", curves(lines)),
        section("Along the way", previews(run.previews)),
        section("Files", files(folder)),
        section("Config", f"<div class='card'><pre>{escape(config_text)}</pre></div>" if config_text else ""),
    ]
    page = (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )
    write_bytes(folder / "report.html", page.encode())
    return folder / "report.html"


def lead(config_text: str, config: dict[str, Any], lines: list[dict[str, Any]]) -> str:
    """The line under the title: which config, how many steps, how long."""
    first = config_text.splitlines()[0] if config_text else ""
    words = [first.removeprefix("#").strip()] if first.startswith("#") else [str(config.get("system", ""))]
    if lines:
        words.append(f"{lines[-1]['step'] + 1:,} steps")
        words.append(f"{lines[-1].get('seconds', 0.0):.0f} s of optimisation")
    if "seed" in config:
        words.append(f"seed {config['seed']}")
    return " · ".join(word for word in words if word)


def section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>" if body else ""


def embedded(path: Path) -> str:
    return f"data:{MEDIA[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def picture(path: Path, text: str, classes: str = "card") -> str:
    return f"<div class='{classes}'><img src='{embedded(path)}' alt='{escape(text)}'></div>" if path.is_file() else ""


def film(folder: Path) -> str:
    """The turntable; the poster alone where there is no film."""
    path, poster = folder / "turntable.mp4", folder / "poster.png"
    if not path.is_file():
        return picture(poster, "The asset")
    shown = _film(path, "One turn: lightly shaded colour, and surface normals.")
    for name, note in FILMS.items():
        beside = folder / name
        shown += _film(beside, note) if beside.is_file() else ""
    return shown


def _film(path: Path, note: str) -> str:
    source = embedded(path) if path.stat().st_size <= LARGEST_FILM else path.name
    return (
        f"<div class='card'><video src='{source}' autoplay loop muted playsinline controls></video></div>"
        f"<p class='note'>{note}</p>"
    )


def asset_facts(asset: dict[str, Any]) -> str:
    """The numbers of `asset.json`."""
    facts = {
        "triangles": f"{asset['faces']:,}",
        "before decimation": f"{asset['faces_before']:,}",
        "floaters removed": f"{asset['floaters']}",
        "colour difference to the volume": f"{100 * asset['color_difference']:.1f} %",
        "silhouette overlap (IoU)": f"{100 * asset['silhouette_iou']:.1f} %",
        "seconds to make the files": f"{sum(asset['seconds'].values()):.1f}",
    }
    cells = "".join(f"<div><b>{value}</b><span>{escape(name)}</span></div>" for name, value in facts.items())
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in asset["seconds"].items())
    note = f"Surface at {asset['rule']}. {stages[:1].upper()}{stages[1:]}."
    return f"<div class='card facts'>{cells}</div><p class='note'>{escape(note)}</p>"


def findings(run: RunFolder) -> str:
    """What the system judged itself by at the end, and the pictures that show it."""
    numbers = json.loads(run.findings.read_text()) if run.findings.is_file() else {}
    cells = "".join(f"<div><b>{short(value)}</b><span>{escape(name)}</span></div>" for name, value in numbers.items())
    paths = sorted(run.findings.with_suffix("").glob("*.png"))
    shown = [
        f"<figure class='card'><img src='{embedded(p)}' alt=''><figcaption>{escape(p.stem)}</figcaption></figure>"
        for p in paths
    ]
    pictures = f"<div class='previews'>{''.join(shown)}</div>" if shown else ""
    return (f"<div class='card facts'>{cells}</div>" if cells else "") + pictures


def curves(lines: list[dict[str, Any]]) -> str:
    """A panel for each logged number that changes, losses first."""
    names = {name: None for line in lines for name in line if name not in ("step", "seconds")}
    panels = []
    for name in sorted(names, key=lambda n: not n.startswith("loss/")):
        seen = [(line["step"], line[name]) for line in lines if isinstance(line.get(name), (int, float))]
        if not seen or (len({value for _, value in seen}) == 1 and not name.startswith("loss/")):
            continue
        steps, values = np.array(seen, float).T
        caption = f"<figcaption><b>{escape(name)}</b> · last {short(values[-1])}</figcaption>"
        drawn = curve_svg(name, steps, values)
        if name.startswith("held_out/"):  # what people compare programs by is seconds
            seconds = [line.get("seconds", 0.0) for line in lines if isinstance(line.get(name), (int, float))]
            drawn = curve_svg(name, np.array(seconds), values, "second")
        panels.append(f"<figure class='card'>{caption}{drawn}</figure>")
    return f"<div class='curves'>{''.join(panels)}</div>" if panels else ""


def previews(folder: Path) -> str:
    """Pictures along the way, evenly chosen, the last one among them."""
    paths = sorted(folder.glob("*.png")) if folder.is_dir() else []
    if len(paths) > PREVIEWS:
        paths = [paths[k] for k in np.linspace(0, len(paths) - 1, PREVIEWS).round().astype(int)]
    cells = [
        f"<figure class='card'><img src='{embedded(p)}' alt=''><figcaption>{escape(caption(p))}</figcaption></figure>"
        for p in paths
    ]
    return f"<div class='previews'>{''.join(cells)}</div>" if cells else ""


def caption(path: Path) -> str:
    """
    >>> caption(Path("000120-views.png"))
    'step 120, views'
    """
    step, _, name = path.stem.partition("-")
    return f"step {int(step)}, {name}" if step.isdigit() and name else path.stem


def files(folder: Path) -> str:
    """What lies beside the page."""
    assets = ("asset.glb", "asset.obj", "asset.ply", "splats.ply")
    names = (*assets, "turntable.mp4", "before-after.mp4", "poster.png", "metrics.jsonl", "config.yaml")
    rows = [
        f"<tr><td><a href='{name}'>{name}</a></td><td>{max(1, (folder / name).stat().st_size // 1024):,} KiB</td></tr>"
        for name in names
        if (folder / name).is_file()
    ]
    return f"<div class='card'><table>{''.join(rows)}</table></div>" if rows else ""
