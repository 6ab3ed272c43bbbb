"""Ramps: values over steps."""

import pytest

from distill3d.core.component import Config, validated
from distill3d.core.errors import UserError
from distill3d.core.ramp import Ramp, RampField


def test_a_number_is_constant():
    assert [Ramp(7.5).at(s) for s in (0, 10, 10**6)] == [7.5] * 3


def test_linear_between_points_and_constant_outside():
    ramp = Ramp({100: 10.0, 200: 20.0, 400: 0.0})
    assert [ramp.at(s) for s in (0, 100, 150, 200, 300, 400, 999)] == [10, 10, 15, 20, 10, 0, 0]


def test_lists_ramp_element_by_element():
    assert Ramp({0: [0.0, 1.0], 10: [1.0, 0.0]}).at(5) == [0.5, 0.5]


@pytest.mark.parametrize("bad", [{}, "7", {0: "x"}, {0: [1, 2], 5: 1}, True, [True]])
def test_nonsense_is_refused(bad):
    with pytest.raises(ValueError, match="ramp"):
        Ramp(bad)


class Holder(Config):
    scale: RampField = Ramp(1.0)


def test_a_field_takes_plain_values_and_gives_them_back():
    holder = validated(Holder, {"scale": {0: 5, 10: 1}}, "here")
    assert holder.scale.at(5) == 3
    assert holder.model_dump() == {"scale": {0: 5, 10: 1}}
    with pytest.raises(UserError, match=r"here\.scale"):
        validated(Holder, {"scale": "fast"}, "here")
