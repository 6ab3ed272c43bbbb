"""A NeRF held to a region: rays that miss it see the same bits, those that meet it need not."""

import torch

from distill3d.core.cameras import Cameras
from distill3d.geometry.region import Region
from distill3d.kernels.marching import chebyshev_distance
from distill3d.renderers import Renderer

TEXT = "sphere:0.1,0,0,0.2"


def test_faint_density_in_cells_that_were_empty_stays_unseen():
    """The cells around the region are looked at anew, also where the source had none."""
    section = {"kind": "nerf", "grid": {"levels": 4, "log2_table": 10, "finest": 32}, "occupancy": {"resolution": 16}}
    source = Renderer.build(section, generator=torch.Generator().manual_seed(0))
    edited = Renderer.build({**section, "region": TEXT}, generator=torch.Generator().manual_seed(1))
    occupied = source.occupancy.occupied.clone()
    occupied[8:] = False  # x > 0, though the field is not empty there
    source.occupancy.distance.copy_(chebyshev_distance(occupied))
    edited.edit_of(source, torch.eye(4, dtype=torch.float64))
    with torch.no_grad():
        edited.field.edited.table += 0.5
    camera = Cameras.orbit(1.2, 0.3, 2.5, 0.7, 48)
    with torch.no_grad():
        before, after = (scene.eval()(camera, background=torch.zeros(3)) for scene in (source, edited))
    origins, directions = camera.rays()
    meets = Region.parse(TEXT).meets(origins.reshape(-1, 3), directions.reshape(-1, 3)).view(1, 48, 48)
    assert torch.equal(before.rgb[~meets], after.rgb[~meets])
    assert torch.equal(before.alpha[~meets], after.alpha[~meets])
    assert not torch.equal(before.rgb[meets], after.rgb[meets])  # negative control
