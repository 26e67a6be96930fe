"""Read and check a recipe: one TOML file with the scenes, labels, classes and settings of a training run."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from geoseg.classes import IGNORE, LandClass
from geoseg.errors import GeosegError, SettingsError
from geoseg.files import exists
from geoseg.models.catalog import check_architecture
from geoseg.training.recipe.settings import (
    AugmentSettings,
    ChipSettings,
    LabelValues,
    LossSettings,
    ModelSettings,
    RunSettings,
    SceneReading,
    ScheduleSettings,
    SplitSettings,
    TransferSettings,
)
from geoseg.training.recipe.tables import RecipePlace, read_table, refuse_unknown

TABLES: dict[str, type[Any]] = {
    "reading": SceneReading,
    "label_values": LabelValues,
    "split": SplitSettings,
    "chips": ChipSettings,
    "model": ModelSettings,
    "transfer": TransferSettings,
    "loss": LossSettings,
    "augment": AugmentSettings,
    "schedule": ScheduleSettings,
    "run": RunSettings,
}
TOP_LEVEL = ("name", "scenes", "labels", "classes", "bands", "seed")
# Colours that colour-blind people can tell apart; classes without a colour take them in turn.
PALETTE = (
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#f0e442",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
    "#999999",
    "#7f3b08",
    "#1b7837",
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A complete recipe; settings that the file does not name have their defaults.

    Attributes:
        path: The file.
        name: Name of the model package.
        scenes: The files of each scene.
        labels: The label file of each scene.
        classes: The classes, by ascending id.
        bands: Bands by common name, in the network's order; None for those of the first scene.
        seed: Seed of everything random.
        reading, label_values, split, chips, model, transfer, loss, augment, schedule, run: its tables.
    """

    path: Path
    name: str
    scenes: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]
    classes: tuple[LandClass, ...]
    bands: tuple[str | int, ...] | None = None
    seed: int = 0
    reading: SceneReading = field(default_factory=SceneReading)
    label_values: LabelValues = field(default_factory=LabelValues)
    split: SplitSettings = field(default_factory=SplitSettings)
    chips: ChipSettings = field(default_factory=ChipSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def inputs(self) -> list[str]:
        """The files and folders that a run reads: recipe, scenes, labels, and the weights to begin with."""
        places = (self.transfer.start_from, self.transfer.encoder_weights)
        scenes = (file for files in self.scenes for file in files)
        return [os.fspath(self.path), *scenes, *self.labels, *(place for place in places if place)]

    def settings(self) -> str:
        """Write all settings that affect training as one text; recipes with equal texts train the same."""
        return "\n".join(f"{f.name} = {getattr(self, f.name)!r}" for f in fields(self) if f.name != "path")


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read and check a recipe; no scene is opened.

    Args:
        path: TOML file; paths in it are relative to its folder.

    Raises:
        SettingsError: Naming the file, the key, and what is allowed.
    """
    path = Path(path)
    table = _read_toml(path)
    place = RecipePlace(path)
    refuse_unknown(table, dict.fromkeys((*TOP_LEVEL, *TABLES)), place)
    for key in ("scenes", "labels", "classes"):
        if key not in table:
            raise SettingsError(
                f"{place} {key} is missing; the smallest recipe names scenes, labels and classes"
            )
    scenes, labels = _scenes(table["scenes"], place), _labels(table["labels"], place)
    if len(scenes) != len(labels):
        raise SettingsError(
            f"{place} scenes names {len(scenes)} and labels {len(labels)}; name "
            "one label file for each scene (the files of one scene in a list of their own)"
        )
    recipe = Recipe(
        path=path,
        name=_text(table.get("name", path.stem), "name", place),
        scenes=scenes,
        labels=labels,
        classes=_classes(table["classes"], place),
        bands=_bands(table.get("bands"), place),
        seed=_seed(table.get("seed", 0), place),
        **{key: _table(cls, table.get(key, {}), key, place) for key, cls in TABLES.items()},
    )
    _check(recipe, place)
    return replace(recipe, transfer=_located_transfer(recipe.transfer, place))


def check_cross_validation(recipe: Recipe) -> None:
    """Refuse a recipe that cannot be cross-validated, before anything is read.

    Raises:
        SettingsError: Naming the key.
    """
    place = f"{recipe.path}: --cross-validate"
    if recipe.split.method == "none":
        raise SettingsError(f'{place} needs folds, but [split] method is "none"')
    if recipe.split.validation_scenes:
        raise SettingsError(
            f"{place} lets every fold validate once, but [split] validation_scenes names one; leave it out"
        )
    for key, asked in (
        ('[schedule] name = "plateau"', recipe.schedule.name == "plateau"),
        ("[run] stop_after", recipe.run.stop_after is not None),
    ):
        if asked:
            raise SettingsError(
                f"{place} trains the last network on all labels, without validation scores, so {key} cannot "
                "work; leave it out"
            )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path}: there is no such recipe; `geoseg train --example > {path}` writes one to start from"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise SettingsError(f"{path} cannot be read: {error}") from error


def _table(cls: type[Any], table: Any, key: str, place: RecipePlace) -> Any:
    if not isinstance(table, Mapping):
        raise SettingsError(f"{place} {key} is {table!r}; it must be a table: [{key}]")
    if key == "loss" and isinstance(table.get("terms"), list):
        table = {**table, "terms": _terms(table["terms"])}
    return read_table(cls, table, place.inside(key))


def _terms(terms: list[Any]) -> list[Any]:
    """Expand ``"dice"`` to ``{ name = "dice" }``."""
    return [{"name": term} if isinstance(term, str) else term for term in terms]


def _scenes(value: Any, place: RecipePlace) -> tuple[tuple[str, ...], ...]:
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not value:
        raise SettingsError(f"{place} scenes is {value!r}; it must be a file or a list of files")
    return tuple(
        tuple(
            _located(_text(file, "scenes", place), place) for file in ([one] if isinstance(one, str) else one)
        )
        for one in value
    )


def _labels(value: Any, place: RecipePlace) -> tuple[str, ...]:
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not value:
        raise SettingsError(f"{place} labels is {value!r}; it must be a file or a list of files, one a scene")
    return tuple(_located(_text(file, "labels", place), place) for file in value)


def _located(file: str, place: RecipePlace) -> str:
    """Resolve a path relative to the recipe; keep URLs and GDAL's virtual names."""
    return file if "://" in file or file.startswith("/vsi") else str(place.resolve(file))


def _located_transfer(transfer: TransferSettings, place: RecipePlace) -> TransferSettings:
    """Resolve files and folders relative to the recipe; keep names such as "imagenet"."""

    def located(text: str | None) -> str | None:
        return str(place.resolve(text)) if text is not None and exists(place.resolve(text)) else text

    return replace(
        transfer, start_from=located(transfer.start_from), encoder_weights=located(transfer.encoder_weights)
    )


def _text(value: Any, key: str, place: RecipePlace) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"{place} {key} is {value!r}; it must be a text in quotes")
    return value


