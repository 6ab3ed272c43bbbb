"""Guidance: a rendering and its cameras in, a loss out. Importing this package registers every kind."""

from distill3d.guidance.base import Guidance, GuidanceOutput
from distill3d.guidance.sds import SDS

__all__ = ["SDS", "Guidance", "GuidanceOutput"]
