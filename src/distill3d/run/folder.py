"""A run is a folder; nothing half written ever stands in it under its final name."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill3d.core.errors import UserError
from distill3d.files.atomic import write_bytes


class RunFolder:
    """The paths of one run.

    Args:
        path: the folder itself; `create` makes a new one, `open` finds an existing one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.previews = path / "previews"
        self.findings = path / "findings.json"
        self._made: list[Path] = []

    @classmethod
    def create(
        cls, config_yaml: str, name: str, subject: str | None = None, out: str | Path | None = None
    ) -> RunFolder:
        """A new folder with its config in it, `outputs/NAME/SUBJECT` unless `out` says otherwise.

        Where there is one already a number is added. The folder appears with its config inside or not at all.

        Raises:
            UserError: the folder cannot be written.
        """
        wanted = Path(out) if out is not None else Path("outputs") / slug(name) / slug(subject or "run")
        made = _missing_parents(wanted)
        try:
            wanted.parent.mkdir(parents=True, exist_ok=True)
            temporary = wanted.parent / f".{wanted.name}.{os.getpid()}.tmp"
            try:
                temporary.mkdir()
                write_text(temporary / "config.yaml", config_yaml)
                folder = cls(_rename_to_free_name(temporary, wanted))
                folder._made = made
                return folder
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
        except (OSError, UserError) as error:
            _remove_if_empty(made)
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UserError(
                f"the run folder {wanted} cannot be written ({reason}); choose another with --out"
            ) from error

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The folder of a run that is to go on."""
        folder = cls(Path(path))
        if not folder.config.is_file():
            raise UserError(f"{path} is not a run folder: it has no config.yaml")
        return folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out, until this one leaves or ends in whatever way.

        Raises:
            UserError: another process is in.
        """
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise UserError(f"{self.path} is in use by another run") from error
        try:
            yield
        finally:
            os.close(descriptor)

    def discard(self) -> None:
        """Removes a folder in which no work was done yet."""
        shutil.rmtree(self.path, ignore_errors=True)
        _remove_if_empty(self._made)

    def clean(self) -> None:
        """Removes what a killed process left half written."""
        for path in list(self.path.rglob(".*.tmp*")):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`text` in `path` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def slug(text: str, limit: int = 60) -> str:
    """`text` as a folder's name: lower case, words joined by dashes.

    >>> slug("A red mushroom, 3/4 view!")
    'a-red-mushroom-3-4-view'
    """
    name = re.sub(r"[\W_]+", "-", text.lower())[:limit].strip("-")
    while len(name.encode()) > 200:  # file systems count bytes
        name = name[:-1]
    return name or "run"


def _rename_to_free_name(temporary: Path, wanted: Path) -> Path:
    for number in range(1, 10_000):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        if path.is_file():  # --out names a file: not ours to work around
            raise NotADirectoryError(20, "it is a file")
        try:
            os.rename(temporary, path)  # refused where a folder with something in it stands
        except OSError:
            if not path.exists():
                raise
        else:
            return path
    raise OSError(17, "ten thousand runs stand there already")


def _missing_parents(path: Path) -> list[Path]:
    """The folders above `path` that do not exist yet, deepest first."""
    return [parent for parent in path.parents if not parent.exists()]


def _remove_if_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
