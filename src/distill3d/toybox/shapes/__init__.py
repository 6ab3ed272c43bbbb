"""A second, smaller world for part Gaussians: a few kinds of things whose parts vary by named attributes."""

from distill3d.toybox.shapes.attributes import KINDS, AttributedShape, Attributes, Kind, sample_shape

__all__ = ["KINDS", "AttributedShape", "Attributes", "Kind", "sample_shape"]
