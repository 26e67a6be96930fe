"""``geoseg predict`` against other ways with the same weights: naive fp32 code, MONAI, torchgeo, GeoDeep; and Dask.

    pip install -e ".[benchmarks]"
    python tests/benchmarks/naive.py [--size 8192] [--rounds 1] [--against naive monai torchgeo geodeep]
    python tests/benchmarks/naive.py --against dask

All are whole commands, process start included, chips and overlap those of the package. ``geoseg`` writes class map
and confidence as COGs with overviews. "fast" is what geoseg would choose in a hurry: int8 and ``--chip-size auto``;
a package without an int8 network gets one before the rounds begin, on chips of the scene. GeoDeep takes three bands
only, so it is compared on the scene's visible bands with the bundled network cut down to them: the filters of its
first layer that belong to other bands are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from turns import GEOSEG, ROOT, Taken, in_turns, make_scene, middle, ratio, run_command

sys.path.insert(0, str(ROOT))

HERE = Path(__file__).parent
RGB = ("blue", "green", "red")
FAST = ("--precision", "int8", "--chip-size", "auto")
WAYS = ("naive", "monai", "torchgeo", "geodeep", "dask")


def predict(scene: Path, model: Path, folder: Path, *options: str) -> Taken:
    """The whole command: class map and confidence."""
    outputs = ["-o", str(folder / "map.tif"), "--confidence", str(folder / "confidence.tif")]
    command = [*GEOSEG, "predict", str(scene), "--model", str(model), *outputs, "--overwrite", "--quiet"]
    return run_command([*command, "--force", *options])


def other(way: str, scene: Path, model: Path, folder: Path) -> Taken:
    """Another way."""
    out = folder / f"{way}.tif"
    return run_command([sys.executable, str(HERE / "peers.py"), way, str(scene), str(model), str(out)])


def package(model: str, folder: Path, *, bands: Sequence[str] | None = None) -> Path:
    """The model without what was converted of it, cut down to the bands that are named."""
    import torch

    from geoseg.models import open_model, save_model
    from geoseg.models.model import network_from_config

    opened = open_model(model)
    card, network = opened.card, opened.network
    if bands:
        numbers = [opened.card.band_names.index(name) for name in bands]
        card = dataclasses.replace(card, bands=tuple(opened.bands[number] for number in numbers))
        weights = network.state_dict()
        first = next(key for key, value in weights.items() if value.ndim == 4)
        assert weights[first].shape[1] == len(opened.bands), "the first layer does not read the bands"
        weights[first] = weights[first][:, numbers]
        network = network_from_config(dict(opened.config) | {"in_channels": len(bands)}, "naive.py")
        network.load_state_dict(weights)
    with torch.no_grad():
        return save_model(folder, card, network.eval())


def quantized(model: Path, scene: Path, folder: Path) -> Path:
    """The package with an int8 network."""
    options = ["--scenes", str(scene), "-o", str(folder), "--chips", "16", "--force"]
    if not folder.exists():
        run_command([*GEOSEG, "models", "quantize", str(model), *options], watch=False)
    return folder


def tasks_of(given: argparse.Namespace, scenes: Path, folder: Path) -> tuple[dict, list[tuple[str, str]]]:
    """What to run, and which to compare with which."""
    against = set(given.against)
    tasks: dict[str, Callable[[], Taken]] = {}
    pairs: list[tuple[str, str]] = []
    if against & {"naive", "monai", "torchgeo", "dask"}:
        scene = make_scene(scenes, given.size)
        model = package(given.model, folder / "six")
        tasks["geoseg"] = partial(predict, scene, model, folder)
        if against & {"naive", "monai", "torchgeo"} and not given.no_fast:
            fast = _fast(given, scenes, folder, None)
            tasks["geoseg fast"] = partial(predict, scene, fast, folder, *FAST)
        for way in [way for way in WAYS[:3] if way in against]:
            tasks[way] = partial(other, way, scene, model, folder)
            pairs += [(way, one) for one in ("geoseg", "geoseg fast") if one in tasks]
        if "dask" in against:
            tasks["geoseg --workers 2"] = partial(predict, scene, model, folder, "--workers", "2")
            pairs += [("geoseg", "geoseg --workers 2")]
    if "geodeep" in against:
        from peers import export_for_geodeep

        from geoseg.models import open_model

        scene = make_scene(scenes, given.size, ",".join(RGB))
        model = package(given.model, folder / "three", bands=RGB)
        export_for_geodeep(open_model(model), str(scene), folder / "geodeep.onnx")
        tasks["geoseg, three bands"] = partial(predict, scene, model, folder)
        if not given.no_fast:
            fast = _fast(given, scenes, folder, RGB)
            tasks["geoseg fast, three bands"] = partial(predict, scene, fast, folder, *FAST)
        tasks["geodeep"] = partial(other, "geodeep", scene, model, folder)
        pairs += [("geodeep", task) for task in tasks if task.endswith("three bands")]
    return tasks, pairs


def _fast(given: argparse.Namespace, scenes: Path, folder: Path, bands: Sequence[str] | None) -> Path:
    """A package with an int8 network: the model itself, or one that stays in --folder: it takes minutes."""
    from geoseg.models import open_model

    if bands is None and any(network.precision == "int8" for network in open_model(given.model).listed):
        return Path(given.model)
    count = "six" if bands is None else "three"
    small = make_scene(scenes, 2048, None if bands is None else ",".join(bands))
    plain = package(given.model, folder / f"{count}-plain", bands=bands)
    return quantized(plain, small, scenes / f"{Path(given.model).name}-{count}-int8")


def main() -> None:
    """Prepare, warm up (networks are converted and kept), measure in turns, print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--model", default="dakota-crops")
    parser.add_argument("--against", nargs="+", choices=WAYS, default=list(WAYS[:4]))
    parser.add_argument("--no-fast", action="store_true", help="without int8, which takes minutes to make")
    parser.add_argument("--folder", type=Path, help="where scenes and int8 networks are kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="geoseg-naive-") as name:
        folder = Path(name)
        tasks, pairs = tasks_of(given, given.folder or folder, folder)
        for task in [name for name in tasks if name.startswith("geoseg")]:
            tasks[task]("--dry-run")  # converts networks and measures what they take
        figures = in_turns(tasks, given.rounds)
    print(f"\n{given.size} x {given.size}, {given.model}")
    for task in tasks:
        print(f"{middle(figures, task)}, {given.size**2 / 1e6 / figures[task][0].wall:.2f} Mpx/s")
    for slow, quick in pairs:
        print(ratio(figures, slow, quick))


if __name__ == "__main__":
    main()
