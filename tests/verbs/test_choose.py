"""Verbs without ``--model``: which bundled model predict and inspect take, and what they say."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

import geoseg
from geoseg.errors import MismatchError
from geoseg.models import sources
from tests.doctor.bundles import CROPS, PICTURES, farmland, picture, put_model
from tests.saying import Saying


class TestVerbs:
    """predict and inspect choose, and say so."""

    @pytest.fixture
    def models(self, empty):
        put_model(empty, CROPS)
        put_model(empty, PICTURES)
        return empty

    @pytest.mark.usefixtures("models")
    def test_predict_says_which_and_why(self, tmp_path, monkeypatch):
        told = Saying()
        loaded = []
        read = sources.Package.read

        def watch(package, name):
            loaded.extend([package.path] if name == "model.safetensors" else [])
            return read(package, name)

        monkeypatch.setattr(sources.Package, "read", watch)
        for make, name in ((picture, "pictures"), (farmland, "crops")):
            result = geoseg.predict(
                make(tmp_path / f"{name}.tif"),
                tmp_path / f"{name}_map.tif",
                backend="torch",
                progress=told,
            )
            model = result.report["model"]
            assert (model["name"], loaded.pop(), loaded) == (name, name, [])
            assert model["chosen"].startswith(f"{name}: the scene has its bands")
            assert told.lines[0] == f"model {model['chosen']}"
            assert "\n" not in told.lines[0]
            told.lines.clear()
            with rasterio.open(tmp_path / f"{name}_map.tif") as raster:
                assert raster.tags()["GEOSEG_MODEL"].startswith(name)

    @pytest.mark.usefixtures("models")
    def test_a_named_model_gives_the_same_map_without_a_reason(self, tmp_path):
        scene = picture(tmp_path / "a.tif")
        chosen = geoseg.predict(scene, tmp_path / "chosen.tif", backend="torch")
        named = geoseg.predict(scene, tmp_path / "named.tif", model="pictures", backend="torch")
        assert named.report["model"] == chosen.report["model"] | {"chosen": None}
        assert (tmp_path / "chosen.tif").read_bytes() == (tmp_path / "named.tif").read_bytes()

    def test_every_verb_chooses_by_place_and_season(self, models, tmp_path):
        place = {"region": [-101, 45, -96, 50], "months": [8, 9]}
        put_model(models, CROPS | {"name": "plains"}, **place)
        scene = farmland(tmp_path / "a.tif")
        told = Saying()
        for number, (date, name) in enumerate((("2020-08-20", "plains"), ("2020-05-20", "crops"))):
            told.lines.clear()
            options = {"backend": "torch", "date": date, "progress": told}
            geoseg.predict(scene, tmp_path / "x.tif", dry_run=True, **options)
            line = told.lines[0]
            result = geoseg.predict(scene, tmp_path / f"{number}.tif", **options)
            chosen = result.report["model"]["chosen"]
            assert (result.report["model"]["name"], line) == (name, f"model {chosen}")
            found = geoseg.inspect(scene, date=date)
            assert found.card.name == name
            assert f"chosen    {chosen}" in found.text()
            assert found.to_json()["scene"]["date"] == date
            assert result.report["warnings"] == []
        named = geoseg.predict(scene, tmp_path / "n.tif", model="plains", date="2020-05-20", backend="torch")
        assert named.report["warnings"][0].startswith(
            "the model is for August and September, and the scene is of"
        )

    @pytest.mark.usefixtures("both")
    def test_predict_refuses_before_weights_are_loaded(self, tmp_path):
        scene = farmland(tmp_path / "a.tif", scales=None)
        with pytest.raises(MismatchError, match="no bundled model fits"):
            geoseg.predict(scene, tmp_path / "map.tif")
        assert not (tmp_path / "map.tif").exists()

    @pytest.mark.usefixtures("models")
    def test_predict_forced(self, tmp_path):
        values = np.random.default_rng(0).integers(800, 1000, (3, 40, 50), "uint16")
        scene = picture(tmp_path / "a.tif", values=values)
        result = geoseg.predict(scene, tmp_path / "map.tif", force=True, backend="torch")
        assert result.report["model"]["chosen"].startswith("pictures: forced")
        assert "8-bit pictures" in result.report["warnings"][0]

    @pytest.mark.usefixtures("both")
    def test_inspect_shows_the_one_that_fits(self, tmp_path):
        found = geoseg.inspect(picture(tmp_path / "a.tif"))
        assert found.fits
        assert found.card.name == "pictures"
        text = found.text()
        assert "chosen    pictures: the scene has its bands" in text
        assert "values    --scale 1 --offset 0 --atmosphere none" in text
        assert text.endswith("a fits pictures")

    @pytest.mark.usefixtures("both")
    def test_inspect_heeds_the_bands(self, tmp_path):
        values = np.random.default_rng(0).integers(10, 250, (4, 60, 60)).astype("uint8")
        path = picture(tmp_path / "a.tif", values=values, photometric="MINISBLACK")
        assert not geoseg.inspect(path).fits
        assert geoseg.inspect(path, bands=[3, 2, 1]).diagnosis.match.numbers == (3, 2, 1)

    @pytest.mark.usefixtures("both")
    def test_inspect_shows_all_where_none_fits(self, tmp_path):
        found = geoseg.inspect(farmland(tmp_path / "a.tif", scales=None))
        assert not found.fits
        text = found.text()
        assert "model     crops" in text
        assert "model     pictures" in text
        assert "    --scale 0.0001 brings" in text
        assert "a fits no bundled model: " in text.splitlines()[-1]
        assert "geoseg train" in text.splitlines()[-1]

    @pytest.mark.usefixtures("both")
    def test_inspect_refuses_a_pixel_size_that_predict_would_not_choose(self, tmp_path):
        place = {"crs": "EPSG:32640", "transform": Affine(30, 0, 500_000, 0, -30, 2_780_000)}
        found = geoseg.inspect(picture(tmp_path / "a.tif", **place))
        assert not found.fits
        assert geoseg.inspect(picture(tmp_path / "b.tif", **place), model="pictures").fits
