"""Open one or many files as one scene."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from geoseg.errors import SceneError, SettingsError
from geoseg.omissions import Omission
from geoseg.scene.band import Band, Layer, can_hold
from geoseg.scene.band_names import common_names, name_in_file_name, possible_sensors
from geoseg.scene.file import find_bad_blocks, place, stem
from geoseg.scene.layout import arrange, warp_files
from geoseg.scene.match import resolve
from geoseg.scene.probe import FileHeader, probe
from geoseg.scene.product import acquisition_date, product_tags, unread_dates
from geoseg.scene.scene import Scene

Path = str | os.PathLike[str]

ATMOSPHERES = ("auto", "none", "approximate")

_TELLING = (
    "SPACECRAFT_ID", "SPACECRAFT_NAME", "DATATAKE_1_SPACECRAFT_NAME", "SATELLITEID", "PLATFORM",
    "PRODUCT_URI",
)  # fmt: skip
"""Metadata keys whose values name the sensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """How the user wants a scene to be read; None keeps what the files say.

    Attributes:
        bands: The bands to use, in order, by number, name or common name.
        nodata: Stored value that means nodata, in all bands.
        scale: Physical value = stored * scale + offset, in all bands; "auto" is None.
        offset: See ``scale``.
        atmosphere: Whether to convert between reflectance of the surface and at the top of the atmosphere:
            one of ``ATMOSPHERES``.
        warp: Whether to resample to a north-up grid.
        skip_bad_blocks: Whether blocks that cannot be read count as nodata; all files are read to find them.

    Raises:
        SettingsError: If a value cannot work.
    """

    bands: Sequence[str | int] | None = None
    nodata: float | None = None
    scale: float | str | None = None
    offset: float | None = None
    atmosphere: str = "auto"
    warp: bool = False
    skip_bad_blocks: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.scale, str):
            if self.scale != "auto":
                raise SettingsError(f"--scale must be a number or auto, not {self.scale}")
            object.__setattr__(self, "scale", None)
        elif self.scale is not None and (self.scale == 0 or not math.isfinite(self.scale)):
            raise SettingsError(f"--scale must be a number other than 0, not {self.scale:g}")
        if self.offset is not None and not math.isfinite(self.offset):
            raise SettingsError(f"--offset must be a finite number, not {self.offset:g}")
        if self.atmosphere not in ATMOSPHERES:
            raise SettingsError(f"--atmosphere {self.atmosphere}: use one of {', '.join(ATMOSPHERES)}")

    def open_all_bands(self, paths: Path | Sequence[Path]) -> Scene:
        """Open a scene with all its bands; which of them a model reads is matched later."""
        scene = open_scene(paths, nodata=self.nodata, scale=self.scale, offset=self.offset, warp=self.warp)
        scene = replace(scene, atmosphere=self.atmosphere)
        return _without_bad_blocks(scene) if self.skip_bad_blocks else scene


def open_scene(
    paths: Path | Sequence[Path],
    *,
    bands: Sequence[str | int] | None = None,
    nodata: float | None = None,
    scale: float | str | None = None,
    offset: float | None = None,
    warp: bool = False,
) -> Scene:
    """Open one or many files as one scene; only headers are read.

    Several files are stacked in the order given if they lie on one grid, or put together as a mosaic if
    they are tiles with the same bands on one aligned grid.

    Args:
        paths: Anything GDAL reads: paths, ``http(s)://`` and ``s3://`` URLs, ``/vsi...`` names, sub-datasets.
        bands: Keep only these, in this order: numbers, names, or common names. For files whose bands carry no
            names, common names say what their bands are, in file order.
        nodata: Stored value that means "no data", in all bands, in place of what the files declare.
        scale: Physical value = stored * scale + offset, in all bands, in place of the files' tags.
        offset: See scale.
        warp: Resample (nearest neighbour) to a north-up grid in the scene's own CRS, for scenes that are
            rotated or located by ground control points or RPCs; with several files, to the grid of the
            finest.

    Returns:
        The scene. It holds no open file.

    Raises:
        SceneError: If a file cannot be opened, files do not fit together, or a band is not there.
        SettingsError: If an override cannot work.
    """
    names = _as_strings(paths)
    options = SceneOptions(nodata=nodata, scale=scale, offset=offset)
    files = _with_marked_bands([probe(name) for name in names])
    if nodata is not None and not math.isnan(nodata):
        dtypes = {dtype for file in files for dtype in file.dtypes}
        if not any(can_hold(dtype, nodata) for dtype in dtypes):
            stored = ", ".join(sorted(dtypes))
            raise SettingsError(f"--nodata {nodata:g} cannot occur in {files[0].path}: it stores {stored}")
    if warp:
        files = warp_files(files, nodata)
    arrangement = arrange(files)
    tags, dates, unread = _metadata(files)
    leaders = [files[i] for i in arrangement.leaders]
    layers, sensor = _layers(leaders, options, tags)
    shown = tuple(layer for layer in layers if not layer.is_alpha) or layers
    scene = Scene(
        paths=tuple(names),
        shape=arrangement.shape,
        layers=shown,
        all_layers=layers,
        stacks=arrangement.stacks,
        georeference=arrangement.georeference,
        storage_block_shape=files[0].block_shape,
        date=next(iter(dates)) if len(dates) == 1 else None,
        tags=tags,
        sensor=sensor,
        remarks=tuple(_remark(file) for file in files if file.not_alpha),
        omissions=_lost_dates(names[0], dates, unread),
        is_scale_given=options.scale is not None or offset is not None,
    )
    if bands is None:
        return scene
    named = resolve(scene, bands)
    return named.scene.select(named.numbers)


