"""``geoseg models push``: a model package to the Hugging Face Hub."""

from __future__ import annotations

import json
import os
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.card import ModelCard, describe
from geoseg.models.model import Model
from geoseg.models.package import load_model
from geoseg.models.sources import (
    CONFIG_FILE,
    CONVERTED_FILES,
    HUB_PREFIX,
    MLM_FILE,
    WEIGHTS_FILE,
    split_address,
)
from geoseg.progress import Progress, Silent

README = "README.md"

_PACKAGE_FILES = {
    CONFIG_FILE,
    WEIGHTS_FILE,
    MLM_FILE,
    *(name for names in CONVERTED_FILES.values() for name in names),
}
_LICENSES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "agpl-3.0", "lgpl-3.0", "mpl-2.0"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "odbl", "unlicense"),
}
"""Among those that the hub knows by name."""


def push_model(
    model: str | os.PathLike[str],
    address: str,
    *,
    private: bool = False,
    message: str | None = None,
    progress: Progress | None = None,
) -> str:
    """Upload a model package to the Hugging Face Hub in one commit, and make the repository if it is new.

    The token is the hub's own: from ``hf auth login``, or the variable ``HF_TOKEN``. A page is written for a
    repository that has none.

    Args:
        model: Bundled name, folder or zip.
        address: ``"hf://owner/name"``.
        private: Make a new repository private.
        message: Of the commit; default the model's name and version.
        progress: Told what is uploaded.

    Returns:
        The address of the repository's page.

    Raises:
        ModelError: If the package is not whole, there is no token, or the hub refuses or cannot be reached.
    """
    owner_and_name, revision = split_address(address)
    if revision:
        raise ModelError(f"{address}: a push goes to the main branch; leave out @{revision}")
    opened = load_model(model)
    if MLM_FILE not in opened.package.files:
        raise ModelError(f"{model} is a single file; push the package's folder or zip")
    content = {name: opened.package.read(name) for name in sorted(_needed(opened))}
    size = sum(map(len, content.values()))
    (progress or Silent()).say(f"uploading {len(content)} files, {size / 1e6:.3g} MB, to {address}")
    try:
        return _upload(owner_and_name, content, opened.card, private=private, message=message)
    except Exception as error:  # the hub's client and its HTTP library each have errors of their own
        raise ModelError(f"{address}: {_reason(error, owner_and_name)}") from error


def _needed(opened: Model) -> set[str]:
    own = set() if opened.config is None else {CONFIG_FILE, WEIGHTS_FILE}
    return {MLM_FILE, *own, *(name for network in opened.listed for name in network.hashes)}


def _upload(
    repository: str, content: dict[str, bytes], card: ModelCard, *, private: bool, message: str | None
) -> str:
    import huggingface_hub
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if huggingface_hub.get_token() is None:
        raise PermissionError
    hub = huggingface_hub.HfApi(library_name="geoseg")
    add, delete = huggingface_hub.CommitOperationAdd, huggingface_hub.CommitOperationDelete
    had_bars = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        page = hub.create_repo(repository, exist_ok=True, private=private or None)
        there = set(hub.list_repo_files(repository))
        files = content if README in there else content | {README: _page(card, repository).encode()}
        operations: list[Any] = [add(name, data) for name, data in files.items()]
        # Files of an older package there would be others than mlm.json lists.
        operations += [delete(name) for name in sorted(_PACKAGE_FILES & there - set(content))]
        hub.create_commit(repository, operations, commit_message=message or f"{card.name} {card.version}")
    finally:
        if had_bars:
            enable_progress_bars()
    return str(page)


def _reason(error: Exception, repository: str) -> str:
    """Say in one line why a push failed, and what to do. The token is in none of these texts."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    owner = repository.split("/", maxsplit=1)[0]
    log_in = "`hf auth login`, or set HF_TOKEN"
    if isinstance(error, PermissionError):
        return f"pushing needs a token that may write to {owner}: {log_in}"
    if status in (401, 403):
        return (
            f"the hub does not let this token write there ({status}); use one that may write to {owner}: "
            f"{log_in}"
        )
    lines = str(error).strip().splitlines() or [type(error).__name__]
    first = lines[0].rstrip(". ")
    if status is not None:
        return f"the hub refused the upload ({first})"
    return f"the hub cannot be reached ({first}); nothing was changed there; check the network and push again"


def _page(card: ModelCard, repository: str) -> str:
    """Write the page of a repository: facts for the hub's search, then how to use it, and the card."""
    license_id = card.license.lower()
    facts: dict[str, Any] = {
        "library_name": "geoseg",
        "pipeline_tag": "image-segmentation",
        "tags": ["geoseg", "remote-sensing", "land-cover"],
    }
    if license_id in _LICENSES:
        facts["license"] = license_id
    elif card.license:
        facts |= {"license": "other", "license_name": card.license}
    head = "\n".join(f"{key}: {json.dumps(value)}" for key, value in facts.items())  # JSON is YAML
    command = f"pip install geoseg\ngeoseg predict scene.tif --model {HUB_PREFIX}{repository} -o classes.tif"
    return (
        f"---\n{head}\n---\n\n# {card.name}\n\n{card.summary}\n\n```sh\n{command}\n```\n\n"
        f"```text\n{describe(card)}\n```\n"
    )