def _seed(value: Any, place: RecipePlace) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise SettingsError(f"{place} seed is {value!r}; it must be a whole number from 0 to {2**32 - 1}")
    return value


def _bands(value: Any, place: RecipePlace) -> tuple[str | int, ...] | None:
    if value is None:
        return None
    plain = isinstance(value, list) and all(
        isinstance(b, str | int) and not isinstance(b, bool) for b in value
    )
    if not plain or not value:
        raise SettingsError(f'{place} bands is {value!r}; it must be a list such as ["blue", "green", "red"]')
    return tuple(value)


def _classes(value: Any, place: RecipePlace) -> tuple[LandClass, ...]:
    if not isinstance(value, Mapping) or not value:
        raise SettingsError(
            f'{place} classes is {value!r}; it must be a table: id = "name", such as 1 = "corn"'
        )
    inner = place.inside("classes")
    classes = []
    for number, (key, given) in enumerate(value.items()):
        if not key.isdecimal():
            raise SettingsError(f'{inner} "{key}" is not a class id; write id = "name", such as 1 = "corn"')
        entry = {"name": given} if isinstance(given, str) else given
        if not isinstance(entry, Mapping) or "name" not in entry or set(entry) - {"name", "color"}:
            raise SettingsError(
                f'{inner} {key} is {entry!r}; write {key} = "corn" or '
                f'{key} = {{ name = "corn", color = "#ffd300" }}'
            )
        try:
            classes.append(
                LandClass(int(key), entry["name"], entry.get("color", PALETTE[number % len(PALETTE)]))
            )
        except GeosegError as error:
            raise SettingsError(f"{inner} {error}") from error
    if len(classes) < 2:
        raise SettingsError(f"{inner} names one class; a map needs at least two")
    return tuple(sorted(classes, key=lambda land_class: land_class.id))


def _check(recipe: Recipe, place: RecipePlace) -> None:
    """Check keys against each other."""
    try:
        check_architecture(recipe.model.architecture)
    except GeosegError as error:
        raise SettingsError(f"{place.inside('model')} {error}") from error
    ids = {land_class.id for land_class in recipe.classes}
    for key in recipe.loss.manual:
        if not key.isdecimal() or int(key) not in ids:
            raise SettingsError(
                f'{place.inside("loss")} manual names class "{key}"; the class ids are {sorted(ids)}'
            )
    for label, target in recipe.label_values.remap.items():
        if target not in ids | {IGNORE}:
            raise SettingsError(
                f"{place.inside('label_values')} remap sends {label} to {target}; the class ids are "
                f"{sorted(ids)}, and {IGNORE} means no label"
            )
    chip_size, overlap = recipe.model.chip_size, recipe.model.overlap
    if chip_size is not None and overlap is not None and 2 * overlap > chip_size:
        raise SettingsError(
            f"{place.inside('model')} overlap is {overlap}; it must be at most half of chip_size {chip_size}"
        )
    needs_scores = recipe.schedule.name == "plateau" or recipe.run.stop_after is not None
    if recipe.split.method == "none" and needs_scores:
        raise SettingsError(
            f'{place.inside("split")} method is "none", so nothing validates, and neither [schedule] name = '
            '"plateau" nor [run] stop_after can work'
        )
    known = {Path(files[0]).stem for files in recipe.scenes}
    for name in recipe.split.validation_scenes:
        if name not in known:
            raise SettingsError(
                f'{place.inside("split")} validation_scenes names "{name}"; '
                f"the scenes are {', '.join(sorted(known))}"
            )
