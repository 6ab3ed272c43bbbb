"""Guidance: a rendering and its cameras in, a loss out. Importing this package registers every kind."""

from distill3d.guidance.base import Guidance, GuidanceOutput
from distill3d.guidance.clip import Clip
from distill3d.guidance.csd import CSD
from distill3d.guidance.editing import DDS, PDS
from distill3d.guidance.ism import ISM
from distill3d.guidance.sds import SDS
from distill3d.guidance.vsd import VSD
from distill3d.guidance.zero123 import Zero123SDS

__all__ = ["CSD", "DDS", "ISM", "PDS", "SDS", "VSD", "Clip", "Guidance", "GuidanceOutput", "Zero123SDS"]
