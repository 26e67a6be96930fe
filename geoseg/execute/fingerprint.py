"""What a run's answer depends on, so that work is only gone on with where it began.

A fingerprint is a table of short texts: the scene (its files, headers, and a sample of its pixels), the
model, the settings, and what is kept of each block. Two runs with equal fingerprints make the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from geoseg._version import __version__
from geoseg.plan.plan import Plan
from geoseg.polygons.zonal.statistics import column_names
from geoseg.scene.identity import file_states
from geoseg.scene.sample import sample_scene
from geoseg.scene.scene import Scene

Fingerprint = Mapping[str, str]

BLOCK_SIZE = "--block-size"
_FILE = "file "
_STATS = "--stats"
_NOT_IN_ANSWER = ("maps", _STATS, "--refine", "--simplify", "--smooth-borders", "--stats", BLOCK_SIZE)
_SHORT = 16


def fingerprint_of(plan: Plan, maps: Iterable[str]) -> dict[str, str]:
    """Make the fingerprint of a run.

    Args:
        plan: The run.
        maps: Kinds of maps that are kept of each block.
    """
    run = plan.prepared
    # Those that were looked at to see whether the scene fits, so most are still at hand.
    sample = sample_scene(run.scene)
    kept = {
        "geoseg version": __version__,
        **{f"{_FILE}{name}": state for name, state in file_states(run.scene.paths).items()},
        "scene header": _header(run.scene),
        "scene pixels": _digest([*(stored.tobytes() for stored in sample.stored), sample.missing.tobytes()]),
        "model": f"{run.model.card.name} {run.model.card.version} {run.model.hash[:_SHORT]}",
        "--aoi": "none" if run.area is None else _digest([run.area.geometry.wkb, repr(run.window).encode()]),
        "--date": run.date or "none",
        "maps": ", ".join(maps),
        _STATS: "none" if run.zonal is None else ", ".join(column.name for column in run.zonal.columns),
        BLOCK_SIZE: str(plan.settings.block_size),
    }
    settings = plan.settings.that_change_the_answer() | run.values.flags() | run.request.borders.to_json()
    settings["stats"] = None if run.zonal is None else ", ".join(column_names(run.zonal.columns))
    return kept | {f"--{name.replace('_', '-')}": str(value) for name, value in settings.items()}


def answer_of(fingerprint: Fingerprint) -> str:
    """Hash what a map depends on before it is refined: no files, other outputs, or blocks."""
    kept = [key for key in sorted(fingerprint) if key not in _NOT_IN_ANSWER and not key.startswith(_FILE)]
    return _digest(f"{key}={fingerprint[key]}".encode() for key in kept)


def differences(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Say what differs, in words; empty if nothing does."""
    keys = dict.fromkeys((*new, *old))
    return [
        f"{key} was {old.get(key, 'not known')}, now {new.get(key, 'not known')}"
        for key in keys
        if old.get(key) != new.get(key)
    ]


def _header(scene: Scene) -> str:
    """Hash all that says what stored values mean and where they lie; no path."""
    place = scene.georeference
    facts: list[Any] = [scene.shape, scene.layers, scene.invalid_where, place.transform, place.area_or_point]
    facts += [place.gcps, place.rpcs, [file.window for files in scene.stacks for file in files]]
    facts += [file.bad for files in scene.stacks for file in files if file.bad]
    facts += [crs and crs.to_wkt() for crs in (place.crs, place.gcps_crs)]
    facts += [file.source.warp for files in scene.stacks for file in files]
    return _digest([repr(fact).encode() for fact in facts])


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:_SHORT]
