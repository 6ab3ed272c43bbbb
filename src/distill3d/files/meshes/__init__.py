"""Meshes that other programs wrote, read with suspicion: see `reading.read_mesh`."""

from distill3d.files.meshes.reading import LoadedMesh, read_mesh

__all__ = ["LoadedMesh", "read_mesh"]
