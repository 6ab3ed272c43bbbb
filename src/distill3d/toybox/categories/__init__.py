"""Every kind of object of the toybox, by name."""

from distill3d.toybox.categories.building import Category, Paint
from distill3d.toybox.categories.buildings import BUILDINGS
from distill3d.toybox.categories.figures import FIGURES
from distill3d.toybox.categories.food import FOOD
from distill3d.toybox.categories.furniture import FURNITURE
from distill3d.toybox.categories.household import HOUSEHOLD
from distill3d.toybox.categories.nature import NATURE
from distill3d.toybox.categories.primitives import PRIMITIVES
from distill3d.toybox.categories.vehicles import VEHICLES

CATEGORIES: dict[str, Category] = {
    kind.name: kind for kind in (*PRIMITIVES, *FURNITURE, *HOUSEHOLD, *NATURE, *FIGURES, *BUILDINGS, *VEHICLES, *FOOD)
}

__all__ = ["CATEGORIES", "Category", "Paint"]
