"""What many tests need: bounded threads, marks, a tiny model package, small scenes, the real data."""

from __future__ import annotations

import os

# Before numpy or torch is imported, and for every process that a test starts: one thread for each call into
# a library, and none that spins while it waits. The threads that geoseg starts itself are enough for the
# cores; with more, load from elsewhere makes the suite take many times longer.
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",  # the same for LLVM's and Intel's OpenMP
}

# Processes that tests start read what the first of them has compiled; else each compiles geoseg again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from pathlib import Path

import hypothesis
import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from threadpoolctl import threadpool_limits

from geoseg.classes import LandClass
from geoseg.models.card import ModelBand, ModelCard
from geoseg.system.cpu import cores

threadpool_limits(1)  # where pytest imported numpy before: its ``filterwarnings`` name rasterio's errors

pytest_plugins = ["tests.fixtures"]

# No test is a measurement of time: on a machine that others use too, any step may take a second.
hypothesis.settings.register_profile("geoseg", deadline=None)
hypothesis.settings.load_profile("geoseg")

SAMPLES = Path(__file__).parents[1] / "sample_tiles"

TINY_CLASSES = (
    LandClass(2, "corn", "#ffd300"),
    LandClass(5, "grass", "#e8ffbf"),
    LandClass(7, "water", "#4b70a3"),
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Choose the processes of ``-n auto``: none but this one for single files, which more would only delay."""
    if all(Path(argument.partition("::")[0]).is_file() for argument in config.args):
        return 0
    return min(4, cores())  # each holds up to 2 GB


# What runs whole commands, other processes, clusters, training, QGIS or whole conversions: by folder or file.
E2E = (
    "execute/",
    "inference/test_backends.py",
    "inference/test_conversion.py",
    "models/test_openvino_ir.py",
    "plan/test_batch.py",
    "plan/test_plan.py",
    "qgis/",
    "sample_tiles/test_make.py",
    "training/held_out/test_held_out.py",
    "training/label_check/test_check_labels.py",
    "training/network/test_transfer.py",
    "training/test_cross_validation.py",
    "verbs/",
    "workflows/",
)
E2E_NEEDS = {"real_data", "qgis"}
LONGER = (
    "qgis/",
    "verbs/test_quantize.py",
    "workflows/test_where_it_writes.py",
    "workflows/test_yield_forecast.py",
    "workflows/test_yield_parts.py",
)
"""What needs other programs or takes long, and is left to ``-m longer`` with what is marked so; browsers too."""
E2E_MARKS = {"browser", "gpu", "qgis", "realdata"}


def pytest_ignore_collect(collection_path, config):
    """Do not even import files of whole runs where none is asked for: the quick tests begin sooner."""
    place = collection_path.relative_to(Path(__file__).parent).as_posix()
    return True if config.option.markexpr == "not e2e" and place.startswith(E2E) else None


def pytest_collection_modifyitems(config, items):
    """Mark whole runs as ``e2e``: those of the places above, and what needs more than Python.

    What is marked ``longer`` is left to ``-m longer``, and to who names its file.
    """
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here).as_posix()
        needs = E2E_NEEDS & set(getattr(item, "fixturenames", ()))
        if place.startswith(E2E) or needs or E2E_MARKS & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.e2e)
        if place.startswith(LONGER) or item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.longer)
    named = {argument.partition("::")[0] for argument in config.args}
    if "longer" not in config.option.markexpr and not all(Path(name).is_file() for name in named):
        later = [item for item in items if item.get_closest_marker("longer")]
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if not item.get_closest_marker("longer")]
    items[:] = long_files_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def long_files_first(items, workers):
    """Let each process begin with its share of the files that hold slow tests, so that none ends with a long one."""
    files = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    slow = [file for file in files.values() if any(item.get_closest_marker("slow") for item in file)]
    others = [item for file in files.values() if file not in slow for item in file]
    ordered = []
    for worker in range(workers):
        ordered += [item for file in slow[worker::workers] for item in file]
        more = len(items) * (worker + 1) // workers - len(ordered)  # --dist worksteal begins with equal parts
        ordered += others[: max(0, more)]
        del others[: max(0, more)]
    return ordered + others


def tiny_card(**changes) -> ModelCard:
    fields = {
        "name": "tiny",
        "bands": tuple(ModelBand(name, 0.2, 0.1, 0.0, 0.5) for name in ("red", "nir")),
        "classes": TINY_CLASSES,
        "architecture": "unet-classic",
        "network": {"depth": 2, "width": 4},
        "chip_size": 64,
        "overlap": 16,
        "units": "reflectance",
        "value_scale": 0.0001,
        "gsd": 10.0,
        "license": "Apache-2.0",
        "trained_on": "nothing: random weights for tests",
    }
    return ModelCard(**(fields | changes))


def save_tiny(folder: Path, seed: int = 0, **changes) -> Path:
    import torch

    from geoseg.models import build_network, save_model

    torch.manual_seed(seed)
    card = tiny_card(**changes)
    network = build_network(
        card.architecture,
        bands=len(card.bands),
        classes=len(card.classes),
        encoder=card.encoder,
        **card.network,
    ).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)  # random logits near zero would make every class a tie
    return save_model(folder, card, network)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Converted networks of tests are shared among them, and not kept among the user's."""
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.getbasetemp()
        folder = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache")
        for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
            patch.setenv(variable, folder)
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A model package with two bands, three classes and random weights."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


def make_scene(path: Path, shape=(150, 130), seed=0, holes=True, **profile) -> Path:
    """A smooth random two-band scene, reflectance x 10000, with a nodata hole and a few lost pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((2, shape[0] // 8 + 2, shape[1] // 8 + 2))
    values = np.kron(coarse, np.ones((8, 8)))[:, : shape[0], : shape[1]] * 4000 + rng.normal(
        0, 150, (2, *shape)
    )
    values = values.clip(1, 10000).astype(np.int16)
    if holes:
        values[:, : shape[0] // 5, : shape[1] // 4] = -9999
        values[:, rng.random(shape) < 0.01] = -9999
    settings = {
        "driver": "GTiff",
        "dtype": "int16",
        "count": 2,
        "height": shape[0],
        "width": shape[1],
        "nodata": -9999,
        "crs": "EPSG:32614",
        "transform": Affine(10, 0, 500000, 0, -10, 5200000),
    }
    with rasterio.open(path, "w", **(settings | profile)) as raster:
        raster.write(values)
        raster.descriptions = ("red", "nir")
        raster.scales = (0.0001, 0.0001)
    return path


@pytest.fixture
def scene(tmp_path) -> Path:
    """A small scene with holes."""
    return make_scene(tmp_path / "scene.tif")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real scenes."""
    folder = os.environ.get("GEOSEG_DATA")
    if not folder:
        pytest.skip("GEOSEG_DATA does not name the folder with the real scenes")
    return Path(folder)
