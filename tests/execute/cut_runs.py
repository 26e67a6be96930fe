"""Runs that are cut short after some blocks."""

from __future__ import annotations

import pytest

import geoseg

BLOCKS = {"block_size": 50}
WORK = "map.tif.geoseg-work"


class CutError(Exception):
    """What ends runs in these tests."""


def predict(scene, model, folder, **options):
    folder.mkdir(exist_ok=True)
    options = {"confidence": folder / "sure.tif", "report": folder / "run.json", "force": True} | options
    return geoseg.predict(scene, folder / "map.tif", model=model, **options)


def rasters(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.tif")}


def cut_short(scene, model, folder, cut, monkeypatch, blocks, **options):
    with monkeypatch.context():
        cut(blocks)
        with pytest.raises(CutError):
            predict(scene, model, folder, **(BLOCKS | options))
        monkeypatch.undo()
