"""Match the bands of a scene with those that a model reads, and report doubts about the match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from geoseg.errors import SceneError
from geoseg.names import name_key
from geoseg.scene.band import Band
from geoseg.scene.band_names import (
    COMMON_NAMES,
    SENSORS,
    STAND_INS,
    band_id,
    common_name,
    is_generic,
    possible_sensors,
)
from geoseg.scene.scene import Scene, describe


@dataclass(frozen=True, slots=True)
class BandMatch:
    """The bands to read, in the model's order.

    Attributes:
        numbers: Their 1-based numbers in the scene.
        doubts: Assumptions that may be wrong.
        notes: Choices that are right and worth a line.
    """

    numbers: tuple[int, ...]
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """The bands that a user chose.

    Attributes:
        numbers: Their 1-based numbers.
        scene: The scene, its bands renamed if the user named them.
        names_given: Whether the user named the bands of a file without names.
    """

    numbers: tuple[int, ...]
    scene: Scene
    names_given: bool = False


def match_bands(scene: Scene, wanted: Sequence[str], asked: Sequence[str | int] | None = None) -> BandMatch:
    """Find the bands that a model reads.

    Args:
        scene: The scene.
        wanted: The common names of the model's bands, in its order.
        asked: The value of ``--bands``: numbers, descriptions or common names in the model's order (the
            model's own names may come in any order). If the scene's bands have no names, common names name
            the file's bands in file order.

    Returns:
        The numbers to select. If no band has a name and the scene has as many bands as the model reads, they
        are taken in file order, with a doubt.

    Raises:
        SceneError: Naming the missing bands, those that the scene has, and the option to use.
    """
    if asked:
        resolved = resolve(scene, asked)
        if resolved.names_given:
            return _by_name(resolved.scene, wanted)
        if sorted(map(str, asked)) == sorted(wanted):
            return _by_name(scene, wanted)
        return _as_asked(scene, wanted, resolved.numbers)
    if not _has_names(scene) and len(scene.bands) == len(wanted):
        order = ", ".join(wanted)
        doubt = f"the bands of {scene.paths[0]} carry no names; they were taken in file order as {order}"
        return BandMatch(tuple(band.number for band in scene.bands), (doubt,))
    return _by_name(scene, wanted)


def resolve(scene: Scene, asked: Sequence[str | int]) -> Resolved:
    """Convert numbers, descriptions and common names to band numbers.

    Raises:
        SceneError: If the scene has no such band, or several.
    """
    texts = [str(item).strip() for item in asked]
    if not _has_names(scene) and not any(text.isdecimal() for text in texts):
        return _name_all(scene, texts)
    return Resolved(tuple(_find(scene, text) for text in texts), scene)


def _has_names(scene: Scene) -> bool:
    return any(band.common_name or not is_generic(band.name) for band in scene.bands)


def _name_all(scene: Scene, names: Sequence[str]) -> Resolved:
    """Name the unnamed bands of a file as the user gave them, in file order."""
    names = [common_name(name) or name_key(name) for name in names]
    if len(names) != len(scene.bands):
        raise SceneError(
            f"{scene.paths[0]}: its {len(scene.bands)} bands carry no names, and --bands names {len(names)}; "
            "name all of them in file order, or give the numbers of those to use (--bands 3,2,1)"
        )
    if len(set(names)) < len(names):
        raise SceneError(
            f"--bands {','.join(names)} names a band twice; each of the file's bands needs its own name"
        )
    renamed = {
        layer.band.number: replace(layer, band=replace(layer.band, common_name=name))
        for layer, name in zip(scene.layers, names, strict=True)
    }
    scene = replace(
        scene,
        layers=tuple(renamed.values()),
        all_layers=tuple(renamed.get(layer.band.number, layer) for layer in scene.all_layers),
    )
    return Resolved(tuple(renamed), scene, names_given=True)


def _find(scene: Scene, text: str) -> int:
    """Find the one band with this number, description, band id or common name."""
    every = [layer.band for layer in scene.all_layers]
    if text.isdecimal():
        found = [band for band in every if band.number == int(text)]
    else:
        folded = name_key(text)
        found = [band for band in every if band.name is not None and name_key(band.name) == folded]
        found = found or [
            band for band in every if band_id(band.name) == text.upper() or band.common_name == folded
        ]
        found = found or [
            band for band in every if band.common_name and band.common_name == common_name(text)
        ]
    if len(found) == 1:
        return found[0].number
    has = f"the scene has {describe(every)}"
    if found:
        raise SceneError(
            f"{scene.paths[0]}: band {text} could be {describe(found)}; name it by number with --bands"
        )
    raise SceneError(f"{scene.paths[0]}: no band {text}; {has}; choose with --bands")


def _as_asked(scene: Scene, wanted: Sequence[str], numbers: tuple[int, ...]) -> BandMatch:
    """Take the bands that the user chose, in the model's order; report those whose names contradict."""
    if len(numbers) != len(wanted):
        raise SceneError(
            f"--bands names {len(numbers)} bands and the model takes {len(wanted)} ({', '.join(wanted)}); "
            "name as many, in that order"
        )
    by_number = {layer.band.number: layer.band for layer in scene.all_layers}
    chosen = [by_number[number] for number in numbers]
    odd = [
        f"{band} as {name}"
        for band, name in zip(chosen, wanted, strict=True)
        if band.common_name and name in COMMON_NAMES and not _serves(band, name)
    ]
    return BandMatch(numbers, (f"--bands gives the model band {', '.join(odd)}",) if odd else ())


