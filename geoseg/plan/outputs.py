"""The files a run promises, checked before it starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import OutputError, RunError
from geoseg.files import exists, is_folder
from geoseg.scene.identity import files_of

RASTERS = (".tif", ".tiff")
WORK_ENDING = ".geoseg-work"
_LONGEST_NAME = 255
"""Bytes that file systems allow, where they do not say."""
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Outputs:
    """Where a run writes.

    Attributes:
        classes: The class map.
        confidence: The confidence raster, or None.
        probabilities: The probability raster, or None.
        polygons: The polygons, or None.
        report: The JSON report, or None.
    """

    classes: Path
    confidence: Path | None = None
    probabilities: Path | None = None
    polygons: Path | None = None
    report: Path | None = None

    def named(self) -> dict[str, Path]:
        """The outputs that were asked for, by name."""
        return {name: path for name, path in vars(self).items() if path is not None}

    @property
    def rasters(self) -> dict[str, Path]:
        """The rasters that were asked for, by the name of their kind."""
        return {name: path for name, path in self.named().items() if name not in ("polygons", "report")}

    @property
    def work_folder(self) -> Path:
        """Where unfinished work lies."""
        return self.classes.with_name(self.classes.name + WORK_ENDING)


def check_outputs(
    outputs: dict[str, Path], inputs: Sequence[str], *, endings: dict[str, Sequence[str]], overwrite: bool
) -> None:
    """Refuse outputs that could not be written or would harm a file, before any work is done.

    Args:
        outputs: Option name -> path, as in ``{"--confidence": path}``.
        inputs: Files and folders that are read. What they are made of is not replaced either: the files of
            a package or a VRT.
        endings: Option name -> allowed file endings.
        overwrite: Whether finished files may be replaced.

    Raises:
        OutputError: Naming the option and what to do.
    """
    taken: dict[Path, str] = {_real(path): path for path in inputs}
    styles: dict[Path, str] = {}
    for option, path in outputs.items():
        check_name(option, path)
        allowed = endings.get(option)
        if allowed and path.suffix.lower() not in allowed:
            raise OutputError(f"{option} {path}: the name must end in {' or '.join(allowed)}")
        if _real(path) in taken:
            raise OutputError(f"{option} {path} is also {taken[_real(path)]}; give it another name")
        whose = next((name for name in inputs if _holds(name, path)), None)
        if whose is not None:
            raise OutputError(f"{option} {path} belongs to {whose}, which is read; give it another name")
        taken[_real(path)] = option
        if not os.access(path.parent, os.W_OK):
            raise OutputError(f"{option} {path}: the folder {path.parent} is not writable")
        if is_folder(path):
            raise OutputError(f"{option} {path} is a folder; give a file name")
        if exists(path) and not overwrite:
            raise OutputError(f"{option} {path} exists; --overwrite replaces it")
        if path.suffix.lower() in RASTERS:
            style = _real(path).with_suffix(".qml")
            if style in styles:
                raise OutputError(
                    f"{option} and {styles[style]} would share the style file {style.name}; rename one"
                )
            styles[style] = option


def _real(path: PathLike) -> Path:
    """Follow links; ``Path.resolve`` raises what nobody names if they lead in a circle."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a NUL in the name; whoever opens it says so
        return Path(path)


def _holds(name: str, path: Path) -> bool:
    """Whether a file that is there is an input by another name, or part of it."""
    return exists(path) and any(
        os.path.exists(part) and path.samefile(part) for part in (name, *files_of(name))
    )


def check_name(option: str, path: Path) -> None:
    """Refuse a name that cannot be written, or beside which sidecars and the work folder cannot.

    Raises:
        OutputError: Naming the option and what to do.
    """
    try:
        length = len(os.fspath(path.name).encode())
        if not path.parent.is_dir():
            raise OutputError(f"{option} {path}: there is no folder {path.parent}; make it first")
        most = os.pathconf(path.parent, "PC_NAME_MAX") if hasattr(os, "pathconf") else _LONGEST_NAME
    except UnicodeEncodeError as error:
        raise OutputError(f"{option} {path}: the name is not UTF-8, which GDAL needs; rename it") from error
    except OSError as error:
        raise OutputError(f"{option} {path} cannot be written ({error.strerror})") from error
    most -= len(WORK_ENDING)
    if length > most:
        raise OutputError(
            f"{option} {path}: the name has {length} bytes; at most {most} leave room for the files beside it"
        )
    if any(folder.name.endswith(WORK_ENDING) for folder in _real(path).parents):
        raise OutputError(f"{option} {path} lies in a work folder, which is removed; name another place")


def refuse_existing(outputs: Outputs) -> None:
    """Refuse to replace files that are not this run's.

    Raises:
        OutputError: Naming the first of them.
    """
    for path in outputs.named().values():
        if exists(path):
            raise OutputError(f"{path} exists; --overwrite replaces it")


def refuse_what_appeared(outputs: Outputs) -> None:
    """Refuse to replace files that were made while the run was computing.

    Raises:
        RunError: Naming the first of them.
    """
    for path in outputs.named().values():
        if exists(path):
            raise RunError(f"{path} was made by somebody else while this run was computing; move it away")
