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


def test_rays_beside_the_region_are_marched_as_before_also_where_a_sample_lies_on_a_cells_border():
    """Choosing among the samples of the larger grid, by positions in float32, loses or gains one now and then."""
    space = {"kind": "contracted", "near": 0.1, "far": 20, "even_until": 0.5}
    grid = {"levels": 2, "log2_table": 8, "finest": 16}
    section = {"kind": "nerf", "space": space, "step": 0.02, "grid": grid, "occupancy": {"resolution": 48}}
    source = Renderer.build(section, generator=torch.Generator().manual_seed(0))
    edited = Renderer.build({**section, "region": TEXT}, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    ball = source.occupancy.occupied
    source.occupancy.distance.copy_(chebyshev_distance(ball & (torch.rand(ball.shape, generator=generator) < 0.3)))
    edited.edit_of(source, torch.eye(4, dtype=torch.float64))
    origins = torch.tensor([[1.5, 0.4, 0.3]]).expand(20_000, 3)
    directions = torch.nn.functional.normalize(torch.randn(20_000, 3, generator=generator), dim=1)
    beside = ~edited.field.region.meets(origins, directions)
    before = source._samples(origins, directions)
    after = edited.field.samples(origins, directions, edited.occupancy.distance)
    chosen = edited.field._without_unseen(edited.space.samples(origins, directions, edited.occupancy.distance, None))

    def on_rays_beside(at):
        counts = at.offsets.long().diff()
        return counts[beside], at.positions[beside.repeat_interleave(counts)]

    for had, has in zip(on_rays_beside(before), on_rays_beside(after), strict=True):
        assert torch.equal(had, has)
    assert not torch.equal(on_rays_beside(before)[0], on_rays_beside(chosen)[0])  # negative control
    assert len(after.t) > len(before.t)  # where rays meet the region, all of it is looked at
