import subprocess
import sys

import pytest
import torch
from fit_image import FitImage, Pixels

import distill3d
from distill3d.core.errors import UserError
from distill3d.run.progress import Progress

QUIET = {"progress": Progress(quiet=True), "prompt": "a"}


def test_a_run_returns_what_it_made(fit, tmp_path):
    result = distill3d.run(fit, out=tmp_path / "run", **QUIET)
    assert result.folder == tmp_path / "run"
    assert result.finished
    assert isinstance(result.renderer, Pixels)
    assert result.metrics["step"] == 39
    assert result.metrics["loss/fit"] > 0
    assert result.paths["report"].is_file()


def test_the_package_can_be_called_before_and_after_its_modules_are_imported():
    code = (
        "import distill3d, sys; assert 'torch' not in sys.modules; before = distill3d.run;"
        "import distill3d.run.api; assert distill3d.run is before and callable(before)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_system_that_cannot_be_built_leaves_nothing(fit, tmp_path, monkeypatch):
    def broken(self, *args, **kwargs):
        raise UserError("the prior folder lacks unet/config.json")

    monkeypatch.setattr(FitImage, "__init__", broken)
    with pytest.raises(UserError, match=r"lacks unet"):
        distill3d.run(fit, out=tmp_path / "new" / "run", **QUIET)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fit.yaml"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(fit, tmp_path):
    with pytest.raises(UserError, match=r"device 'cuda' is not there.*device=cpu"):
        distill3d.run(fit, out=tmp_path / "run", device="cuda", **QUIET)
    assert not (tmp_path / "run").exists()


def test_the_callers_torch_settings_are_put_back(fit, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        distill3d.run(fit, out=tmp_path / "run", threads=1, steps=1, **QUIET)
        assert torch.get_num_threads() == 2
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(threads)


def test_an_exported_mesh_is_in_the_result(tmp_path):
    """A real NeRF, untrained: its density starts as a blob, which is a mesh already."""
    import yaml

    config = tmp_path / "blob.yaml"
    tree = {
        "system": "blob:Blob",
        "renderer": {"kind": "nerf"},
        "steps": 1,
        "threads": 1,
        "export": {"resolution": 32, "faces": 500, "texture_size": 64, "formats": ["glb"], "turntable_frames": 2},
    }
    config.write_text(yaml.safe_dump(tree))
    result = distill3d.run(config, out=tmp_path / "run", progress=Progress(quiet=True))
    assert result.mesh is not None
    assert 100 < len(result.mesh.faces) <= 500
    assert {"glb", "turntable", "report"} <= result.paths.keys()
    assert all(path.stat().st_size > 0 for path in result.paths.values())
    assert result.metrics["silhouette_iou"] > 0.8
