"""``geoseg.predict`` end to end on small real files: one answer, every valid pixel, what the network sees."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
from geopandas.testing import assert_geodataframe_equal
from rasterio.transform import Affine
from shapely.geometry import box

from geoseg.errors import MismatchError
from geoseg.models.card import ModelBand
from geoseg.models.transforms import parse_transforms
from tests.conftest import make_scene, save_tiny
from tests.saying import Saying
from tests.verbs.predictions import pixels, read, run


def assert_same_answer(one, other):
    for name in ("classes", "confidence", "probabilities"):
        assert one.outputs[name].read_bytes() == other.outputs[name].read_bytes(), name
    first, second = (read(result.outputs["polygons"]) for result in (one, other))
    assert_geodataframe_equal(first, second)


class TestTransforms:
    def package(self, folder, text, factor=1):
        chain = parse_transforms(text)
        bands = [ModelBand(name, factor * 0.2, factor * 0.1, 0, 0.5, chain) for name in ("red", "nir")]
        return save_tiny(folder, bands=tuple(bands))

    def test_they_come_before_mean_and_std(self, reference, scene, tmp_path):
        """Doubled values with a doubled mean and std are the same numbers, to the bit."""
        doubled = run(scene, self.package(tmp_path / "doubled", "scale=2", 2), tmp_path / "a")
        for name in ("classes", "confidence", "probabilities"):
            np.testing.assert_array_equal(pixels(doubled.outputs[name]), pixels(reference.outputs[name]))
        assert doubled.report["model"]["hash"] != reference.report["model"]["hash"]

    def test_they_give_one_answer(self, scene, tmp_path):
        model = self.package(tmp_path / "model", "log=50,offset=-1,sigmoid,power=0.7")
        assert_same_answer(
            run(scene, model, tmp_path / "a"), run(scene, model, tmp_path / "b", block_size=50, concurrency=3)
        )


class TestOneAnswer:
    @pytest.mark.parametrize(
        "options", [{"block_size": 1}, {"block_size": 100}, {"concurrency": 1}, {"concurrency": 3}]
    )
    def test_blocks_and_threads_change_nothing(self, reference, scene, tiny_model, tmp_path, options):
        assert_same_answer(reference, run(scene, tiny_model, tmp_path / "b", **options))

    def test_batch_sizes_agree(self, scene, tiny_model, tmp_path):
        one = run(scene, tiny_model, tmp_path / "a", batch_size=1)
        four = run(scene, tiny_model, tmp_path / "b", batch_size=4)
        assert np.mean(pixels(one.outputs["classes"]) == pixels(four.outputs["classes"])) >= 0.999

    def test_precisions_agree(self, scene, tiny_model, tmp_path):
        maps = [
            run(scene, tiny_model, tmp_path / p, precision=p, backend="torch").outputs["classes"]
            for p in ("fp32", "bf16")
        ]
        assert np.mean(pixels(maps[0]) == pixels(maps[1])) >= 0.97

    def test_test_time_augmentation_is_one_answer_too(self, reference, scene, tiny_model, tmp_path):
        whole = run(scene, tiny_model, tmp_path / "b", tta="d4")
        assert_same_answer(
            whole, run(scene, tiny_model, tmp_path / "c", tta="d4", block_size=50, concurrency=3)
        )
        plain, augmented = (pixels(result.outputs["confidence"]) for result in (reference, whole))
        assert not np.array_equal(plain, augmented)
        assert whole.report["settings"]["tta"] == "d4"

    @pytest.mark.parametrize(("level", "atmosphere"), [("1C", "approximate"), ("2A", "none")])
    def test_what_is_decided_about_values_is_what_the_flags_say(
        self, level, atmosphere, tiny_model, tmp_path
    ):
        product = f"S2B_MSIL{level}_20210801T103629_N0301_R008_T32UPU_20210801T134601"
        scene = make_scene(tmp_path / f"{product}.tif")
        with rasterio.open(scene, "r+") as raster:
            raster.scales = (1.0, 1.0)
        told = Saying()
        decided = run(scene, tiny_model, tmp_path / "a", progress=told)
        assert any(line.startswith("values are read as reflectance times 10,000 (") for line in told.lines)
        by_hand = run(scene, tiny_model, tmp_path / "b", scale=0.0001, atmosphere=atmosphere)
        assert_same_answer(decided, by_hand)
        settings = decided.report["settings"]
        assert [settings[key] for key in ("scale", "offset", "atmosphere")] == ["0.0001", "0", atmosphere]
        assert "baseline 03.01" in settings["values"]
        other = run(scene, tiny_model, tmp_path / "c", scale=0.0002, atmosphere="none")
        assert other.outputs["confidence"].read_bytes() != decided.outputs["confidence"].read_bytes()

    def test_no_chip_is_computed_twice(self, scene, tiny_model, tmp_path):
        small = run(scene, tiny_model, tmp_path / "a", block_size=1).report
        whole = run(scene, tiny_model, tmp_path / "b", block_size=10_000).report
        assert small["chips"] == whole["chips"]
        assert small["blocks"] > whole["blocks"] == 1

    def test_an_area_of_interest_cuts_and_changes_nothing_inside(
        self, reference, scene, tiny_model, tmp_path
    ):
        aoi = tmp_path / "aoi.geojson"
        polygon = box(500303, 5199100, 500907, 5199747).difference(box(500500, 5199300, 500600, 5199400))
        geopandas.GeoDataFrame(geometry=[polygon], crs="EPSG:32614").to_crs("EPSG:4326").to_file(aoi)
        part = run(scene, tiny_model, tmp_path / "b", aoi=aoi, block_size=50)
        with rasterio.open(part.outputs["classes"]) as raster:
            row, col = round((5200000 - raster.transform.f) / 10), round((raster.transform.c - 500000) / 10)
            assert (row, col) == (25, 30)
            inside = raster.read(1)
        same_place = pixels(reference.outputs["classes"])[
            0, row : row + inside.shape[0], col : col + inside.shape[1]
        ]
        mapped = inside != 255
        assert np.array_equal(inside[mapped], same_place[mapped])
        rows, cols = np.indices(inside.shape)
        projected = geopandas.read_file(aoi).to_crs("EPSG:32614").geometry[0]
        within = shapely.contains_xy(projected, 500005 + 10 * (cols + col), 5199995 - 10 * (rows + row))
        expected = within & (same_place != 255)
        assert np.array_equal(mapped, expected)
        assert part.report["chips"] < reference.report["chips"]
        ids = read(part.outputs["polygons"])["id"]
        assert min(int(i[1:].split("c")[0]) for i in ids) >= 25, "ids are on the scene's grid, not the cut's"

    def test_an_area_of_interest_without_a_valid_pixel_is_refused(self, scene, tiny_model, tmp_path):
        aoi = tmp_path / "aoi.gpkg"
        geopandas.GeoDataFrame(geometry=[box(500306, 5199306, 500308, 5199308)], crs="EPSG:32614").to_file(
            aoi
        )
        told = Saying()
        with pytest.raises(MismatchError, match=r"aoi\.gpkg: .* no valid pixel .*--force"):
            run(scene, tiny_model, tmp_path / "a", aoi=aoi, force=False)
        assert not list((tmp_path / "a").iterdir())
        result = run(scene, tiny_model, tmp_path / "a", aoi=aoi, progress=told)
        assert result.report["pixels_valid"] == 0
        warning = "the map is empty: the scene has no valid pixel whose centre is in the area of interest"
        assert f"warning: {warning}" in told.lines
        assert warning in result.report["warnings"]


class TestEveryValidPixel:
    def test_the_map_has_the_scenes_grid_and_holes(self, reference, scene):
        result = reference
        with rasterio.open(scene) as source, rasterio.open(result.outputs["classes"]) as mapped:
            assert (mapped.crs, mapped.transform, mapped.shape) == (
                source.crs,
                source.transform,
                source.shape,
            )
            valid = (source.read() != -9999).any(0)
            assert np.array_equal(mapped.read(1) != 255, valid)
            assert set(np.unique(mapped.read(1))) <= {2, 5, 7, 255}
        assert len(np.unique(pixels(result.outputs["classes"]))) > 2, "a test map of one class shows nothing"
        assert result.report["pixels_valid"] == valid.sum()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 1), (63, 65), (64, 64), (65, 129)])
    def test_odd_sizes(self, shape, tiny_model, tmp_path):
        scene = make_scene(tmp_path / "odd.tif", shape, holes=False)
        result = run(scene, tiny_model, tmp_path / "a")
        assert pixels(result.outputs["classes"]).shape == (1, *shape)
        assert np.all(pixels(result.outputs["classes"]) != 255)

    def test_a_chip_size_the_network_cannot_take_is_padded(self, tmp_path):
        model = save_tiny(
            tmp_path / "m",
            architecture="unet",
            encoder="resnet18",
            network={"decoder_channels": [16, 8, 8, 8, 8]},
        )
        scene = make_scene(tmp_path / "odd.tif", (90, 77), holes=False)
        result = run(scene, model, tmp_path / "a", chip_size=50, overlap=7, backend="torch")
        assert np.all(pixels(result.outputs["classes"]) != 255)

    def test_an_output_smaller_than_the_chip_is_upsampled(self, tmp_path):
        model = save_tiny(
            tmp_path / "m",
            architecture="segformer",
            encoder="mit_b0",
            network={"upsampling": 1, "decoder_segmentation_channels": 16},
        )
        scene = make_scene(tmp_path / "odd.tif", (90, 77), holes=False)
        result = run(scene, model, tmp_path / "a", backend="torch")
        assert np.all(pixels(result.outputs["classes"]) != 255)

    @pytest.mark.parametrize(
        "georeferencing",
        [
            {"transform": Affine(10, 3, 5e5, 2, -10, 5.2e6)},
            {"transform": Affine(10, 0, 5e5, 0, 10, 5.2e6)},
            {"crs": "EPSG:4326", "transform": Affine(1e-4, 0, -99, 0, -5e-5, 48)},
            {"crs": None, "transform": Affine.identity()},
        ],
        ids=["rotated", "south-up", "degrees", "none"],
    )
    def test_any_georeferencing(self, georeferencing, tiny_model, tmp_path):
        scene = make_scene(tmp_path / "scene.tif", **georeferencing)
        result = run(scene, tiny_model, tmp_path / "a")
        with rasterio.open(scene) as source, rasterio.open(result.outputs["classes"]) as mapped:
            assert (mapped.crs, mapped.transform, mapped.shape) == (
                source.crs,
                source.transform,
                source.shape,
            )
        fields = read(result.outputs["polygons"])
        assert fields["area_ha"].isna().all() == (georeferencing.get("crs", 1) is None)

    def test_the_rule_any_leaves_out_pixels_that_lack_one_band(self, tmp_path):
        scene = make_scene(tmp_path / "scene.tif", holes=False)
        with rasterio.open(scene, "r+") as raster:
            nir = raster.read(2)
            nir[40:60, 40:60] = -9999
            raster.write(nir, 2)
        for rule, missing in (("all", 0), ("any", 400)):
            model = save_tiny(tmp_path / rule, invalid_where=rule)
            result = run(scene, model, tmp_path / f"out-{rule}", backend="torch")
            assert np.count_nonzero(pixels(result.outputs["classes"]) == 255) == missing


class TestWhatTheNetworkSees:
    def test_bands_come_in_the_models_order_whatever_the_files(self, reference, scene, tiny_model, tmp_path):
        with rasterio.open(scene) as source:
            values, profile = source.read(), source.profile
        with rasterio.open(tmp_path / "turned.tif", "w", **profile) as turned:
            turned.write(values[::-1])
            turned.descriptions, turned.scales = ("nir", "red"), (0.0001, 0.0001)
        other = run(tmp_path / "turned.tif", tiny_model, tmp_path / "b")
        assert other.report["settings"]["bands"] == [2, 1]
        mistaken = run(scene, tiny_model, tmp_path / "c", bands=[2, 1])
        straight, right, wrong = (
            pixels(result.outputs["confidence"]) for result in (reference, other, mistaken)
        )
        assert np.array_equal(straight, right)
        assert not np.array_equal(straight, wrong)

    @pytest.mark.parametrize(
        ("change", "options"),
        [
            ({"scales": (1.0, 1.0)}, {"scale": 0.0001}),
            ({"add": 1000}, {"offset": -0.1}),
            ({"nodata": None}, {"nodata": -9999}),
        ],
        ids=["scale", "offset", "nodata"],
    )
    def test_options_mend_what_a_file_does_not_say(
        self, change, options, reference, scene, tiny_model, tmp_path
    ):
        with rasterio.open(scene) as source:
            values, profile = source.read(), source.profile
        values = np.where(values == -9999, -9999, values + change.get("add", 0)).astype(np.int16)
        profile["nodata"] = change.get("nodata", -9999)
        with rasterio.open(tmp_path / "untold.tif", "w", **profile) as untold:
            untold.write(values)
            untold.descriptions, untold.scales = ("red", "nir"), change.get("scales", (0.0001, 0.0001))
        mended = run(tmp_path / "untold.tif", tiny_model, tmp_path / "b", **options)
        unmended = run(tmp_path / "untold.tif", tiny_model, tmp_path / "c")
        sure = [pixels(result.outputs["confidence"]).astype(int) for result in (reference, mended, unmended)]
        assert np.abs(sure[0] - sure[1]).max() <= 1, "float rounding may tip a percent"
        assert np.abs(sure[0] - sure[2]).max() > 1

    @pytest.mark.parametrize(("tta", "temperature"), [("none", 2.0), ("flips", 1.0), ("d4", 4.0)])
    def test_every_augmentation_has_its_own_calibration(self, tta, temperature, scene, tmp_path):
        model = save_tiny(tmp_path / "m", temperatures={"none": 2.0, "d4": 4.0})
        result = run(scene, model, tmp_path / "a", tta=tta, backend="torch")
        assert result.report["settings"]["temperature"] == temperature
        assert result.report["model"]["calibrated"] == (tta != "flips")


@pytest.mark.slow
@pytest.mark.realdata
def test_the_real_scene_gives_one_answer(real_data, tmp_path):
    """A corner of the dakota scene with holes through the bundled model: blocks and threads change no byte."""
    with rasterio.open(real_data / "dakota" / "scene.tif") as source:
        window = rasterio.windows.Window(1948, 2048, 480, 480)
        profile = source.profile | {
            "width": 480,
            "height": 480,
            "transform": source.window_transform(window),
        }
        with rasterio.open(tmp_path / "scene.tif", "w", **profile) as part:
            part.write(source.read(window=window))
            part.descriptions, part.scales = source.descriptions, source.scales
    scene, options = tmp_path / "scene.tif", {"chip_size": 256, "overlap": 32, "force": False}
    reference = run(scene, None, tmp_path / "a", **options)
    assert reference.report["chips"] > reference.report["blocks"]
    other = run(scene, None, tmp_path / "b", block_size=200, concurrency=1, **options)
    assert other.report["blocks"] > reference.report["blocks"]
    assert_same_answer(reference, other)
    assert 0 < reference.report["pixels_valid"] < 480 * 480
