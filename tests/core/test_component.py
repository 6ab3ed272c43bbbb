"""Components: found by kind, configured strictly."""

import pytest

from distill3d.core.component import Component, Config
from distill3d.core.errors import UserError


class Animal(Component):
    family = "animal"

    def __init__(self, config, sound="?"):
        self.config, self.sound = config, sound


class Cat(Animal):
    kind = "cat"

    class Config(Config):
        legs: int = 4
        name: str


class Fish(Animal):
    kind = "fish"


def test_builds_by_kind_with_its_config_and_context():
    cat = Animal.build({"kind": "cat", "name": "Tom"}, sound="meow")
    assert isinstance(cat, Cat)
    assert (cat.config.legs, cat.config.name, cat.sound) == (4, "Tom", "meow")


def test_families_do_not_share_kinds():
    class Plant(Component):
        family = "plant"

    assert "cat" not in Plant.members
    with pytest.raises(UserError, match="unknown plant kind"):
        Plant.build({"kind": "cat", "name": "x"})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"kind": "kat"}, r"unknown animal kind 'kat'; did you mean 'cat'\?"),
        ({"kind": "cat", "name": "x", "leggs": 3}, r"pet\.leggs.*did you mean 'legs'"),
        ({"kind": "cat", "name": "x", "legs": "many"}, r"pet\.legs"),
        ({"kind": "cat"}, r"pet\.name"),
        ({}, "needs a kind"),
        ({"kind": "no.such.module:Dog"}, "cannot be imported"),
    ],
)
def test_errors_name_the_key_and_what_would_be_right(section, message):
    with pytest.raises(UserError, match=message):
        Animal.build(section, "pet")


def test_a_class_outside_is_found_by_module_and_name():
    found = Animal.build({"kind": f"{__name__}:Fish"})
    assert type(found).__name__ == "Fish"
