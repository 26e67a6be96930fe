"""``geoseg models import``: a model package from other people's files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError, OutputError
from geoseg.models.importers import IMPORTERS
from geoseg.models.importers.description import Description
from geoseg.models.importers.importer import Importer, ImportSource
from geoseg.models.package import open_model
from geoseg.models.sources import HUB_PREFIX, MLM_FILE, download
from geoseg.models.transforms import Chain
from geoseg.verbs.export import check_folder


def import_model(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    bands: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    value_range: Sequence[tuple[float, float]] | None = None,
    transforms: Sequence[Chain] | None = None,
    units: str | None = None,
    gsd: float | None = None,
    architecture: str | None = None,
    encoder: str | None = None,
    network: Mapping[str, Any] | None = None,
    chip_size: int | None = None,
    overlap: int | None = None,
    name: str | None = None,
    license: str | None = None,  # noqa: A002 (as the card calls it)
    citation: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a model package from a file or folder that another tool wrote. No code in it is run.

    What the source itself says need not be said; what is said here wins.

    Args:
        source: File, folder, or ``hf://owner/name``; its kind is found from its content.
        output: The new package's folder.
        bands: Names of the bands in the network's order.
        classes: The classes in the network's order: ``"NAME"``, ``"ID=NAME"`` or ``"ID=NAME:#rrggbb"``. An
            id that is not given is the network's index.
        mean: Subtracted from physical values, one for each band or one for all.
        std: Divided by then, one for each band or one for all.
        scale: Physical values are stored values times this, as in the training data; default 1.
        offset: Added after ``scale``; default 0.
        value_range: Usual physical values, 1st and 99th percentile, a pair for each band or one for all;
            default from ``mean`` and ``std``.
        transforms: What is done to physical values before ``mean`` and ``std``, a tuple of
            ``geoseg.models.transforms.Transform`` for each band or one for all.
        units: What physical values mean: ``"reflectance"`` or ``"digital numbers"``, for instance.
        gsd: Metres a pixel.
        architecture: Of weights alone: a name for ``geoseg.models.build_network``.
        encoder: The same.
        network: Further arguments of the architecture.
        chip_size: Side of the chips; default 512.
        overlap: Pixels that chips share; default a quarter, at most 64.
        name: The package's name; default the folder's.
        license: Licence of the weights.
        citation: How to cite the model.
        overwrite: Replace a package that is there.

    Returns:
        The folder.

    Raises:
        ModelError: If the source is of no known kind, would need code to be opened, or lacks something that
            is not said here.
        OutputError: If the folder is there, or cannot be written.
    """
    folder = check_folder(output, overwrite=overwrite)
    opened = _open(os.fspath(source))
    if folder.resolve() in (opened.path.resolve(), opened.path.resolve().parent):
        raise OutputError(f"{folder} is where the source lies; give another folder for the package")
    importer = choose_importer(opened)
    said = Description(
        name=name or folder.resolve().name,
        bands=bands,
        classes=classes,
        mean=mean,
        std=std,
        scale=scale,
        offset=offset,
        value_range=value_range,
        transforms=transforms,
        units=units,
        gsd=gsd,
        architecture=architecture,
        encoder=encoder,
        network=network,
        chip_size=chip_size,
        overlap=overlap,
        license=license,
        citation=citation,
    )
    return Path(open_model(importer.convert(opened, said, folder)).path)


def choose_importer(source: ImportSource) -> Importer:
    """Choose the importer that recognises a source.

    Raises:
        ModelError: Listing what can be imported, if none does.
    """
    for importer in IMPORTERS:
        if importer.recognises(source):
            return importer
    kinds = "; ".join(importer.kind for importer in IMPORTERS)
    raise ModelError(f"{source.shown} is nothing that can be imported; geoseg reads {kinds}")


def _open(source: str) -> ImportSource:
    path = download(source) if source.startswith(HUB_PREFIX) else Path(source)
    if not path.exists():
        raise ModelError(f"there is no {source}; check the path")
    if (path / MLM_FILE).exists():
        raise ModelError(f"{source} is a model package already; use it as it is: --model {source}")
    return ImportSource(path, source)
