"""Find a model package and read its files: bundled, folder, zip, ONNX file, or on the Hugging Face Hub.

Nothing is unpacked, and only the files named here are read.
"""

from __future__ import annotations

import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from geoseg.errors import ModelError
from geoseg.files import is_file, is_folder
from geoseg.models.catalog import suggestion

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
MLM_FILE = "mlm.json"

ONNX, OPENVINO = "onnx", "openvino"
CONVERTED_FILES: dict[tuple[str, str], tuple[str, ...]] = {
    (ONNX, "fp32"): ("network.onnx",),
    (OPENVINO, "fp32"): ("network.xml", "network.bin"),
    (OPENVINO, "int8"): ("network-int8.xml", "network-int8.bin"),
}
"""(format, precision) -> files of a converted network: the graph, and its weights if they are separate."""

ONNX_FILE = CONVERTED_FILES[ONNX, "fp32"][0]
ONNX_ENDING = ".onnx"
"""A single file with this ending is a model with only a converted network."""

DEFAULT_MODEL = "dakota-crops"
BUNDLED = Path(__file__).parent / "bundled"

_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")
_CONVERT = (
    "such a file can run code when it is opened, so geoseg never opens one; if you trust it, convert it: "
    "open it with torch.load(..., weights_only=True), load that into a network of "
    "geoseg.models.build_network and write it with geoseg.models.save_model"
)
_MOST_GROWTH = 100
_TEXT_LIMIT = 10 * 2**20
_WEIGHTS_LIMIT = 8 * 2**30
_LIMITS = {CONFIG_FILE: _TEXT_LIMIT, MLM_FILE: _TEXT_LIMIT, WEIGHTS_FILE: _WEIGHTS_LIMIT} | {
    name: _WEIGHTS_LIMIT for names in CONVERTED_FILES.values() for name in names
}
HUB_PREFIX = "hf://"
_HUB = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class Package:
    """The location of a package and its files.

    Attributes:
        path: its name in messages: a folder, a zip or a hub address.
        files: file name -> path of the file, or name of the member in the zip.
        zipped: whether `files` are members of the zip at `path`.
    """

    path: str
    files: Mapping[str, str]
    zipped: bool = False

    def where(self, name: str) -> str:
        """Name a file as messages do."""
        return f"{self.path}/{name}"

    def size(self) -> int:
        """Bytes that the package takes on disk."""
        files = [self.path] if self.zipped else self.files.values()
        return sum(os.path.getsize(file) for file in files)

    def read(self, name: str) -> bytes:
        """Read one file of the package.

        Raises:
            ModelError: if the file is missing, too large or unreadable.
        """
        if name not in self.files:
            raise self._missing(name)
        try:
            if self.zipped:
                with zipfile.ZipFile(self.path) as archive:
                    info = archive.getinfo(self.files[name])
                    _check_size(info.file_size, name)
                    _check_ratio(info)
                    return archive.read(info)
            path = Path(self.files[name])
            _check_size(path.stat().st_size, name)
            return path.read_bytes()
        except (
            OSError,
            zipfile.BadZipFile,
            RuntimeError,
            NotImplementedError,
            EOFError,
            ValueError,
            zlib.error,
            lzma.LZMAError,
        ) as error:
            raise ModelError(f"{self.where(name)} cannot be read: {error}") from error

    def _missing(self, name: str) -> ModelError:
        if name == WEIGHTS_FILE:
            pickle = next((other for other in sorted(self.files) if _is_pickle(other)), None)
            if pickle:
                return ModelError(f"{self.where(pickle)} is the only file with weights: {_CONVERT}")
        return ModelError(
            f"{self.path} has no {name}; a model package holds {CONFIG_FILE}, {WEIGHTS_FILE} and {MLM_FILE}"
        )


def bundled_models() -> tuple[str, ...]:
    """List the models that come with geoseg by name."""
    if not BUNDLED.is_dir():
        return ()
    return tuple(sorted(folder.name for folder in BUNDLED.iterdir() if (folder / MLM_FILE).is_file()))


