"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from distill3d.core.errors import UserError


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what is written there takes `path`'s place once it is safely on disk.

    If anything goes wrong the temporary file or folder is removed, and `path` stays as it was.

    Raises:
        UserError: in place of an OSError, such as a full disk.
    """
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        for file in [*temporary.rglob("*"), temporary] if temporary.is_dir() else [temporary]:
            _sync(file)
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException as error:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):  # such as a parent that is a file: there is nothing to remove
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"{path} cannot be written ({error.strerror or error})") from error
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """`data` in `path`, whole or not at all."""
    with written(path) as temporary:
        temporary.write_bytes(data)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