def _without_bad_blocks(scene: Scene) -> Scene:
    """Read all files of a scene, and leave out the blocks that cannot be read."""
    stacks = tuple(
        tuple(replace(file, bad=tuple(find_bad_blocks(file))) for file in files) for files in scene.stacks
    )
    omissions = []
    for file in (file for files in stacks for file in files if file.bad):
        many = f"{len(file.bad):,} blocks" if len(file.bad) > 1 else "a block"
        omissions.append(
            Omission(
                "pixels",
                file.source.path,
                sum(block.pixels for block in file.bad),
                file.window.pixels,
                "pixels",
                f"{many} cannot be read, the first at {place(file.bad[0])}",
                "get the file again",
                refuses=False,
            )
        )
    return replace(scene, stacks=stacks, omissions=(*scene.omissions, *omissions))


def _as_strings(paths: Path | Iterable[Path]) -> list[str]:
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    names = [os.fspath(path) for path in paths]
    names = [os.path.expanduser(name) if name.startswith("~") else name for name in names]
    if not names:
        raise SceneError("no scene was named; give at least one raster file")
    return names


def _with_marked_bands(files: Sequence[FileHeader]) -> list[FileHeader]:
    """Take bands that are wrongly marked as alpha for ordinary ones, in all files with the same bands."""
    kinds: dict[tuple[str, ...], frozenset[int]] = {}
    for file in files:
        kinds[file.dtypes] = kinds.get(file.dtypes, frozenset()) | file.not_alpha
    return [file.with_bands(kinds[file.dtypes]) if kinds[file.dtypes] else file for file in files]


def _remark(file: FileHeader) -> str:
    bands = ", ".join(map(str, sorted(file.not_alpha)))
    return (
        f"{file.path}: band {bands} is marked as alpha (transparency), but its values are those of a "
        "measurement; it is read as a band and hides no pixel"
    )


def _metadata(files: Sequence[FileHeader]) -> tuple[dict[str, str], set[str], list[str]]:
    """Merge all files' metadata, and collect the days they were acquired.

    Returns:
        The metadata (the first file to name a key wins), the days, and what stands for a day but is none.
    """
    tags: dict[str, str] = {}
    dates: set[str] = set()
    unread: list[str] = []
    for file in files:
        own = {**file.tags, **product_tags(file.path)}
        date = acquisition_date(own)
        if date:
            dates.add(date)
        else:
            unread += unread_dates(own)
        tags = {**own, **tags}
    return tags, dates, unread


def _lost_dates(name: str, dates: set[str], unread: Sequence[str]) -> tuple[Omission, ...]:
    """Say why a scene has no date although its files name some; files without any are as usual."""
    if len(dates) > 1:
        reason = f"the files are of {' and '.join(sorted(dates))}, so the scene has no date"
    elif not dates and unread:
        reason = f'"{unread[0][:40]}" is no date that geoseg reads (YYYY-MM-DD)'
    else:
        return ()
    count, fix = len(dates) or len(unread), "give one with --date"
    return (Omission("dates", name, count, count, "dates", reason, fix, refuses=False),)


def _layers(
    files: Sequence[FileHeader], options: SceneOptions, tags: Mapping[str, str]
) -> tuple[tuple[Layer, ...], str | None]:
    """Number the bands of the first file of each stack, and name the sensor if it is certain."""
    where = [(i, j) for i, file in enumerate(files) for j in range(1, len(file.dtypes) + 1)]
    descriptions = [_description(files[i], j) for i, j in where]
    evidence = [*(file.path for file in files), *(tags[key] for key in _TELLING if key in tags)]
    sensors = possible_sensors(descriptions, evidence)
    commons = common_names(descriptions, [files[i].colours[j - 1] for i, j in where], sensors)
    layers = []
    for number, ((i, j), description, common) in enumerate(zip(where, descriptions, commons, strict=True), 1):
        file = files[i]
        scale = file.scales[j - 1]
        if options.scale is None and (scale == 0 or not math.isfinite(scale)):
            raise SceneError(
                f"{file.path}: band {j} has the scale tag {scale:g}, which cannot be right; "
                "give one with --scale"
            )
        band = Band(
            number=number,
            name=description,
            common_name=common,
            dtype=file.dtypes[j - 1],
            nodata=file.nodata[j - 1] if options.nodata is None else options.nodata,
            scale=scale if options.scale is None else float(options.scale),
            offset=file.offsets[j - 1] if options.offset is None else options.offset,
            has_palette=file.colours[j - 1] == "palette",
        )
        layers.append(Layer(band, stack=i, index=j, is_alpha=file.is_alpha(j)))
    # HLS uses Sentinel-2's band ids too, but names itself in its files.
    certain = set(sensors) - {"hls-s30"} or set(sensors)
    return tuple(layers), certain.pop() if len(certain) == 1 else None


def _description(file: FileHeader, index: int) -> str | None:
    if file.is_alpha(index):
        return file.descriptions[index - 1] or "alpha"
    is_only_band = sum(not file.is_alpha(i) for i in range(1, len(file.dtypes) + 1)) == 1
    return file.descriptions[index - 1] or (name_in_file_name(stem(file.path)) if is_only_band else None)
