"""Class map, confidence and probabilities: what every map owes its readers."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC
from rasterio.transform import Affine

from geoseg.classes import LandClass
from geoseg.errors import OutputError, RunError
from geoseg.grid import Window
from geoseg.inference.sums import SUM_ONE, decide
from geoseg.maps import crs
from geoseg.maps.cog.tiles import Spool
from geoseg.maps.kinds import ClassMap, ConfidenceMap, ProbabilityMap, to_bytes
from geoseg.maps.writer import MapWriter, ScratchRaster
from geoseg.raster.georeference import Georeference, same_crs
from tests.maps.cogs import assert_valid_cog

CLASSES = (
    LandClass(1, "corn", "#ffd300"),
    LandClass(2, "water & wetland", "#4b70a3"),
    LandClass(9, "développé", "#969696"),
)
KINDS = [ClassMap(CLASSES), ConfidenceMap(), ProbabilityMap(CLASSES)]
UTM = Georeference(crs=CRS.from_epsg(32614), transform=Affine(30, 0, 418140, 0, -30, 5367860))


def sums_of(shape, seed=0):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(len(CLASSES), 0.5), shape)
    return np.moveaxis((shares * SUM_ONE).astype(np.int32), -1, 0)


def write(kind, folder: Path, shape=(700, 900), georeference=UTM, window=None, valid=None, order=1):
    """Write a map in strips and publish it; returns its path and the decision."""
    valid = np.ones(shape, bool) if valid is None else valid
    decision = decide(sums_of(shape), valid)
    window = window or Window(0, 0, *shape)
    folder.mkdir(exist_ok=True)
    writer = MapWriter(kind, folder / f"{kind.name}.tif", folder, window, georeference, {"GEOSEG_MODEL": "m"})
    pixels = kind.render(decision)
    for top in list(range(0, shape[0], 130))[::order]:
        rows = slice(top, min(top + 130, shape[0]))
        writer.write(
            Window(window.row + rows.start, window.col, rows.stop - rows.start, shape[1]), pixels[:, rows]
        )
    for file in writer.finish():
        file.staged.replace(file.final)
    return folder / f"{kind.name}.tif", decision


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request):
    return request.param


class TestEveryMap:
    def test_is_a_valid_cog(self, kind, tmp_path):
        path, _ = write(kind, tmp_path)
        assert_valid_cog(path)

    def test_holds_what_was_rendered(self, kind, tmp_path):
        path, decision = write(kind, tmp_path)
        with rasterio.open(path) as raster:
            assert np.array_equal(raster.read(), kind.render(decision))
            assert raster.nodata == 255
            assert raster.dtypes == ("uint8",) * raster.count
            assert raster.descriptions == kind.descriptions
            assert raster.scales == (kind.scale,) * raster.count
            assert raster.tags()["GEOSEG_MODEL"] == "m"
            assert raster.compression is not None
            assert raster.overviews(1)

    def test_is_nodata_exactly_where_not_valid(self, kind, tmp_path):
        valid = np.random.default_rng(1).random((300, 200)) > 0.3
        path, _ = write(kind, tmp_path, shape=(300, 200), valid=valid)
        with rasterio.open(path) as raster:
            assert all(np.array_equal(raster.read(band) != 255, valid) for band in raster.indexes)

    def test_has_the_same_bytes_whatever_the_order_of_writing(self, kind, tmp_path):
        first, _ = write(kind, tmp_path / "a")
        second, _ = write(kind, tmp_path / "b", order=-1)
        assert first.read_bytes() == second.read_bytes()

    def test_leaves_nothing_but_the_raster_and_its_sidecars(self, kind, tmp_path):
        path, _ = write(kind, tmp_path)
        expected = {path.name, path.with_suffix(".qml").name}
        expected |= {path.name + ".aux.xml"} if kind.sidecar() else set()
        assert {item.name for item in tmp_path.iterdir()} == expected

    def test_style_is_qgis_xml_for_its_values(self, kind):
        root = ET.fromstring(kind.style().split("\n", 1)[1])
        renderer = root.find("pipe/rasterrenderer")
        assert root.tag == "qgis"
        assert renderer is not None
        assert renderer.get("type") in {"paletted", "singlebandpseudocolor"}

    def test_unwritten_pixels_are_nodata(self, kind, tmp_path):
        writer = MapWriter(kind, tmp_path / "x.tif", tmp_path, Window(0, 0, 600, 600), UTM, {})
        for file in writer.finish():
            file.staged.replace(file.final)
        with rasterio.open(tmp_path / "x.tif") as raster:
            assert np.all(raster.read() == 255)

    def test_discard_leaves_nothing(self, kind, tmp_path):
        writer = MapWriter(kind, tmp_path / "x.tif", tmp_path, Window(0, 0, 60, 60), UTM, {})
        writer.discard()
        assert list(tmp_path.iterdir()) == []


CORNERS = [(0, 0, 500000, 5e6), (0, 60, 5.2e5, 5e6), (50, 0, 5e5, 4.9e6), (50, 60, 5.2e5, 4.9e6 + 1)]
GCPS = tuple(GroundControlPoint(row, col, x, y) for row, col, x, y in CORNERS)
RPCS = RPC(
    0, 1, 45, 1, [1.0] * 20, [0.5] * 20, 300, 300, -99, 1, [1.0] * 20, [0.1] * 20, 350, 350, -1.0, -1.0
)
GEOREFERENCES = {
    "utm": UTM,
    "rotated and sheared": Georeference(
        crs=CRS.from_epsg(32614),
        transform=Affine(30.1, 5.25, 418140.123456789, 7.125, -31, 5367860.987654321),
    ),
    "south-up": Georeference(crs=CRS.from_epsg(32614), transform=Affine(30, 0, 418140, 0, 30, 5367860)),
    "non-square": Georeference(
        crs=CRS.from_epsg(4326), transform=Affine(1 / 3600, 0, -99.1, 0, -1 / 7200, 48.3)
    ),
    "pixel is point": Georeference(crs=UTM.crs, transform=UTM.transform, area_or_point="Point"),
    "transform without a CRS": Georeference(transform=Affine(0.3, 0, 10, 0, -0.3, 20)),
    "gcps": Georeference(gcps=GCPS, gcps_crs=CRS.from_epsg(32614)),
    "rpcs": Georeference(rpcs=RPCS),
    "none": Georeference(),
}


@pytest.mark.parametrize("name", GEOREFERENCES)
def test_georeferencing_is_kept_to_the_last_digit(name, tmp_path):
    georeference = GEOREFERENCES[name]
    path, _ = write(ClassMap(CLASSES), tmp_path, shape=(50, 60), georeference=georeference)
    with rasterio.open(path) as raster:
        written = Georeference.of(raster)
    assert written.transform == georeference.transform
    assert written.crs == georeference.crs
    assert written.gcps_crs == georeference.gcps_crs
    assert [(p.row, p.col, p.x, p.y) for p in written.gcps] == [
        (p.row, p.col, p.x, p.y) for p in georeference.gcps
    ]
    assert (written.rpcs and written.rpcs.to_dict()) == (georeference.rpcs and georeference.rpcs.to_dict())
    if georeference.area_or_point:
        assert written.area_or_point == georeference.area_or_point


def test_gdal_reads_class_names_and_palette(tmp_path):
    path, _ = write(ClassMap(CLASSES), tmp_path)
    with rasterio.open(path) as raster:
        palette = raster.colormap(1)
    assert [palette[item.id][:3] for item in CLASSES] == [(255, 211, 0), (75, 112, 163), (150, 150, 150)]
    assert palette[255][3] == 0
    root = ET.parse(str(path) + ".aux.xml").getroot()
    names = [item.text for item in root.iterfind("PAMRasterBand/CategoryNames/Category")]
    assert [names[item.id] for item in CLASSES] == [item.name for item in CLASSES]
    rows = root.findall("PAMRasterBand/GDALRasterAttributeTable/Row")
    assert [[cell.text for cell in row][:2] for row in rows] == [[str(c.id), c.name] for c in CLASSES]


@given(st.integers(1, 6), st.integers(0, 1000))
def test_ties_go_to_the_lowest_class(classes, seed):
    sums = np.random.default_rng(seed).integers(0, 3, (classes, 8, 8)).astype(np.int32)
    decision = decide(sums, np.ones((8, 8), bool))
    assert np.array_equal(decision.winner, np.argmax(sums, 0))
    assert np.array_equal(decision.top, sums.max(0))


@given(st.integers(0, SUM_ONE), st.sampled_from([100, 250]))
def test_rounding_is_half_up_and_exact(value, one):
    rounded = to_bytes(np.array([[value]], np.int32), one, np.ones((1, 1), bool))[0, 0]
    assert rounded == (2 * value * one + SUM_ONE) // (2 * SUM_ONE)


@pytest.mark.parametrize("one", [100, 250])
def test_every_step_begins_where_it_should(one):
    """The least sum that is rounded to each byte, and the one below it."""
    first = [-((1 - 2 * byte) * SUM_ONE // (2 * one)) for byte in range(1, one + 1)]
    sums = np.array([[[value, value - 1] for value in first]], np.int32)
    rounded = to_bytes(sums, one, np.ones(sums.shape[1:], bool))[0]
    assert rounded.tolist() == [[byte, byte - 1] for byte in range(1, one + 1)]
    edges = to_bytes(np.array([[0, SUM_ONE]], np.int32), one, np.ones((1, 2), bool))
    assert edges.tolist() == [[0, one]]


def test_confidence_is_the_probability_of_the_class_shown(tmp_path):
    path, decision = write(ConfidenceMap(), tmp_path)
    with rasterio.open(path) as raster:
        percent = raster.read(1) * raster.scales[0]
    assert np.abs(percent - decision.sums.max(0) / SUM_ONE).max() <= 0.005 + 1e-9


@pytest.mark.parametrize("read_again", [False, True])
def test_a_full_disk_while_writing_says_so(read_again, tmp_path, monkeypatch):
    whole = Window(0, 0, 600, 600)
    writer = MapWriter(ConfidenceMap(), tmp_path / "x.tif", tmp_path, whole, UTM, {}, read_again=read_again)

    def full(*_args, **_options):
        raise rasterio.errors.RasterioIOError("Write failed") if read_again else OSError(28, "No space left")

    if read_again:
        monkeypatch.setattr(ScratchRaster, "write", full)
    else:
        monkeypatch.setattr(Spool, "_append", full)

    def write():
        for row in range(600):
            writer.write(Window(row, 0, 1, 600), np.zeros((1, 1, 600), np.uint8))

    with pytest.raises(RunError, match=r"cannot be written .*disk full"):
        write()
    writer.discard()
    assert list(tmp_path.iterdir()) == []


ROTATED = CRS.from_string(
    "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 +datum=WGS84 +type=crs"
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_crs_that_no_geotiff_can_hold_is_kept_beside(kind, tmp_path):
    place = Georeference(crs=ROTATED, transform=Affine(0.01, 0, 3, 0, -0.01, 7))
    path, _ = write(kind, tmp_path / "made", (20, 30), place)
    with rasterio.open(path) as dataset:
        assert same_crs(dataset.crs.to_wkt(), ROTATED.to_wkt())
        assert dataset.transform == place.transform
    if kind.sidecar():
        assert len(read_legend_names(path)) == len(CLASSES)


def read_legend_names(path):
    root = ET.parse(path.with_name(path.name + ".aux.xml"))
    return [item.text for item in root.iter("Category") if item.text]


def test_a_crs_that_cannot_be_kept_is_refused_before_a_pixel_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(crs, "_given_back", lambda *_args: None)
    place = Georeference(crs=CRS.from_epsg(2056), transform=UTM.transform)
    with pytest.raises(OutputError, match="a GeoTIFF cannot hold the scene's CRS"):
        write(KINDS[0], tmp_path / "made", (20, 30), place)