def _serves(band: Band, name: str) -> bool:
    return band.common_name == name or band.common_name in STAND_INS.get(name, ())


def _by_name(scene: Scene, wanted: Sequence[str]) -> BandMatch:
    numbers: list[int] = []
    doubts: list[str] = []
    notes: list[str] = []
    missing: list[str] = []
    for name in wanted:
        found = _named(scene.bands, name)
        if not found:
            missing.append(name)
            continue
        band = found[0]
        numbers.append(band.number)
        if len(found) > 1:
            doubts.append(f"{describe(found)} are all {name}; the first was taken, choose with --bands")
        if name not in (band.common_name, band.name):
            notes.append(f"band {band} stands in for {name}")
    if missing:
        raise SceneError(_what_is_missing(scene, wanted, missing))
    return BandMatch(tuple(numbers), tuple(doubts), tuple(notes))


def missing_bands(scene: Scene, wanted: Sequence[str]) -> tuple[str, ...]:
    """List the bands that a model reads for which the scene has neither the band nor a replacement."""
    return tuple(name for name in wanted if not _named(scene.bands, name))


def _named(bands: Sequence[Band], name: str) -> list[Band]:
    """Find the bands with this common name, else with this description, else possible replacements."""
    exact = [band for band in bands if band.common_name == name]
    key = name_key(name)
    exact = exact or [band for band in bands if name_key(band.name or f"band {band.number}") == key]
    stand_ins = STAND_INS.get(name, ())
    return exact or [band for band in bands if band.common_name in stand_ins]


def _what_is_missing(scene: Scene, wanted: Sequence[str], missing: Sequence[str]) -> str:
    message = (
        f"{scene.paths[0]}: the model needs {', '.join(missing)}, and the scene has "
        f"{describe([layer.band for layer in scene.all_layers])}"
    )
    ids = [band.name for band in scene.bands if band_id(band.name) and not band.common_name]
    sensors = possible_sensors([band.name for band in scene.bands]) if ids else ()
    if len(sensors) > 1:
        titles = " or ".join(SENSORS[sensor].title for sensor in sensors)
        message += f"; {ids[0]} means different bands of {titles}"
    if len(scene.all_layers) < len(wanted):
        return f"{message}; take a product that has these bands, or a model for the ones there are"
    return f"{message}; say which band is which with --bands, in the model's order: {','.join(wanted)}"
