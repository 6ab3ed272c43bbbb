import re

import torch

from distill3d.run import doctor
from distill3d.run.catalogue import config_paths, listing


def test_everything_has_its_line():
    found = listing()
    assert "dreamfusion" in found["configs"]
    assert "nerf" in found["renderers"]
    assert "sds" in found["guidances"]
    assert "diffusion" in found["priors"]
    assert "text_to_3d" in found["systems"]
    assert "Stable Diffusion" in found["embedded models"]["toybox-latent"]
    for group, members in found.items():
        for name, line in members.items():
            assert len(line) > 10, f"{group} {name} has no first line to show"


def test_every_packaged_config_is_whole():
    from distill3d.run.config import load

    for name, path in config_paths().items():
        given = dict.fromkeys(re.findall(r"^(\w+): \?\?\?", path.read_text(), re.M), "a red mushroom")
        if 'model: "???"' in path.read_text():
            given["prior.model"] = "somewhere"
        resolved = load(name, **given)
        assert resolved.name == name
        assert resolved.config.steps > 0


def test_doctor_says_what_is_used(monkeypatch):
    found = {finding.name: finding for finding in doctor.findings()}
    assert found["torch"].found == torch.__version__
    assert found["device"].found in ("cpu", "cuda:0")
    assert {"threads", "numba cache", "allocator", "weights"} <= found.keys()
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    absent = doctor.peer("nerfacc")
    assert absent.found == "not installed"
    assert "numba" in absent.means


def test_doctor_says_that_the_libraries_are_switched_off(monkeypatch):
    name = "DISTILL3D_CUDA_LIBRARIES"
    monkeypatch.delenv(name, raising=False)
    assert name not in {finding.name for finding in doctor.findings()}
    monkeypatch.setenv(name, "none")
    assert name in {finding.name for finding in doctor.findings()}
