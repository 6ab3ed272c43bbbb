"""The ray caster that `rasterize_cuda` runs where nvdiffrast is missing. Importing it needs warp."""
# mypy: ignore-errors

import warp as wp


@wp.kernel
def first_hit(
    mesh: wp.uint64,
    starts: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    length: float,
    triangle: wp.array(dtype=wp.int32),
):
    """Writes the first face that each ray meets; leaves the others as they are."""
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, starts[i], directions[i], length)
    if hit.result:
        triangle[i] = hit.face
