"""PROJ's data: variables of another program are set aside, and what cannot be mended is said."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import rasterio
from rasterio._env import PROJDataFinder, set_proj_data_search_path

from geoseg.errors import InputError
from geoseg.raster import projections
from geoseg.raster.projections import set_foreign_data_aside

CODES = iter(range(5105, 5130))  # zones of Norway: rasterio remembers the codes that it has met


def in_a_thread(call):
    """Call where PROJ has not opened its database yet: it opens it once a thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """Another program's folder, which this process was started with."""
    monkeypatch.setattr(projections, "_CODE", next(CODES))
    for name in ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA"):
        monkeypatch.setenv(name, str(tmp_path))
    set_proj_data_search_path(str(tmp_path))  # as rasterio does at its start
    yield tmp_path
    set_proj_data_search_path(PROJDataFinder().search())


def test_rasterios_own_data_is_used_with_a_warning_that_names_the_variables(foreign, caplog):
    in_a_thread(set_foreign_data_aside)
    assert in_a_thread(lambda: rasterio.CRS.from_epsg(next(CODES))).is_projected
    assert not {"PROJ_LIB", "PROJ_DATA", "GDAL_DATA"} & set(os.environ)
    (said,) = caplog.messages
    assert f"PROJ_DATA={foreign} and PROJ_LIB={foreign}" in said
    in_a_thread(set_foreign_data_aside)
    assert len(caplog.messages) == 1


def test_data_that_works_is_left_alone(monkeypatch, caplog):
    monkeypatch.setenv("PROJ_LIB", "/some/where")  # rasterio has read its variables long before
    set_foreign_data_aside()
    assert os.environ["PROJ_LIB"] == "/some/where"
    assert not caplog.messages


def test_without_any_data_that_works_the_line_says_what_to_do(foreign, monkeypatch):
    monkeypatch.setattr(projections, "_CODE", 999_999)  # which no data has
    with pytest.raises(InputError, match=rf"unset PROJ_DATA={foreign} .* or run: pip install"):
        in_a_thread(set_foreign_data_aside)