def find_package(ref: str | os.PathLike[str] | None = None) -> Package:
    """Find a model package.

    Args:
        ref: name of a bundled model, a folder, a zip, an .onnx file that geoseg exported, or
            "hf://owner/name[@revision]"; None for the default. A bundled name comes before a folder of that
            name ("./name" is the folder).

    Raises:
        ModelError: if there is none, or it is a file that could run code.
    """
    text = DEFAULT_MODEL if ref is None else os.fspath(ref)
    if text.startswith(HUB_PREFIX):
        return _from_folder(download(text), text)
    if text in bundled_models():
        return _from_folder(BUNDLED / text, text)
    path = Path(text)
    if is_folder(path):
        return _from_folder(path, str(path))
    if _is_pickle(path.name):
        raise ModelError(f"{path} is not a model package: {_CONVERT}")
    if is_file(path):
        return _from_onnx(path) if path.name.endswith(ONNX_ENDING) else _from_zip(path)
    if path.name == text and not path.suffix:
        raise ModelError(_unknown_name(text))
    raise ModelError(f"there is no model package at {path}; check the path")


def _unknown_name(name: str) -> str:
    names = bundled_models()
    there_are = f"there are: {', '.join(names)}" if names else "this installation has none"
    return (
        f'there is no bundled model "{name}"{suggestion(name, names)}, {there_are}; '
        "or give a folder, a zip or hf://owner/name"
    )


def _from_folder(folder: Path, path: str) -> Package:
    try:
        files = {entry.name: str(entry) for entry in sorted(folder.iterdir()) if entry.is_file()}
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    return Package(path, files)


def _from_zip(path: Path) -> Package:
    """Open a zip that holds the files at its top or in one folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            # A name may be empty, at which ZipInfo.is_dir fails.
            names = [info.filename for info in archive.infolist() if info.filename]
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        layout = ", ".join((CONFIG_FILE, WEIGHTS_FILE, MLM_FILE))
        raise ModelError(
            f"{path} is not a model package ({error}); give a folder or a zip with {layout}"
        ) from error
    members = [PurePosixPath(name) for name in names if not name.endswith("/")]
    folders = {member.parent for member in members if member.name in (MLM_FILE, CONFIG_FILE)}
    top = min(folders, key=lambda folder: (len(folder.parts), str(folder)), default=PurePosixPath())
    files = {member.name: str(member) for member in members if member.parent == top}
    return Package(str(path), files, zipped=True)


def _from_onnx(path: Path) -> Package:
    """Open a single ONNX file, and the card beside it if there is one."""
    card = path.with_name(MLM_FILE)
    files = {ONNX_FILE: str(path)} | ({MLM_FILE: str(card)} if card.is_file() else {})
    return Package(str(path), files)


def split_address(address: str) -> tuple[str, str | None]:
    """Split "hf://owner/name[@revision]" into "owner/name" and the revision.

    Raises:
        ModelError: if the address is wrong.
    """
    match = _HUB.fullmatch(address)
    if match is None:
        raise ModelError(f"{address} is not a hub address; write hf://owner/name or hf://owner/name@revision")
    return match["repo"], match["revision"]


def download(address: str) -> Path:
    """Download the files of a package from the Hugging Face Hub, or find them in its cache.

    Args:
        address: "hf://owner/name[@revision]".

    Returns:
        The folder in the cache.

    Raises:
        ModelError: if the address is wrong, or they cannot be downloaded.
    """
    repository, revision = split_address(address)
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=list(_LIMITS)
        )
    except Exception as error:  # the hub's client and its HTTP library each have errors of their own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"{address} cannot be downloaded and is not in the cache ({lines[0].rstrip('. ')}); "
            "check the address and the network, or give a folder or zip with the package"
        ) from error
    return Path(folder)


def _check_size(size: int, name: str) -> None:
    if size > _LIMITS[name]:
        raise ValueError(f"it has {size} bytes, more than the limit of {_LIMITS[name]}")


def _check_ratio(info: zipfile.ZipInfo) -> None:
    """Refuse a member that would grow out of proportion; weights hardly shrink, and text never so much."""
    if info.file_size > _TEXT_LIMIT and info.file_size > _MOST_GROWTH * info.compress_size:
        raise ValueError(f"{info.compress_size} bytes would grow to {info.file_size}")


def _is_pickle(name: str) -> bool:
    return name.lower().endswith(_PICKLES) and name not in _LIMITS
