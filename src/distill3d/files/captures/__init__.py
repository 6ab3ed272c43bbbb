"""Folders of photographs with camera poses, in the layouts that other programs write."""

from distill3d.files.captures.capture import Capture, read_capture
from distill3d.files.captures.normalize import Normalization

__all__ = ["Capture", "Normalization", "read_capture"]
