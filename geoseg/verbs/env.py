"""``geoseg env``: what is installed on this machine, and what works.

Nothing here fails: what is broken is said in its own line. Backends are imported in processes of their own,
because a broken library can end the process that loads it.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import geoseg
from geoseg._version import __version__
from geoseg.inference.backends import BACKENDS, backend_kind
from geoseg.redaction import redacted
from geoseg.system.cache import MEASURED, NETWORKS, cache_folder
from geoseg.system.cpu import cores, processor_name
from geoseg.system.memory import free_memory
from geoseg.units import format_memory

PACKAGES = (
    "numpy",
    "scipy",
    "rasterio",
    "pyproj",
    "pyogrio",
    "geopandas",
    "shapely",
    "pyarrow",
    "torch",
    "torchvision",
    "segmentation-models-pytorch",
    "timm",
    "safetensors",
    "huggingface-hub",
    "openvino",
    "nncf",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "lightning",
    "dask",
    "distributed",
    "click",
)
DRIVERS = {
    "rasterio": {
        "GTiff": "GeoTIFF: maps and most scenes",
        "COG": "Cloud Optimized GeoTIFF",
        "VRT": "mosaics, and scenes with --warp",
        "JP2OpenJPEG": "JPEG 2000, as of Sentinel-2",
        "netCDF": "scenes in netCDF",
        "HDF5": "scenes in HDF5",
        "Zarr": "scenes in Zarr",
    },
    "pyogrio": {
        "GPKG": "GeoPackage: polygons, labels, --aoi",
        "FlatGeobuf": "polygons .fgb",
        "GeoJSONSeq": "polygons .geojsonl, .geojsons",
        "GeoJSON": "labels, --aoi",
        "ESRI Shapefile": "labels, --aoi",
        "PMTiles": "tiles for the web",
    },
}
"""What is read and written through GDAL; GeoParquet is written by pyarrow."""

_NEEDED = {"GTiff", "VRT", "GPKG", "FlatGeobuf"}
_VARIABLES = re.compile(
    r"(GEOSEG|GDAL|PROJ|OGR|CPL|OMP|MKL|OPENBLAS|KMP|CUDA|NVIDIA|PYTORCH|HF|DASK|AWS|VSI|MALLOC|LD|XDG_CACHE)_"
    r"|PYTHONPATH$|TMPDIR$"
)
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASS|PWD|AUTH|BEARER|COOKIE|HEADER|CREDENTIAL|SAS|ACCOUNT|CONNECTION")
_FOREIGN = ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_DRIVER_PATH")
_CRS = "EPSG:32614"
_PLACE, _EXPECTED, _NEAR = (-99.0, 47.0), (500000.0, 5205164.11), 0.1
"""A point in degrees and in UTM zone 14 north (EPSG:32614), and how near an answer must be."""
_GDAL_FILE = "gdalvrt.xsd"
"""A file that every GDAL brings."""
_SECONDS = 120
"""How long importing a backend may take."""


@dataclass(frozen=True)
class EnvResult:
    """What was found.

    Attributes:
        content: Plain values: ``geoseg``, ``python``, ``system``, ``cache``, ``packages``, ``backends``,
            ``devices``, ``gdal``, ``proj``, ``drivers``, ``variables``, ``models``.
        problems: What does not work, with what to do about it; a missing extra is none.
    """

    content: Mapping[str, Any] = field(repr=False)
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {**self.content, "problems": list(self.problems)}

    def text(self) -> str:
        """All of it as a person reads it."""
        lines: list[str] = []
        for title, values in self.content.items():
            lines += [title, *(f"  {line}" for line in _section(title, values)), ""]
        lines += ["problems", *(f"  {problem}" for problem in self.problems or ("none",))]
        return "\n".join(lines)


def env() -> EnvResult:
    """Find out what is installed on this machine and what works, as for a bug report.

    Returns:
        The findings; ``text()`` and ``to_json()`` show them. Values of environment variables that look like
        secrets are left out.
    """
    variables = _variables()  # before rasterio and pyogrio set some of their own
    with ThreadPoolExecutor(len(BACKENDS)) as pool:
        probes = {name: pool.submit(_probe_apart, name) for name in BACKENDS}
        content: dict[str, Any] = {
            "geoseg": _tried(_geoseg),
            "python": _tried(_python),
            "system": _tried(_system),
            "cache": _tried(_cache),
            "packages": _tried(_packages),
        }
        found = {name: probe.result() for name, probe in probes.items()}
    content |= {
        "backends": {name: _without_devices(found[name]) for name in BACKENDS},
        "devices": _tried(lambda: _devices(found["torch"])),
        "gdal": _tried(_gdal),
        "proj": _tried(_proj),
        "drivers": {library: _tried(partial(_drivers, library)) for library in DRIVERS},
        "variables": variables,
        "models": _tried(_models),
    }
    return EnvResult(content, tuple(_problems(content)))


def _tried(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return look()
    except Exception as error:
        return {"problem": _said(error)}


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _packages() -> dict[str, Any]:
    runtimes = (backend_kind(name).package for name in BACKENDS)
    return {name: _version(name) for name in dict.fromkeys((*PACKAGES, *runtimes))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
    except Exception as error:  # metadata that cannot be read
        return f"broken ({_said(error)})"


def _geoseg() -> dict[str, Any]:
    return {"version": __version__, "folder": str(Path(geoseg.__file__).parent)}


def _python() -> dict[str, Any]:
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
    }


def _system() -> dict[str, Any]:
    import psutil

    folder = os.getcwd()
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": processor_name(),
        "processors": cores(),
        "physical_cores": psutil.cpu_count(logical=False),
        "memory_bytes": int(psutil.virtual_memory().total),
        "memory_free_bytes": free_memory(),
        "folder": folder,
        "disk_free_bytes": shutil.disk_usage(folder).free,
    }


def _cache() -> dict[str, Any]:
    folder = cache_folder().parent
    entries = (path for kind in (NETWORKS, MEASURED) for path in cache_folder(kind).glob("*"))
    sizes = [path.stat().st_size for path in entries if path.is_file()]
    found: dict[str, Any] = {"folder": str(folder), "files": len(sizes), "bytes": sum(sizes)}
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(there, os.W_OK):
        found["problem"] = f"{there} cannot be written: networks are converted again in every run"
    return found


def _probe_apart(backend: str) -> dict[str, Any]:
    """Import a backend in a process of its own; in this one where that would start another program."""
    kind = backend_kind(backend)
    try:
        if importlib.util.find_spec(kind.package) is None:
            problem = f"{kind.package} is not installed"
            return {"works": False, "installed": False, "problem": problem, "fix": kind.install}
        found = _probe_in_process(backend) if _python_runs() else probe(backend)
    except Exception as error:
        found = {"works": False, "problem": _said(error)}
    if not found["works"]:
        found |= {"installed": True, "fix": f"pip install --force-reinstall {kind.package}"}
    return found


def _python_runs() -> bool:
    """Whether ``sys.executable`` is a Python; inside QGIS it is QGIS."""
    return Path(sys.executable or "none").name.lower().startswith(("python", "pypy"))


def _probe_in_process(backend: str) -> dict[str, Any]:
    home = str(Path(geoseg.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", __name__, backend],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        env=os.environ | {"PYTHONPATH": paths},
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"works": False, "problem": f"importing it ended Python with code {done.returncode}: {last}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def probe(backend: str) -> dict[str, Any]:
    """Import a backend and ask it what it has."""
    try:
        kind = backend_kind(backend)
        module = importlib.import_module(kind.package)
        found: dict[str, Any] = {"works": True, "version": str(module.__version__)}
        found |= kind.describe(module)
        if backend == "torch":
            found |= _probe_torch(module)
    except BaseException as error:
        return {"works": False, "problem": _said(error)}
    return found


def _probe_torch(torch: Any) -> dict[str, Any]:
    from geoseg.inference.backends.device import has_bf16

    cuda: dict[str, Any] = {"works": False}
    if torch.version.cuda is None and torch.version.hip is None:
        cuda["problem"] = "this torch was built without CUDA"
        cuda["fix"] = "choose CUDA at https://pytorch.org/get-started/locally"
    else:
        try:
            torch.cuda.init()
            cuda |= {"works": True, "built_for": torch.version.cuda or f"ROCm {torch.version.hip}"}
            for index in range(torch.cuda.device_count()):
                card = torch.cuda.get_device_properties(index)
                precisions = ["fp32", "fp16", *(["bf16"] if has_bf16(f"cuda:{index}") else [])]
                cuda[f"cuda:{index}"] = {
                    "name": card.name,
                    "memory_bytes": int(card.total_memory),
                    "capability": f"{card.major}.{card.minor}",
                    "precisions": precisions,
                }
        except Exception as error:
            cuda |= {"works": False, "problem": _said(error), "fix": "install or update the GPU's driver"}
    mps = torch.backends.mps
    if mps.is_available():
        apple = {"works": True, "precisions": ["fp32", "fp16"]}
    else:
        why = "this macOS or Mac cannot use it" if mps.is_built() else "it needs a Mac with Apple silicon"
        apple = {"works": False, "problem": why}
    return {"devices": {"cpu_bf16": has_bf16("cpu"), "cuda": cuda, "mps": apple}}


def _without_devices(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "devices"}


def _devices(torch: Mapping[str, Any]) -> dict[str, Any]:
    if not torch["works"]:
        lacking = {"works": False, "problem": "torch does not work"}
        return {"cpu": {"works": True}, "cuda": lacking, "mps": lacking}
    found = torch["devices"]
    cpu = {
        "works": True,
        "bf16": found["cpu_bf16"],
        "auto_precision": "bf16" if found["cpu_bf16"] else "fp32",
    }
    return {"cpu": cpu, "cuda": found["cuda"], "mps": found["mps"]}


def _gdal() -> dict[str, Any]:
    def of_rasterio() -> dict[str, Any]:
        import rasterio
        from rasterio._env import GDALDataFinder

        from geoseg.raster.projections import set_foreign_data_aside

        set_foreign_data_aside()  # as every verb does that reads a raster
        return {"version": rasterio.__gdal_version__, "data": _data(GDALDataFinder().search())}

    def of_pyogrio() -> dict[str, Any]:
        import pyogrio

        return {"version": pyogrio.__gdal_version_string__, "data": _data(pyogrio.get_gdal_data_path())}

    return {"rasterio": _tried(of_rasterio), "pyogrio": _tried(of_pyogrio)}


def _data(own: str | None) -> dict[str, Any]:
    """GDAL's data folder: what a variable says comes before a library's own."""
    folder = os.environ.get("GDAL_DATA") or own
    if folder is None:
        return {"folder": None, "works": True}  # a GDAL of the system knows where its data is
    works = (Path(folder) / _GDAL_FILE).is_file()
    return {"folder": folder, "works": works} | ({} if works else {"problem": f"it has no {_GDAL_FILE}"})


def _proj() -> dict[str, Any]:
    def by_rasterio() -> dict[str, Any]:
        import rasterio
        from rasterio._env import get_proj_data_search_paths
        from rasterio.warp import transform

        (x,), (y,) = transform("EPSG:4326", _CRS, [_PLACE[0]], [_PLACE[1]])
        about = {"version": rasterio.__proj_version__, "data": list(get_proj_data_search_paths())}
        return about | _judged(x, y)

    def by_pyproj() -> dict[str, Any]:
        import pyproj

        x, y = pyproj.Transformer.from_crs(4326, _CRS, always_xy=True).transform(*_PLACE)
        return {"version": pyproj.proj_version_str, "data": [pyproj.datadir.get_data_dir()]} | _judged(x, y)

    def by_pyogrio() -> dict[str, Any]:
        import pyogrio

        named = {"type": "name", "properties": {"name": _CRS}}
        layer = {"type": "FeatureCollection", "features": [], "crs": named}
        crs = pyogrio.read_info(json.dumps(layer).encode())["crs"]
        data = Path(pyogrio.__file__).parent / "proj_data"
        about = {"version": f"GDAL {pyogrio.__gdal_version_string__}", "data": [str(data)] * data.is_dir()}
        problem = {} if crs == _CRS else {"problem": f"{_CRS} became {crs}"}
        return about | {"works": not problem} | problem

    return {"rasterio": _tried(by_rasterio), "pyproj": _tried(by_pyproj), "pyogrio": _tried(by_pyogrio)}


def _judged(x: float, y: float) -> dict[str, Any]:
    if abs(x - _EXPECTED[0]) < _NEAR and abs(y - _EXPECTED[1]) < _NEAR:
        return {"works": True}
    return {"works": False, "problem": f"{_PLACE} became {x}, {y} instead of {_EXPECTED}"}


def _drivers(library: str) -> dict[str, Any]:
    if library == "rasterio":
        import rasterio

        with rasterio.Env() as gdal:
            there = dict.fromkeys(gdal.drivers(), "there")
    else:
        import pyogrio

        there = {
            name: "reads and writes" if "w" in can else "reads"
            for name, can in pyogrio.list_drivers().items()
        }
    return {name: there.get(name) for name in DRIVERS[library]}


def _variables() -> dict[str, str]:
    return {
        name: "(set; not shown)" if _SECRET.search(name) else redacted(value)
        for name, value in sorted(os.environ.items())
        if _VARIABLES.match(name)
    }


def _models() -> dict[str, Any]:
    from geoseg.models.package import load_card
    from geoseg.models.sources import bundled_models

    def about(name: str) -> dict[str, Any]:
        return {"version": load_card(name).version}

    return {name: _tried(partial(about, name)) for name in bundled_models()}


def _problems(content: Mapping[str, Any]) -> list[str]:
    """What does not work, one line each."""
    found = list(_broken(content["gdal"], "GDAL")) + list(_broken(content["proj"], "PROJ"))
    for title in ("geoseg", "python", "system", "cache", "models"):
        found += _broken({title: content[title]}, "")
    for name in _FOREIGN:
        if name in content["variables"]:
            then = (
                "rasterio, pyogrio and pyproj may use it in place of their own files, which fails where "
                "versions differ; if in doubt, unset it"
                if name in os.environ
                else "it is of another program, and geoseg sets it aside for rasterio's own files; unset it"
            )
            found.append(f"{name}={content['variables'][name]} is set: {then}")
    for backend, about in content["backends"].items():
        if not about["works"] and (about["installed"] or backend == "torch"):
            found.append(f"backend {backend}: {about['problem']}; run: {about['fix']}")
    for library, drivers in content["drivers"].items():
        if "problem" in drivers:
            found.append(f"drivers of {library}: {drivers['problem']}")
        lacking = sorted(name for name, can in drivers.items() if can is None and name in _NEEDED)
        if lacking:
            found.append(
                f"{library} has no driver {', '.join(lacking)}; run: pip install --force-reinstall {library}"
            )
    return found


def _broken(values: Mapping[str, Any], path: str) -> list[str]:
    """Every ``problem`` in nested values, with where it stands."""
    found: list[str] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _broken(value, f"{path} {name}".strip())
        elif name == "problem":
            found.append(f"{path}: {value}")
    return found


def _section(title: str, values: Mapping[str, Any]) -> list[str]:
    """The lines of one part of the text."""
    if "problem" in values and title != "cache":
        return [f"broken: {values['problem']}"]
    if title in _LINES:
        return _LINES[title](values)
    width = max(map(len, values), default=0)
    return [f"{name:{width}}  {_in_words(value)}" for name, value in values.items()] or ["none"]


def _in_words(value: Any) -> str:
    if not isinstance(value, Mapping):
        return {True: "yes", False: "no", None: "unknown"}.get(value, str(value))
    words = [] if "works" not in value else ["works" if value["works"] else "does not work"]
    words += [str(value["version"])] if "version" in value else []
    said = [", ".join(words)] if words else []
    if "problem" in value:
        said.append(value["problem"] + (f"; {value['fix']}" if "fix" in value else ""))
    for name, detail in value.items():
        if name not in ("works", "installed", "version", "problem", "fix"):
            said.append(f"{name.replace('_', ' ')} {_detail(name, detail)}")
    return "; ".join(said)


def _detail(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return f"({_in_words(value)})"
    return format_memory(value) if name.endswith("bytes") else _in_words(value)


def _system_lines(values: Mapping[str, Any]) -> list[str]:
    physical = values["physical_cores"]
    return [
        f"platform    {values['platform']}, {values['machine']}",
        f"processor   {values['processor']}: {values['processors']} processors"
        + ("" if physical is None else f" on {physical} cores"),
        f"memory      {format_memory(values['memory_free_bytes'])} free of "
        f"{format_memory(values['memory_bytes'])}",
        f"disk        {format_memory(values['disk_free_bytes'])} free in {values['folder']}",
    ]


def _cache_lines(values: Mapping[str, Any]) -> list[str]:
    if "folder" not in values:
        return [f"broken: {values['problem']}"]
    lines = [f"{values['folder']}: {values['files']} files, {format_memory(values['bytes'])}"]
    return lines + ([f"broken: {values['problem']}"] if "problem" in values else [])


def _package_lines(values: Mapping[str, Any]) -> list[str]:
    there = ", ".join(f"{name} {number}" for name, number in values.items() if number is not None)
    lacking = ", ".join(name for name, number in values.items() if number is None)
    lines = textwrap.wrap(there, _WIDTH, break_on_hyphens=False)
    return lines + ([f"not installed: {lacking}"] if lacking else [])


def _library_lines(values: Mapping[str, Any]) -> list[str]:
    """Of GDAL and PROJ: what each library brings."""
    lines = []
    for library, about in values.items():
        if "data" not in about:
            lines.append(f"{library:9} {_in_words(about)}")
            continue
        data, state = about["data"], about
        if isinstance(data, Mapping):
            folders, state = data["folder"], data
        else:
            folders = ", ".join(data)
        works = "works" if state["works"] else f"does not work: {state['problem']}"
        lines.append(f"{library:9} {about['version']}, data {folders or 'of the system'}: {works}")
    return lines


def _driver_lines(values: Mapping[str, Any]) -> list[str]:
    lines = []
    for library, drivers in values.items():
        if "problem" in drivers:
            lines.append(f"{library}: {drivers['problem']}")
            continue
        lines += [
            f"{name:15} {can or 'missing':17} {DRIVERS[library][name]} ({library})"
            for name, can in drivers.items()
        ]
    return lines


_WIDTH = 96
_LINES: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "system": _system_lines,
    "cache": _cache_lines,
    "packages": _package_lines,
    "gdal": _library_lines,
    "proj": _library_lines,
    "drivers": _driver_lines,
}


if __name__ == "__main__":  # of a process that only imports one backend
    sys.stdout.write(json.dumps(probe(sys.argv[1])) + "\n")
