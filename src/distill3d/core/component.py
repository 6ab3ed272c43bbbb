"""What a config can name: a class with a `kind` and a strict `Config`."""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from typing_extensions import Self

from distill3d.core.errors import UserError


class Config(BaseModel):
    """Base of every component's configuration: unknown keys are errors, values are not coerced silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, arbitrary_types_allowed=False)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields.get(info.field_name or "")
        if isinstance(value, bool) and field is not None and field.annotation in (int, float, int | None, float | None):
            raise ValueError("Input should be a valid number")
        return value


class Component:
    """Base of everything that a config names by `kind`.

    A family (`Renderer`, `Guidance`, ...) derives from `Component` with `family = "renderer"`; each member derives
    from the family with its own `kind` and `Config`. Members register themselves on import. A section of a config
    `{kind: nerf, resolution: 64}` becomes an object by `Renderer.build(section)`. A kind may also be
    "module:Class", or the name of an entry point in the group `distill3d.FAMILY`, for code outside the package.
    """

    family: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    members: ClassVar[dict[str, type[Component]]] = {}
    Config: ClassVar[type[BaseModel]] = Config

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "family" in cls.__dict__:
            cls.members = {}
        elif cls.__dict__.get("kind"):
            cls.members[cls.kind] = cls

    @classmethod
    def find(cls, kind: str) -> type[Self]:
        """The member called `kind`.

        Raises:
            UserError: no such member; the message lists what there is and the nearest name.
        """
        if not isinstance(kind, str):
            raise UserError(f"{cls.family} kind should be a name (got {kind!r})")
        if ":" in kind:
            module, _, name = kind.partition(":")
            try:
                member = getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError, ValueError) as error:
                raise UserError(f"{cls.family} kind {kind!r} cannot be imported: {error}") from error
            if not (isinstance(member, type) and issubclass(member, cls)):
                raise UserError(f"{cls.family} kind {kind!r} is not a {cls.__name__}")
            return member
        if kind in cls.members:
            return cls.members[kind]  # type: ignore[return-value]
        for entry in entry_points(group=f"distill3d.{cls.family}"):
            if entry.name == kind:
                return entry.load()
        raise UserError(f"unknown {cls.family} kind {kind!r}{nearest(kind, cls.members)}")

    @classmethod
    def parse(cls, section: dict[str, Any], where: str = "") -> tuple[type[Self], BaseModel]:
        """The class and the checked configuration that a section names, without building anything.

        Args:
            section: `kind` and the fields of that kind's `Config`.
            where: the section's dotted path, for error messages.
        """
        where = where or cls.family
        if not isinstance(section, dict) or "kind" not in section:
            raise UserError(f"{where}: needs a kind, one of {', '.join(sorted(cls.members))}")
        member = cls.find(section["kind"])
        return member, validated(member.Config, {k: v for k, v in section.items() if k != "kind"}, where)

    @classmethod
    def build(cls, section: dict[str, Any], where: str = "", **context: Any) -> Self:
        """The object that a section names. `context` goes to its constructor next to `config`."""
        member, config = cls.parse(section, where)
        return member(config, **context)  # type: ignore[call-arg]


def nearest(word: str, known: Any) -> str:
    """The tail of an error message: the nearest known word and the list of all."""
    names = sorted(str(k) for k in known)
    close = difflib.get_close_matches(str(word), names, n=1, cutoff=0.6)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (one of: {', '.join(names)})" if names else hint


def validated(model: type[BaseModel], values: dict[str, Any], where: str) -> Any:
    """`model(**values)` with pydantic's findings as one line that names the key.

    Raises:
        UserError: on a wrong key (with the nearest right one) or a wrong value.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = error.errors()
        first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])  # a misspelt key first
        keys = _written_keys(values, first["loc"], first["type"])
        path = ".".join([where, *keys]).strip(".")
        if first["type"] == "extra_forbidden":
            owner: type[BaseModel] | None = model
            for key in keys[:-1]:  # the model in which the unknown key stands
                field = owner.model_fields.get(key) if owner else None
                owner = _model_in(field.annotation) if field else owner
            raise UserError(f"unknown key {path}{nearest(keys[-1], owner.model_fields if owner else ())}") from error
        if first["type"] == "missing":
            raise UserError(f"{path}: must be given") from error
        same_place = [e for e in errors if _written_keys(values, e["loc"], e["type"]) == keys]  # arms of a union
        message = ", or ".join(dict.fromkeys(e["msg"].removeprefix("Value error, ") for e in same_place))
        if not keys:  # of the whole section: its values are no help
            raise UserError(f"{path}: {message}" if path else message) from error
        raise UserError(f"{path}: {message} (got {first['input']!r})") from error


def _written_keys(values: Any, loc: tuple[int | str, ...], kind: str) -> list[str]:
    """The keys of `loc` that stand in `values`: pydantic's own names for the arms of a union left out."""
    keys: list[str] = []
    for part in loc:
        items: dict[Any, Any] = values if isinstance(values, dict) else {}
        if isinstance(values, (list, tuple)):
            items = dict(enumerate(values))
        if part in items:
            values = items[part]
        elif kind != "missing" or part is not loc[-1]:
            continue
        keys.append(str(part))
    return keys


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model in `Model`, `Model | None` or `list[Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for model in map(_model_in, get_args(annotation)) if model), None)
