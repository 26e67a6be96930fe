"""The protocol of an importer, and the source that it reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from geoseg.errors import ModelError
from geoseg.models.importers.description import Description
from geoseg.models.importers.torch_file import is_torch_file, read_torch_file
from geoseg.models.sources import CONFIG_FILE


@dataclass(frozen=True)
class ImportSource:
    """A file or folder that another tool wrote; what several importers look at is read once.

    Attributes:
        path: the file or folder.
        shown: what messages call it; the user's own words.
    """

    path: Path
    shown: str

    @cached_property
    def config(self) -> dict[str, Any] | None:
        """The `config.json` of a folder; None if it has none.

        Raises:
            ModelError: if it is not a JSON object.
        """
        file = self.path / CONFIG_FILE
        if not file.is_file():
            return None
        try:
            content = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{file} cannot be read as JSON: {error}") from error
        if not isinstance(content, dict):
            raise ModelError(f"{file} is not a JSON object")
        return content

    @cached_property
    def tensors(self) -> dict[str, Any] | None:
        """The tensors of a safetensors file; None if it is none.

        Raises:
            ModelError: if it is damaged.
        """
        if self.path.suffix != ".safetensors" or not self.path.is_file():
            return None
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors: dict[str, Any] = load_file(self.path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise ModelError(f"{self.shown} is damaged ({error}); get it again") from error
        return tensors

    @cached_property
    def content(self) -> Any:
        """What a file of `torch.save` holds; None if it is none.

        Raises:
            ModelError: if it needs code to be opened, or is damaged.
        """
        return read_torch_file(self.path, self.shown) if is_torch_file(self.path) else None


class Importer(Protocol):
    """Reads one kind of model that another tool wrote. No code in the source is run."""

    @property
    def kind(self) -> str:
        """What it reads, in a few words and with the endings of its files, for messages and the docs."""

    def recognises(self, source: ImportSource) -> bool:
        """Tell whether a source is of this kind, by its content."""

    def convert(self, source: ImportSource, said: Description, folder: Path) -> Path:
        """Write a source as a model package.

        Args:
            source: a source that `recognises` accepts.
            said: what the user says of it; the importer adds what the source itself says.
            folder: the package's folder; made if missing.

        Returns:
            The folder.

        Raises:
            ModelError: in one line, naming the source, what it lacks or what does not fit, and what to do.
        """
