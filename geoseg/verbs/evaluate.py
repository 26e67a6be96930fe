"""``geoseg evaluate``: how good a map or a model is, against labels."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from geoseg.assess.evaluation import (
    EVALUATION_VERSION,
    TOLERANCES,
    EvaluationRequest,
    against_labels,
    against_sample,
    draw,
)
from geoseg.errors import InputError, RunError, SettingsError
from geoseg.execute.report import versions
from geoseg.files import atomic_group, encoded, exists, is_folder, to_json
from geoseg.maps.class_map_file import ClassMapFile, open_class_map
from geoseg.models.sources import bundled_models
from geoseg.plan.outputs import check_outputs
from geoseg.plan.prepare import PredictRequest
from geoseg.plan.settings import ComputeOptions
from geoseg.progress import Progress, Silent
from geoseg.raster.source import file_name
from geoseg.scene.opening import SceneOptions
from geoseg.system.memory import peak_memory
from geoseg.verbs.contradict import check_contradictions, contradict
from geoseg.verbs.predict import run_request

PathLike = str | os.PathLike[str]
REPORTS = (".html", ".json")


@dataclass(frozen=True)
class EvaluateResult:
    """What was found.

    Attributes:
        report: The content of the report, or of the drawn sample's description.
        outputs: Name -> path of every file that was asked for: ``html``, ``json``, ``sample``,
            ``contradictions``.
    """

    report: Mapping[str, Any] = field(repr=False)
    outputs: Mapping[str, Path]

    def text(self) -> str:
        """The main figures as plain text."""
        from geoseg.assess.report import render_drawn, render_text

        return render_drawn(self.report) if self.report["kind"] == "draw" else render_text(self.report)


def evaluate(
    target: PathLike,
    labels: PathLike | None = None,
    *,
    scene: PathLike | Sequence[PathLike] | None = None,
    confidence: PathLike | None = None,
    report: PathLike | Sequence[PathLike] | None = None,
    label_column: str | None = None,
    aoi: PathLike | None = None,
    contradictions: PathLike | None = None,
    draw_sample: int | None = None,
    output: PathLike | None = None,
    overwrite: bool = False,
    remap: Mapping[int | str, int] | None = None,
    ignore: Sequence[int | str] = (),
    force: bool = False,
    tolerances: Sequence[str] = TOLERANCES,
    blocks: str | None = None,
    replicates: int = 1000,
    seed: int = 0,
    bands: Sequence[str | int] | None = None,
    nodata: float | None = None,
    scale: float | str | None = None,
    offset: float | None = None,
    atmosphere: str = "auto",
    warp: bool = False,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    window_size: int | None = None,
    progress: Progress | None = None,
) -> EvaluateResult:
    """Measure how good a map is, or draw the sample that is needed to do so.

    Args:
        target: A class map, or a model (bundled name, package folder, zip, ``hf://``), which then maps
            ``scene`` first.

        **Most used**
        labels: What is true: a class raster on any grid, polygons with a class column, or a sample that
            ``draw_sample`` wrote and somebody filled in.
        scene: The scene; needed with a model, else only for pictures in the HTML report.
        confidence: The map's confidence raster, for calibration; with a model it is made.
        report: Write the report here: ``.html``, ``.json``, or several.
        label_column: Column of the polygons that names the class; default ``class_id``, ``class_name`` ...
        aoi: Vector file; only pixels whose centre is inside are compared. For a model, its test blocks.
        contradictions: Write the places where a confident map contradicts the labels here, ranked, ``.gpkg``;
            needs the confidence.
        draw_sample: Draw a stratified random sample of this many pixels from the map instead.
        output: The drawn sample, ``.gpkg``.
        overwrite: Replace existing files.

        **Input**
        remap: Label value or name -> class id; values that are not in it are no label.
        ignore: Label values or names that say nothing. Nodata and 255 always do, and 0 unless it is a class.
        force: Go on although much of the labels is left out, or the scene does not look like the model's.

        **Measures**
        tolerances: For boundary F1: ``"3px"``, ``"30m"``.
        blocks: Side of the blocks that are resampled for intervals: ``"7.5km"``, ``"512px"``; default 512
            pixels, less on small maps.
        replicates: How often blocks are resampled.
        seed: Of the resampling, or of the sample to draw.

        **Model**
        bands: With a model, as for ``geoseg.predict``.
        nodata: As for ``geoseg.predict``.
        scale: As for ``geoseg.predict``.
        offset: As for ``geoseg.predict``.
        atmosphere: As for ``geoseg.predict``.
        warp: As for ``geoseg.predict``.

        **Speed and memory**
        device: With a model, as for ``geoseg.predict``.
        backend: As for ``geoseg.predict``.
        precision: As for ``geoseg.predict``.
        window_size: Pixels a side read at once. Never changes the answer, only memory.

        **Run**
        progress: Shows how far the run is.

    Returns:
        The report and where it was written.

    Raises:
        InputError: If a setting or an input is wrong; nothing was written.
        RunError: If reading or writing failed.
    """
    since = perf_counter()
    progress = progress or Silent()
    reports = _as_paths(report)
    request = EvaluationRequest(
        label_column=label_column,
        remap=remap,
        ignore=tuple(ignore),
        blocks=blocks,
        tolerances=tuple(tolerances),
        replicates=_at_least(1, replicates, "replicates"),
        seed=_at_least(0, seed, "--seed"),
        window_size=window_size,
        aoi=aoi,
        force=force,
    )
    is_model = looks_like_model(target)
    scenes = [] if scene is None else [scene] if isinstance(scene, str | os.PathLike) else list(scene)
    inputs = [os.fspath(path) for path in (target, labels, aoi, confidence, *scenes) if path is not None]
    _check(target, labels, scene, reports, draw_sample, output, aoi, is_model=is_model)
    wanted = [("-o", Path(output), (".gpkg",))] if output is not None else []
    for option, path, endings in [*wanted, *(("--report", path, REPORTS) for path in reports)]:
        check_outputs({option: path}, inputs, endings={option: endings}, overwrite=overwrite)
    places = None if contradictions is None else Path(contradictions)
    if places is not None:
        has_confidence = is_model or confidence is not None
        check_contradictions(places, [*inputs, *reports], draw_sample, has_confidence, overwrite)
    reading = SceneOptions(
        bands=bands, nodata=nodata, scale=scale, offset=offset, atmosphere=atmosphere, warp=warp
    )
    with ExitStack() as cleanup:
        if is_model:
            assert scene is not None  # _check refused that
            compute = ComputeOptions(backend=backend, device=device, precision=precision)
            asked = PredictRequest(
                scene=scene, model=target, aoi=aoi, force=force, reading=reading, compute=compute
            )
            class_map = cleanup.enter_context(_map_of_model(asked, progress))
        else:
            class_map = cleanup.enter_context(open_class_map(target, confidence))
        if draw_sample is not None:
            assert output is not None  # _check refused that
            return EvaluateResult(*draw(class_map, draw_sample, Path(output), request, progress))
        assert labels is not None  # _check refused that
        found = against_sample(class_map, labels, request, progress)
        if found is not None and places is not None:
            raise InputError(f"{os.fspath(labels)} is a sample of single pixels, which has no places to rank")
        shown = replace(reading, bands=None)
        content, examples = found or against_labels(class_map, labels, request, progress, scene, shown)
        if places is not None:
            content["contradictions"] = contradict(class_map, labels, request, places, progress)
        content = {"report_version": EVALUATION_VERSION} | content
        content |= {"seconds": {"total": perf_counter() - since}, "peak_memory_bytes": peak_memory()}
        content["versions"] = versions()
        if is_model:
            content["map"] |= {"name": file_name(os.fspath(target)), "path": os.fspath(target)}
        for warning in content["warnings"]:
            progress.say(f"warning: {warning}")
        written = _write(reports, content, examples)
    return EvaluateResult(content, written | ({} if places is None else {"contradictions": places}))


def looks_like_model(target: PathLike) -> bool:
    """Whether a target names a model rather than a class map."""
    name = os.fspath(target)
    is_package = name.startswith("hf://") or is_folder(name) or name.lower().endswith((".zip", ".onnx"))
    return is_package or name in bundled_models()


def _check_target(target: PathLike, *, is_model: bool) -> None:
    name = os.fspath(target)
    if not is_model and "://" not in name and not name.startswith("/vsi") and not exists(name):
        raise InputError(
            f"{name}: no such class map, and no model of that name (bundled: {', '.join(bundled_models())})"
        )


def _check(
    target: PathLike,
    labels: PathLike | None,
    scene: PathLike | Sequence[PathLike] | None,
    reports: Sequence[Path],
    draw_sample: int | None,
    output: PathLike | None,
    aoi: PathLike | None,
    *,
    is_model: bool,
) -> None:
    """Refuse what cannot work before anything is read."""
    _check_target(target, is_model=is_model)
    if draw_sample is not None:
        if is_model:
            raise InputError(
                f"{target} is a model, and --draw-sample draws from a class map: make one with geoseg predict"
            )
        if output is None:
            raise InputError("--draw-sample needs -o sample.gpkg, where to write the sample")
        if labels is not None or reports:
            raise InputError("--draw-sample takes neither --labels nor --report: draw, label, then evaluate")
        if aoi is not None:
            raise InputError("--draw-sample draws from the whole map; cut the map first (predict --aoi)")
    else:
        if labels is None:
            raise InputError("--labels is missing: what is the map compared with? (or --draw-sample N)")
        if output is not None:
            raise InputError("-o is for --draw-sample; --report writes the report")
        if is_model and scene is None:
            raise InputError(f"{os.fspath(target)} is a model; name the scene to map with --scene")


@contextmanager
def _map_of_model(request: PredictRequest, progress: Progress) -> Iterator[ClassMapFile]:
    """Map a scene with a model, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="geoseg-evaluate-") as folder:
        classes, sure = Path(folder) / "classes.tif", Path(folder) / "confidence.tif"
        run_request(replace(request, output=classes, confidence=sure), progress)
        with open_class_map(classes, sure) as class_map:
            yield class_map


def _write(reports: Sequence[Path], content: dict[str, Any], examples: Any) -> dict[str, Path]:
    """Write all reports, or none."""
    texts: dict[str, str] = {}
    for kind in {path.suffix.lower() for path in reports}:
        if kind == ".json":
            texts[kind] = to_json(content, allow_nan=False)
        else:
            from geoseg.assess.report import render_page

            texts[kind] = render_page(content, examples())
    try:
        with atomic_group(reports) as parts:
            for path, part in zip(reports, parts, strict=True):
                part.write_bytes(encoded(texts[path.suffix.lower()]))
    except OSError as error:
        raise RunError(f"the report cannot be written: {error}") from error
    return {path.suffix.lower().lstrip("."): path for path in reports}


def _as_paths(report: PathLike | Sequence[PathLike] | None) -> list[Path]:
    if report is None:
        return []
    return [Path(item) for item in ([report] if isinstance(report, str | os.PathLike) else report)]


def _at_least(least: int, value: int, name: str) -> int:
    if value < least:
        raise SettingsError(f"{name} must be at least {least}, not {value}")
    return value
