"""Systems: which renderer meets which guidance. Importing this package registers them by kind."""

from distill3d.systems.base import System
from distill3d.systems.controlled import Controlled
from distill3d.systems.dataset_update import DatasetUpdate
from distill3d.systems.edit import Edit
from distill3d.systems.image_to_3d import ImageTo3D
from distill3d.systems.part_inversion import PartInversion
from distill3d.systems.particles import Particles
from distill3d.systems.reconstruct import Reconstruct
from distill3d.systems.stages import Stages
from distill3d.systems.text_to_3d import TextTo3D

__all__ = [
    "Controlled",
    "DatasetUpdate",
    "Edit",
    "ImageTo3D",
    "PartInversion",
    "Particles",
    "Reconstruct",
    "Stages",
    "System",
    "TextTo3D",
]
