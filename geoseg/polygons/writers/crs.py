"""The CRS of a layer as GDAL has to be given it, so that the file gives it back.

GeoPackage and FlatGeobuf name a CRS by its code. To one without, GDAL gives the code of the UTM zone that it
resembles, without regard to its unit: feet would be read as metres.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from io import BytesIO
from typing import Any

from geoseg.errors import OutputError
from geoseg.raster.georeference import same_crs

_UNNAMED = {"authority": "NONE", "code": 100_000}
"""How GeoPackage identifies a CRS of no authority; GDAL then looks for no other."""


def layer_crs(crs: Any, driver: str) -> str | None:
    """Return a CRS as a GDAL driver stores it right, tested with an empty layer in memory.

    Args:
        crs: Anything pyproj understands, or None.
        driver: GDAL's name of the format, one that keeps the CRS of a layer.

    Returns:
        Its WKT; None without a CRS.

    Raises:
        OutputError: If the driver would give back another CRS.
    """
    if crs is None:
        return None
    import pyproj

    return _layer_crs(pyproj.CRS.from_user_input(crs).to_wkt(), driver)


@lru_cache
def _layer_crs(wkt: str, driver: str) -> str:
    import pyproj

    crs = pyproj.CRS.from_wkt(wkt)
    unnamed = pyproj.CRS.from_json_dict(crs.to_json_dict() | {"id": _UNNAMED}).to_wkt()
    for written in (wkt, unnamed):
        back = _given_back(written, driver)
        if same_crs(crs, back):
            return written
    raise OutputError(
        f'the map has the CRS "{crs.name}", and {driver} would give back '
        f"{'none' if back is None else repr(pyproj.CRS.from_user_input(back).name)}; write .parquet, or warp "
        "the scene to another CRS with --warp"
    )


def _given_back(wkt: str, driver: str) -> str | None:
    import pyarrow as pa
    import pyogrio

    geometry = pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    layer = pa.table([pa.array([], pa.binary())], schema=pa.schema([geometry]))
    file = BytesIO()
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # a file without an ending
        pyogrio.write_arrow(
            layer, file, driver=driver, geometry_name="geometry", geometry_type="Polygon", crs=wkt
        )
        found: str | None = pyogrio.read_info(file.getvalue())["crs"]
    return found
