"""Two hundred odd scenes: ``CASES`` names each, and makes it in a folder with what has to come of it.

Pixels that are valid are those of ``VALID`` unless a case says otherwise: a corner and a few scattered pixels
are missing, so that a shifted or transposed answer shows.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine

from tests.scene.rasters import write

SHAPE = (24, 20)
UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)
DEGREES = Affine(0.001, 0, 7, 0, -0.001, 50)
FOOT = 1200 / 3937
ROTATED_POLE = "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 +datum=WGS84 +type=crs"
SITE = 'LOCAL_CS["site",UNIT["foot",0.3048]]'


def holes(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Valid pixels of a scene: its upper left corner and a few others are not."""
    valid = np.random.default_rng(3).random(shape) > 0.05
    valid[: shape[0] // 4, : shape[1] // 3] = False
    valid[-1, -1] = True
    return valid


VALID = holes()
ALL = np.ones(SHAPE, bool)


@dataclass
class Case:
    """A scene, and what has to come of it.

    Attributes:
        paths: What is given to ``predict``.
        valid: The pixels that get a class.
        refused: What the refusal must say, instead of a map.
        options: Further arguments of ``predict``.
        crs: The CRS that outputs have; default what rasterio reads of the scene.
        on_earth: Whether the polygons can be written as GeoJSON.
        polygons: Whether polygons can be made.
    """

    paths: list[str | Path]
    valid: np.ndarray = field(default_factory=lambda: VALID)
    refused: str | None = None
    options: dict = field(default_factory=dict)
    on_earth: bool = True
    polygons: bool = True


Make = Callable[[Path], Case]
CASES: dict[str, Make] = {}


def case(name: str) -> Callable[[Make], Make]:
    """Register what makes a scene."""

    def keep(make: Make) -> Make:
        assert name not in CASES, name
        CASES[name] = make
        return make

    return keep


def values(dtype="int16", bands=1, shape=SHAPE, valid=None, fill=0, low=1, high=100) -> np.ndarray:
    """Smooth values, none of them ``fill`` where they are valid."""
    rng = np.random.default_rng(7)
    coarse = np.kron(rng.random((bands, shape[0] // 6 + 1, shape[1] // 6 + 1)), np.ones((6, 6)))
    found = (low + (high - low) * coarse[:, : shape[0], : shape[1]]).astype(dtype)
    if valid is not None:
        found[:, ~valid] = fill
    return found


def tif(folder: Path, array=None, *, name="scene.tif", **profile) -> Path:
    """Write a GeoTIFF in which 0 is nodata unless told otherwise."""
    array = values(valid=VALID) if array is None else array
    settings = {"transform": UTM, "crs": "EPSG:32614", "nodata": 0} | profile
    with warnings.catch_warnings(action="ignore"):
        return write(folder / name, array, **settings)


def copy(source: Path, target: Path, driver: str, **options) -> Path:
    """Convert a raster with GDAL."""
    with warnings.catch_warnings(action="ignore"):
        rasterio.shutil.copy(source, target, driver=driver, **options)
    return target


# Data types, bands, bits
for _dtype in (
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float32",
    "float64",
):
    CASES[f"dtype {_dtype}"] = lambda folder, d=_dtype: Case([tif(folder, values(d, valid=VALID))])
for _dtype in ("complex64", "complex128", "complex_int16"):
    CASES[f"dtype {_dtype}"] = lambda folder, d=_dtype: Case(
        [tif(folder, values(d, valid=VALID)) if d != "complex_int16" else _complex_int(folder)],
        refused="complex",
    )
for _bands in (1, 2, 3, 4, 5, 7, 13, 50, 128, 224):
    CASES[f"{_bands} bands"] = lambda folder, n=_bands: Case([tif(folder, values(bands=n, valid=VALID))])
for _bits in (1, 2, 4, 7):
    CASES[f"{_bits} bits"] = lambda folder, n=_bits: Case(
        [tif(folder, values("uint8", high=2**n - 1, low=1, valid=VALID), nbits=n)]
    )
CASES["12 bits"] = lambda folder: Case([tif(folder, values("uint16", high=4000, valid=VALID), nbits=12)])
CASES["16 bits of float"] = lambda folder: Case([tif(folder, values("float32", valid=VALID), nbits=16)])


def _complex_int(folder):
    array = values("complex64", valid=VALID)
    path = folder / "scene.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="complex_int16",
        count=1,
        height=24,
        width=20,
        crs="EPSG:32614",
        transform=UTM,
    ) as file:
        file.write(array)
    return path


# Compressions and layouts
for _codec in ("lzw", "deflate", "zstd", "lzma", "packbits", "lerc", "lerc_deflate", "lerc_zstd"):
    CASES[f"compressed by {_codec}"] = lambda folder, c=_codec: Case([tif(folder, compress=c)])
for _codec in ("lzw", "deflate", "zstd"):
    CASES[f"{_codec} with a predictor"] = lambda folder, c=_codec: Case(
        [tif(folder, compress=c, predictor=2)]
    )
    CASES[f"{_codec} of floats with a predictor"] = lambda folder, c=_codec: Case(
        [tif(folder, values("float32", valid=VALID), compress=c, predictor=3)]
    )
CASES["compressed by ccittfax4"] = lambda folder: Case(
    [tif(folder, values("uint8", low=1, high=1, valid=VALID), compress="ccittfax4", nbits=1)]
)
CASES["compressed by jpeg"] = lambda folder: Case(
    [tif(folder, values("uint8", 3), compress="jpeg", photometric="YCBCR", nodata=None)], valid=ALL
)
CASES["compressed by webp"] = lambda folder: Case(
    [tif(folder, values("uint8", 3, valid=VALID), compress="webp", webp_lossless="YES", photometric="RGB")]
)
for _name, _options in {
    "one-row strips": {"blockysize": 1},
    "one strip": {"blockysize": 24},
    "tiles": {"tiled": True, "blockxsize": 16, "blockysize": 16},
    "tiles wider than the scene": {"tiled": True, "blockxsize": 256, "blockysize": 256},
    "big tiff": {"bigtiff": "YES"},
    "big-endian": {"endianness": "BIG"},
    "sparse": {"sparse_ok": True},
    "a profile of GDAL's own": {"profile": "GDALGeoTIFF"},
    "a baseline profile": {"profile": "BASELINE"},
    "GeoTIFF 1.1": {"geotiff_version": "1.1"},
    "a world file beside": {"tfw": "YES"},
    "min is white": {"photometric": "MINISWHITE"},
}.items():
    CASES[_name] = lambda folder, o=_options: Case([tif(folder, **o)])
for _kind in ("pixel", "band"):
    CASES[f"interleaved by {_kind}"] = lambda folder, k=_kind: Case(
        [tif(folder, values(bands=3, valid=VALID), interleave=k)]
    )


@case("sparse without any tile")
def _(folder):
    path = folder / "scene.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="int16",
        count=1,
        height=24,
        width=20,
        nodata=0,
        crs="EPSG:32614",
        transform=UTM,
        sparse_ok=True,
    ):
        pass
    return Case([path], refused="valid|nodata|empty", options={"force": False})


# Missing pixels
@case("an internal mask")
def _(folder):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        return Case([tif(folder, values(), nodata=None, mask=VALID)])


@case("a mask beside")
def _(folder):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        return Case([tif(folder, values(), nodata=None, mask=VALID)])


@case("an internal mask that hides nothing")
def _(folder):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        return Case([tif(folder, values(), nodata=None, mask=ALL)], valid=ALL)


@case("all pixels masked")
def _(folder):
    return Case(
        [tif(folder, values(), nodata=None, mask=~ALL)], refused="valid|nodata|mask", options={"force": False}
    )


@case("a mask of a compressed tiled scene")
def _(folder):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        return Case(
            [
                tif(
                    folder,
                    values(),
                    nodata=None,
                    mask=VALID,
                    compress="deflate",
                    tiled=True,
                    blockxsize=16,
                    blockysize=16,
                )
            ]
        )


for _dtype in ("uint8", "uint16"):

    @case(f"alpha of {_dtype}")
    def _(folder, d=_dtype):
        array = values(d, 4)
        array[3] = np.where(VALID, np.iinfo(d).max, 0)
        return Case(
            [
                tif(
                    folder,
                    array,
                    nodata=None,
                    colours=("red", "green", "blue", "alpha"),
                    photometric="RGB",
                    alpha="YES",
                )
            ]
        )


@case("alpha beside one band")
def _(folder):
    array = values("uint8", 2)
    array[1] = np.where(VALID, 255, 0)
    return Case([tif(folder, array, nodata=None, colours=("gray", "alpha"), alpha="YES")])


@case("alpha that is partly transparent")
def _(folder):
    array = values("uint8", 4)
    array[3] = np.where(VALID, 128, 0)
    return Case(
        [
            tif(
                folder,
                array,
                nodata=None,
                colours=("red", "green", "blue", "alpha"),
                photometric="RGB",
                alpha="YES",
            )
        ]
    )


for _dtype, _missing in {
    "uint8": 255,
    "int8": -128,
    "uint16": 65535,
    "int16": -32768,
    "uint32": 2**32 - 1,
    "int32": -(2**31),
    "float32": float(np.finfo("float32").min),
    "float64": -1.7e308,
}.items():
    CASES[f"nodata {_missing} of {_dtype}"] = lambda folder, d=_dtype, m=_missing: Case(
        [tif(folder, values(d, valid=VALID, fill=m), nodata=m)]
    )
for _dtype in ("float32", "float64"):
    CASES[f"NaN of {_dtype} as nodata"] = lambda folder, d=_dtype: Case(
        [tif(folder, values(d, valid=VALID, fill=np.nan), nodata=np.nan)]
    )
    CASES[f"NaN of {_dtype} without nodata"] = lambda folder, d=_dtype: Case(
        [tif(folder, values(d, valid=VALID, fill=np.nan), nodata=None)]
    )
    CASES[f"infinities of {_dtype}"] = lambda folder, d=_dtype: Case(
        [tif(folder, values(d, valid=VALID, fill=np.inf), nodata=None)]
    )
    CASES[f"NaN of {_dtype} beside nodata"] = lambda folder, d=_dtype: _nan_beside(folder, d)
CASES["-infinity as nodata"] = lambda folder: Case(
    [tif(folder, values("float32", valid=VALID, fill=-np.inf), nodata=-np.inf)]
)
CASES["nodata of float32 in decimals"] = lambda folder: Case(
    [_tagged(folder, values("float32", valid=VALID, fill=np.float32(-3.4e38)), "-3.4e+38")]
)
for _dtype, _missing in (("uint64", 2**64 - 1), ("int64", -(2**63))):  # rasterio would write other values
    CASES[f"nodata {_missing} of {_dtype}"] = lambda folder, d=_dtype, m=_missing: Case(
        [_tagged(folder, values(d, valid=VALID, fill=m), str(m))]
    )
for _text in ("-9999", "256", "1e20", "0.5", "nan"):
    CASES[f"nodata {_text} outside uint8"] = lambda folder, t=_text: Case(
        [_tagged(folder, values("uint8"), t)], valid=ALL
    )


def _nan_beside(folder, dtype):
    array = values(dtype, valid=VALID, fill=np.nan)
    array[:, 0] = -9999
    valid = VALID.copy()
    valid[0] = False
    return Case([tif(folder, array, nodata=-9999)], valid=valid)


def _tagged(folder, array, text):
    """A GeoTIFF whose nodata is a text that rasterio would not write."""
    path = tif(folder, array, nodata=None)
    side = path.with_name(path.name + ".aux.xml")
    bands = "".join(
        f'<PAMRasterBand band="{band}"><NoDataValue>{text}</NoDataValue></PAMRasterBand>'
        for band in range(1, len(array) + 1)
    )
    side.write_text(f"<PAMDataset>{bands}</PAMDataset>")
    return path


@case("nodata of each band")
def _(folder):
    """Of two bands, each with its own: a pixel is missing where both are."""
    array = values("int16", 2)
    array[0, :4] = -1
    array[1, :, :3] = -2
    valid = (array[0] != -1) | (array[1] != -2)
    source = tif(folder, array, name="source.tif", nodata=None)
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{b}"><NoDataValue>{-b}</NoDataValue><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">source.tif</SourceFilename><SourceBand>{b}</SourceBand></SimpleSource></VRTRasterBand>'
        for b in (1, 2)
    )
    return Case([_vrt(folder, source, bands)], valid=valid, options={"bands": [1, 2]})


def _vrt(folder, source, bands, name="scene.vrt"):
    with rasterio.open(source) as file:
        place, crs = file.transform, file.crs.to_wkt()
    path = folder / name
    path.write_text(
        f'<VRTDataset rasterXSize="20" rasterYSize="24"><SRS>{crs}</SRS>'
        f"<GeoTransform>{','.join(map(repr, place.to_gdal()))}</GeoTransform>{bands}</VRTDataset>"
    )
    return path


# Where it lies
_PLACES = {
    "rotated": (UTM @ Affine.rotation(30), "EPSG:32614"),
    "rotated by 90 degrees": (UTM @ Affine.rotation(90), "EPSG:32614"),
    "sheared": (UTM @ Affine.shear(20, 5), "EPSG:32614"),
    "south-up": (Affine(10, 0, 500_000, 0, 10, 5_200_000), "EPSG:32614"),
    "east to west": (Affine(-10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32614"),
    "south-up, east to west": (Affine(-10, 0, 500_000, 0, 10, 5_200_000), "EPSG:32614"),
    "transposed": (Affine(0, 10, 500_000, -10, 0, 5_200_000), "EPSG:32614"),
    "pixels that are not square": (Affine(30, 0, 500_000, 0, -2.5, 5_200_000), "EPSG:32614"),
    "a size with many decimals": (Affine(10 / 3, 0, 500_000.1, 0, -10 / 7, 5_200_000.7), "EPSG:32614"),
    "centimetres": (Affine(0.01, 0, 500_000, 0, -0.01, 5_200_000), "EPSG:32614"),
    "hundred kilometres": (Affine(1e5, 0, -1e6, 0, -1e5, 1e6), "EPSG:6933"),
    "degrees": (DEGREES, "EPSG:4326"),
    "degrees, longitude first": (DEGREES, "OGC:CRS84"),
    "degrees of another datum": (DEGREES, "EPSG:4267"),
    "grads from Paris": (DEGREES, "EPSG:4807"),
    "from Ferro": (Affine(0.001, 0, 25, 0, -0.001, 50), "+proj=longlat +ellps=bessel +pm=ferro +no_defs"),
    "a sphere": (DEGREES, "+proj=longlat +R=6371000 +no_defs"),
    "an ellipsoid of its own": (DEGREES, "+proj=longlat +a=6377000 +rf=300 +no_defs"),
    "across 180 degrees": (Affine(0.001, 0, 179.99, 0, -0.001, 50), "EPSG:4326"),
    "across -180 degrees": (Affine(0.001, 0, -180.01, 0, -0.001, 50), "EPSG:4326"),
    "beyond 180 degrees": (Affine(0.001, 0, 190, 0, -0.001, 50), "EPSG:4326"),
    "across 180 degrees of another datum": (Affine(0.001, 0, 179.99, 0, -0.001, 50), "EPSG:4269"),
    "the globe from -180": (Affine(18, 0, -180, 0, -7.5, 90), "EPSG:4326"),
    "the globe from 0": (Affine(18, 0, 0, 0, -7.5, 90), "EPSG:4326"),
    "UTM across the antimeridian": (Affine(100, 0, 715_000, 0, -100, 5_200_000), "EPSG:32660"),
    "Web Mercator across the antimeridian": (Affine(100, 0, 20_036_900, 0, -100, 6_000_000), "EPSG:3857"),
    "Web Mercator": (Affine(10, 0, 1e6, 0, -10, 6e6), "EPSG:3857"),
    "beside the north pole": (Affine(100, 0, 30_000, 0, -100, 90_000), "EPSG:3413"),
    "around the north pole": (Affine(100, 0, -1000, 0, -100, 1200), "EPSG:3413"),
    "around the south pole": (Affine(100, 0, -1000, 0, -100, 1200), "EPSG:3031"),
    "UTM in US survey feet": (
        Affine(30, 0, 5e5 / FOOT, 0, -30, 5.2e6 / FOOT),
        "+proj=utm +zone=14 +datum=WGS84 +units=us-ft",
    ),
    "UTM of NAD 83 in US survey feet": (
        Affine(30, 0, 5e5 / FOOT, 0, -30, 5.2e6 / FOOT),
        "+proj=utm +zone=14 +datum=NAD83 +units=us-ft",
    ),
    "UTM south in feet": (
        Affine(30, 0, 5e5 / 0.3048, 0, -30, 6.2e6 / 0.3048),
        "+proj=utm +zone=14 +south +datum=WGS84 +units=ft",
    ),
    "UTM in kilometres": (Affine(0.03, 0, 500, 0, -0.03, 5200), "+proj=utm +zone=14 +datum=WGS84 +units=km"),
    "a state in feet": (Affine(10, 0, 990_000, 0, -10, 200_000), "EPSG:2263"),
    "Lambert azimuthal": (Affine(30, 0, 4_321_000, 0, -30, 3_210_000), "EPSG:3035"),
    "Lambert azimuthal of one's own": (
        Affine(30, 0, 1000, 0, -30, 2000),
        "+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84",
    ),
    "Lambert azimuthal in kilometres": (
        Affine(0.03, 0, 1, 0, -0.03, 2),
        "+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84 +units=km",
    ),
    "a conic with a shift to WGS 84": (
        Affine(30, 0, 1000, 0, -30, 2000),
        "+proj=lcc +lat_1=30 +lat_2=60 +lat_0=45 +lon_0=5 +ellps=intl +towgs84=-87,-98,-121,0,0,0,0",
    ),
    "sinusoidal of MODIS": (
        Affine(463.3127165, 0, 1e6, 0, -463.3127165, 5e6),
        "+proj=sinu +R=6371007.181 +units=m",
    ),
    "geostationary": (
        Affine(1000, 0, 1e5, 0, -1000, 4e6),
        "+proj=geos +h=35785831 +lon_0=0 +sweep=y +datum=WGS84",
    ),
    "Krovak": (Affine(10, 0, -700_000, 0, -10, -1_050_000), "EPSG:5514"),
    "axes to the south and west": (Affine(10, 0, 50_000, 0, -10, 3_700_000), "EPSG:2048"),
    "northing first": (Affine(10, 0, 4_500_000, 0, -10, 5_700_000), "EPSG:31468"),
    "a height beside": (UTM, "EPSG:32614+5703"),
    "three dimensions": (DEGREES, "EPSG:4979"),
    "a rotated pole": (Affine(0.01, 0, 3, 0, -0.01, -2), ROTATED_POLE),
    "a CRS by WKT of ESRI": (
        UTM,
        'PROJCS["WGS_1984_UTM_Zone_14N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["False_Easting",500000.0],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",-99.0],PARAMETER["Scale_Factor",0.9996],PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]',
    ),
}
for _name, (_place, _crs) in _PLACES.items():
    CASES[_name] = lambda folder, t=_place, c=_crs: Case([tif(folder, transform=t, crs=c)])
_ELSEWHERE = {
    "Mars": (Affine(0.001, 0, 137, 0, -0.001, -5), "+proj=longlat +R=3396190 +no_defs"),
    "Mars in metres": (Affine(100, 0, 1e6, 0, -100, 1e6), "+proj=eqc +R=3396190 +lon_0=180"),
    "the Moon's south pole": (Affine(20, 0, -200, 0, -20, 300), "+proj=stere +lat_0=-90 +R=1737400 +units=m"),
    "a site's own grid in feet": (Affine(3, 0, 100, 0, -3, 200), SITE),
    "no CRS": (Affine(3, 0, 100, 0, -3, 200), None),
}
for _name, (_place, _crs) in _ELSEWHERE.items():
    CASES[_name] = lambda folder, t=_place, c=_crs: Case([tif(folder, transform=t, crs=c)], on_earth=False)
CASES["no transform"] = lambda folder: Case([tif(folder, transform=None)], on_earth=False)
CASES["neither CRS nor transform"] = lambda folder: Case(
    [tif(folder, transform=None, crs=None)], on_earth=False
)
CASES["pixels are points"] = lambda folder: Case([tif(folder, tags={"AREA_OR_POINT": "Point"})])
CASES["a transform that flattens pixels"] = lambda folder: Case(
    [tif(folder, transform=Affine(10, 10, 5e5, 10, 10, 5e6))], polygons=False
)


@case("control points")
def _(folder):
    points = [
        GroundControlPoint(row, col, 500_000 + 10 * col + row, 5_200_000 - 10 * row + col)
        for row in (0, 12, 24)
        for col in (0, 10, 20)
    ]
    path = tif(folder, transform=None, crs=None)
    with rasterio.open(path, "r+") as file:
        file.gcps = points, rasterio.CRS.from_epsg(32614)
    return Case([path], polygons=False)


@case("rational polynomials")
def _(folder):
    terms = lambda *parts: [*parts, *[0.0] * (20 - len(parts))]  # noqa: E731
    rpcs = RPC(
        height_off=0,
        height_scale=500,
        lat_off=50,
        lat_scale=0.05,
        line_den_coeff=terms(1),
        line_num_coeff=terms(0, 0, -1),
        line_off=12,
        line_scale=12,
        long_off=7,
        long_scale=0.05,
        samp_den_coeff=terms(1),
        samp_num_coeff=terms(0, 1),
        samp_off=10,
        samp_scale=10,
    )
    return Case([tif(folder, transform=None, crs=None, rpcs=rpcs)], polygons=False)


# Containers
_CONTAINERS = {
    "COG": ("COG", "tif", {}),
    "JPEG 2000": ("JP2OpenJPEG", "jp2", {"QUALITY": "100", "REVERSIBLE": "YES"}),
    "Erdas": ("HFA", "img", {}),
    "ENVI": ("ENVI", "dat", {}),
    "Idrisi": ("RST", "rst", {}),
    "SAGA": ("SAGA", "sdat", {}),
    "NITF": ("NITF", "ntf", {}),
    "MRF": ("MRF", "mrf", {}),
    "PCIDSK": ("PCIDSK", "pix", {}),
    "an ASCII grid": ("AAIGrid", "asc", {}),
    "Surfer": ("GSBG", "grd", {}),
    "netCDF": ("netCDF", "nc", {}),
    "netCDF 4, compressed": ("netCDF", "nc", {"FORMAT": "NC4", "COMPRESS": "DEFLATE"}),
    "Zarr": ("Zarr", "zarr", {}),
    "Zarr 3": ("Zarr", "zarr", {"FORMAT": "ZARR_V3"}),
    "VRT": ("VRT", "vrt", {}),
    "ESRI's binary": ("EHdr", "bil", {}),
    "a geopackage": ("GPKG", "gpkg", {}),
}
for _name, (_driver, _suffix, _options) in _CONTAINERS.items():

    @case(_name)
    def _(folder, driver=_driver, suffix=_suffix, options=_options):
        dtype = "float32" if driver == "GSBG" else "uint8" if driver == "GPKG" else "int16"
        source = tif(folder, values(dtype, valid=VALID), name="source.tif")
        return Case([copy(source, folder / f"scene.{suffix}", driver, **options)])


for _driver, _suffix, _world in (("PNG", "png", "pgw"), ("JPEG", "jpg", "jgw"), ("BMP", "bmp", "bpw")):

    @case(f"{_driver} with a world file")
    def _(folder, driver=_driver, suffix=_suffix, world=_world):
        source = tif(folder, values("uint8", 3), name="source.tif", nodata=None)
        path = copy(source, folder / f"scene.{suffix}", driver)
        path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)
        t = UTM @ Affine.translation(0.5, 0.5)
        path.with_suffix(f".{world}").write_text("\n".join(map(repr, (t.a, t.d, t.b, t.e, t.c, t.f))))
        return Case([path], valid=ALL, on_earth=False)


@case("PNG of 16 bits with transparency")
def _(folder):
    array = values("uint16", 4)
    array[3] = np.where(VALID, 65535, 0)
    source = tif(
        folder,
        array,
        name="source.tif",
        nodata=None,
        photometric="RGB",
        colours=("red", "green", "blue", "alpha"),
    )
    return Case([copy(source, folder / "scene.png", "PNG")])


@case("a palette")
def _(folder):
    path = tif(folder, values("uint8", valid=VALID))
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {number: (number, 255 - number, 7, 255) for number in range(256)})
    return Case([path])


@case("a tile index")
def _(folder):
    import geopandas
    import shapely

    (folder / "tiles").mkdir()
    array = values(valid=VALID)
    boxes, names = [], []
    for number, rows in enumerate((slice(0, 10), slice(10, 24))):
        place = UTM @ Affine.translation(0, rows.start)
        tif(folder / "tiles", array[:, rows], name=f"{number}.tif", transform=place)
        boxes.append(shapely.box(500_000, place.f - 10 * (rows.stop - rows.start), 500_200, place.f))
        names.append(str(folder / "tiles" / f"{number}.tif"))
    index = geopandas.GeoDataFrame({"location": names}, geometry=boxes, crs="EPSG:32614")
    index.to_file(folder / "scene.gti.gpkg", layer="index", driver="GPKG")
    return Case([folder / "scene.gti.gpkg"])


@case("a zip")
def _(folder):
    tif(folder)
    shutil.make_archive(str(folder / "packed"), "zip", folder, "scene.tif")
    return Case([f"/vsizip/{folder}/packed.zip/scene.tif"])


@case("two files of one scene")
def _(folder):
    one, two = (tif(folder, values(valid=VALID), name=f"{name}.tif") for name in ("a", "b"))
    return Case([one, two], options={"bands": [1, 2]})


@case("scales and offsets")
def _(folder):
    return Case([tif(folder, scales=(0.0001,), offsets=(-0.1,))])


# Sizes
for _shape in (
    (1, 1),
    (1, 2),
    (2, 1),
    (1, 500),
    (500, 1),
    (63, 65),
    (64, 64),
    (65, 63),
    (3, 200_000),
    (20_000, 3),
):

    @case(f"{_shape[0]} x {_shape[1]} pixels")
    def _(folder, shape=_shape):
        valid = holes(shape) if min(shape) > 2 else np.ones(shape, bool)
        path = tif(folder, values(shape=shape, valid=valid), compress="deflate")
        return Case([path], valid=valid, polygons=max(shape) < 100_000)  # a minute is enough for all scenes


# Names
for _name in (
    "with space.tif",
    "a#b.tif",
    "100%.tif",
    "%20.tif",
    "-dash.tif",
    "--output.tif",
    "näme.tif",
    unicodedata.normalize("NFD", "näme of parts.tif"),
    "名前.tif",
    "🌾.tif",
    "a.b.c.tif",
    "UPPER.TIF",
    "none",
    "it's.tif",
    'a"b.tif',
    "[a].tif",
    "{b}.tif",
    "a&b;c.tif",
    "~home.tif",
    "$HOME.tif",
    "a?b.tif",
    "a*b.tif",
    "back\\slash.tif",
    "a,b=c.tif",
    "a:b.tif",
    "@at.tif",
    "!bang.tif",
    f"{'l' * 200}.tif",
    ".hidden.tif",
    "a|b.tif",
):
    CASES[f"the name {_name[:30]}"] = lambda folder, n=_name: Case([tif(folder, name=n)])


@case("a folder with odd names")
def _(folder):
    place = folder / "ä #1 100% [x]"
    place.mkdir()
    return Case([tif(place)])


@case("a path relative to the folder")
def _(folder):
    return Case([os.path.relpath(tif(folder))])


@case("a link")
def _(folder):
    tif(folder)
    (folder / "link.tif").symlink_to("scene.tif")
    return Case([folder / "link.tif"])
