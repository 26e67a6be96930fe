"""List models as a table or JSON: bundled ones, those in the hub's cache, and those in folders."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.card import ModelCard
from geoseg.models.package import load_card
from geoseg.models.region import months_in_words
from geoseg.models.sources import MLM_FILE, bundled_models, find_package

BUNDLED, CACHED = "bundled", "cached"
_TITLES = {BUNDLED: "Bundled", CACHED: "Cached, from the Hugging Face Hub"}
_COLUMNS = {
    "name": 20,
    "bands": 18,
    "pixels": 10,
    "classes": 7,
    "region, season": 16,
    "licence": 10,
    "mIoU": 5,
}
"""Column -> its width; with two spaces between them, a line has at most 100 characters."""
_MAIN = "main"


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that can be named with `--model`.

    Attributes:
        ref: what names it: a bundled model's name, a folder, or an address on the hub.
        source: "bundled", "cached", or the folder it was found in.
        card: its card.
        size_bytes: size of all files of its package.
    """

    ref: str
    source: str
    card: ModelCard
    size_bytes: int

    @classmethod
    def open(cls, ref: str, source: str) -> ListedModel:
        """Read a package's card.

        Raises:
            ModelError: if it cannot be read.
        """
        return cls(ref, source, load_card(ref), find_package(ref).size())

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON values."""
        card = self.card
        return {
            "name": card.name,
            "version": card.version,
            "ref": self.ref,
            "source": self.source,
            "summary": card.summary,
            "bands": list(card.band_names),
            "units": card.units,
            "classes": [{"id": each.id, "name": each.name, "color": each.color} for each in card.classes],
            "gsd": card.gsd,
            "gsd_estimated": card.gsd_estimated,
            "gsd_range": None if card.gsd_range is None else list(card.gsd_range),
            "region": None if card.region is None else card.region.to_json(),
            "region_name": card.region_name,
            "months": list(card.months),
            "size_bytes": self.size_bytes,
            "license": card.license,
            "metrics": dict(card.metrics),
        }


def list_models(folders: Iterable[str | os.PathLike[str]] = ()) -> tuple[list[ListedModel], list[str]]:
    """List the bundled models, those in the hub's cache, and those in folders, in this order.

    Args:
        folders: model packages, or folders that hold some.

    Returns:
        The models, and a line for each package of the cache that cannot be read.

    Raises:
        ModelError: if a bundled package or one of the folders cannot be read, or a folder holds no package.
    """
    models = [ListedModel.open(name, BUNDLED) for name in bundled_models()]
    unread = []
    for address in _cached():
        try:
            models.append(ListedModel.open(address, CACHED))
        except ModelError as error:
            unread.append(f"{address} is in the cache, and is not listed: {error}")
    for folder in folders:
        models += [ListedModel.open(path, os.fspath(folder)) for path in _packages(Path(folder))]
    return models, unread


def table(models: Sequence[ListedModel]) -> str:
    """Write models as a table of at most 100 columns, a part for each source."""
    lines = list(_row(_COLUMNS))
    for source, part in groupby(models, key=lambda model: model.source):
        lines += ["", _TITLES.get(source, f"In {source}")]
        for model in part:
            lines += _row(_cells(model))
    return "\n".join(lines)


def _cells(model: ListedModel) -> list[str]:
    card = model.card
    where = [card.region_name or str(card.region)] if card.region else []
    score = card.metrics.get("miou")
    return [
        model.ref if model.source in _TITLES else card.name,
        ", ".join(card.band_names),
        card.gsd_in_words or "unknown",
        str(len(card.classes)),
        ", ".join([*where, *([months_in_words(card.months)] if card.months else [])]) or "any",
        card.license or "not stated",
        f"{score:.3f}" if isinstance(score, float) else "-",
    ]


def _row(cells: Iterable[str]) -> Iterator[str]:
    """Write a row of cells, each wrapped to the width of its column."""
    columns = [textwrap.wrap(cell, width) for cell, width in zip(cells, _COLUMNS.values(), strict=True)]
    for parts in zip_longest(*columns, fillvalue=""):
        padded = (f"{part:<{width}}" for part, width in zip(parts, _COLUMNS.values(), strict=True))
        yield "  ".join(padded).rstrip()


def _packages(folder: Path) -> list[str]:
    """Name the package that a folder is, or those that it holds."""
    if not folder.is_dir() or (folder / MLM_FILE).is_file():
        return [str(folder)]
    found = sorted(str(card.parent) for card in folder.glob(f"*/{MLM_FILE}"))
    if not found:
        raise ModelError(f"{folder} holds no model package; give a package, or a folder of packages")
    return found


def _cached() -> Iterator[str]:
    """Name the model packages in the hub's cache, without the network."""
    import huggingface_hub

    try:
        repositories = huggingface_hub.scan_cache_dir(huggingface_hub.constants.HF_HUB_CACHE).repos
    except (huggingface_hub.CacheNotFound, OSError, ValueError):  # there is none
        return
    for repository in sorted(repositories, key=lambda each: each.repo_id):
        for revision in sorted(repository.revisions, key=lambda each: each.commit_hash):
            if repository.repo_type == "model" and (revision.snapshot_path / MLM_FILE).is_file():
                is_main = _MAIN in revision.refs
                named = "" if is_main else f"@{min(revision.refs, default=revision.commit_hash)}"
                yield f"hf://{repository.repo_id}{named}"
