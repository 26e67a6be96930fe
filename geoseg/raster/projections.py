"""PROJ, which places pixels on the ground: use the data that came with rasterio, not another program's.

QGIS, PostGIS and conda set ``PROJ_LIB``, ``PROJ_DATA`` and ``GDAL_DATA`` for their own versions. PROJ cannot
read another version's database, and says so only where few look: every scene then has no CRS.
"""

from __future__ import annotations

import logging
import os

import rasterio
from rasterio._env import GDALDataFinder, PROJDataFinder, set_proj_data_search_path
from rasterio.errors import CRSError

from geoseg.errors import InputError

_LOGGER = logging.getLogger(__name__)
_VARIABLES = ("PROJ_DATA", "PROJ_LIB", "PROJ_AUX_DB")
_CODE = 32614
"""A CRS of which the database holds every part: datum, units, projection, axes."""


def set_foreign_data_aside() -> None:
    """Test PROJ, and where variables lead it to data that it cannot read, use its own and warn.

    The variables are removed from this process and those that it starts. GDAL's data needs no test: what came
    with rasterio is the right one.

    Raises:
        InputError: If PROJ does not work without them either.
    """
    if GDALDataFinder().search_wheel():
        os.environ.pop("GDAL_DATA", None)
    problem = _problem()
    if problem is None:
        return
    found = " and ".join(f"{name}={os.environ.pop(name)}" for name in _VARIABLES if name in os.environ)
    own = PROJDataFinder().search()
    if own:
        set_proj_data_search_path(own)
    if (still := _problem()) is not None:
        unset = f"unset {found}, or " if found else ""
        raise InputError(
            f"PROJ cannot read its database, so no CRS can be known: {still}; {unset}run: pip install "
            "--force-reinstall rasterio"
        )
    _LOGGER.warning(
        "%s leads to the data of another program's PROJ; set aside for rasterio's own, so unset it (%s)",
        found or "PROJ's search path",
        problem,
    )


def _problem() -> str | None:
    """Say why PROJ cannot make a CRS of its database; None if it can."""
    try:
        with rasterio.Env():
            rasterio.CRS.from_epsg(_CODE)
    except CRSError as error:
        return str(error)
    return None
