"""A value that may change over the steps of a run."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import GetPydanticSchema
from pydantic_core import core_schema


class Ramp:
    """A number, a list of numbers, or points `{step: value}`: linear between the points, constant outside.

    >>> Ramp(7.5).at(100)
    7.5
    >>> Ramp({0: 100.0, 5000: 7.5}).at(2500)
    53.75
    >>> Ramp({0: [0.02, 0.98], 100: [0.02, 0.5]}).at(50)
    [0.02, 0.74]
    """

    def __init__(self, value: Any) -> None:
        points = value if isinstance(value, dict) else {0: value}
        if not points:
            raise ValueError("a ramp needs at least one point {step: value}")
        self._raw = value
        try:
            by_step = {int(s): v for s, v in points.items()}
        except (TypeError, ValueError):
            raise ValueError(f"the points of a ramp are {{step: value}} with whole steps, not {value!r}") from None
        self.steps = sorted(by_step)
        self.values = [by_step[s] for s in self.steps]
        lengths = set()
        for v in self.values:
            numbers = v if isinstance(v, (list, tuple)) else [v]
            if not numbers or not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers):
                raise ValueError("a ramp is a number, a list of numbers, or {step: number or list}")
            lengths.add(len(numbers) if isinstance(v, (list, tuple)) else 0)
        if len(lengths) != 1:
            raise ValueError("all points of a ramp need the same number of values")

    def at(self, step: int) -> Any:
        """The value at `step`: a float, or a list of floats."""
        after = bisect.bisect_right(self.steps, step)
        if after == 0 or after == len(self.steps):
            return _floats(self.values[max(after - 1, 0)])
        s0, s1 = self.steps[after - 1], self.steps[after]
        share = (step - s0) / (s1 - s0)
        v0, v1 = _floats(self.values[after - 1]), _floats(self.values[after])
        if isinstance(v0, list):
            return [a + share * (b - a) for a, b in zip(v0, v1, strict=True)]
        return v0 + share * (v1 - v0)

    @property
    def plain(self) -> Any:
        """What it was made from, as it goes back into a config file."""
        return self._raw

    def __repr__(self) -> str:
        return f"Ramp({self._raw!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ramp) and (self.steps, self.values) == (other.steps, other.values)


def _floats(value: Any) -> Any:
    return [float(v) for v in value] if isinstance(value, (list, tuple)) else float(value)


def _checked(value: Any) -> Ramp:
    return value if isinstance(value, Ramp) else Ramp(value)


def _checked_number(value: Any) -> Ramp:
    ramp = _checked(value)
    if any(isinstance(v, (list, tuple)) for v in ramp.values):
        raise ValueError("Input should be a number or {step: number}")
    return ramp


def _schema(check: Callable[[Any], Ramp]) -> GetPydanticSchema:
    plain = core_schema.plain_serializer_function_ser_schema(lambda ramp: ramp.plain)
    return GetPydanticSchema(lambda *_: core_schema.no_info_plain_validator_function(check, serialization=plain))


RampField = Annotated[Ramp, _schema(_checked)]  # the type of a pydantic field that holds a ramp
NumberRampField = Annotated[Ramp, _schema(_checked_number)]  # one that holds a ramp of single numbers
