"""Surfaces as triangles: taken out of fields, cleaned, simplified, unwrapped and painted."""
