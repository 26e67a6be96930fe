"""Cross-validation: every pixel by a network that has not seen it, the last network by all of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.features

from geoseg.errors import OutputError
from geoseg.models import load_card, load_model, save_model
from geoseg.training.held_out.sample import draw_sample
from geoseg.training.held_out.temperature import fit_temperature, join
from geoseg.training.prepare import open_training_data
from geoseg.training.recipe.recipe import load_recipe
from geoseg.verbs.evaluate import evaluate
from geoseg.verbs.predict import predict
from geoseg.verbs.train import train
from tests.training.labelled_scenes import make_files
from tests.training.training_runs import KEPT, SHORT, Interrupting


def weights(package):
    return (package / "model.safetensors").read_bytes()


def read(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """A run in two parts: fold 1 first, then the rest; the folds' packages are put aside."""
    folder = tmp_path_factory.mktemp("validated")
    make_files(folder)
    recipe = folder / "crops.toml"
    recipe.write_text(SHORT)
    progress = Interrupting(10**9)
    part = train(recipe, folder / "model", cross_validate=True, folds=[1], progress=progress)
    assert (part.model, part.metrics, part.history) == (folder / "model.geoseg-work", {}, ())
    assert not (folder / "model").exists()
    assert any("folds still to be trained: 0" in line for line in progress.said)
    part = train(recipe, folder / "model", cross_validate=True, folds=[1], resume=True)
    assert part.model == folder / "model.geoseg-work"
    keep = Keeping(folder)
    return train(recipe, folder / "model", cross_validate=True, resume=True, progress=keep), folder, keep


class Keeping(Interrupting):
    """Copies the folds' packages once they are all trained."""

    def __init__(self, folder):
        super().__init__(10**9)
        self.folder = folder

    def stage(self, name, *rest):
        if name == "mapping held-out regions":
            for fold in (0, 1):
                source = self.folder / "model.geoseg-work" / "folds" / str(fold) / "model"
                shutil.copytree(source, self.folder / f"fold{fold}")
        return super().stage(name, *rest)


class At(Interrupting):
    """Interrupts a stage after some of its steps."""

    def __init__(self, stage, after):
        super().__init__(10**9)
        self.wanted, self.after = stage, after

    def stage(self, name, *rest):
        self.left = self.after if name == self.wanted else 10**9
        return super().stage(name, *rest)


def regions(result):
    return geopandas.read_file(result.model / "training" / "split.gpkg")


@pytest.mark.slow
def test_every_fold_is_the_network_that_a_run_without_it_gives(validated, tmp_path):
    _, folder, keep = validated
    assert sum("epoch " in line for line in keep.said) == 2 + 2  # fold 1 was not trained again
    text = KEPT.replace("[split]", "[split]\nfold = 1").replace('"scene', f'"{folder.as_posix()}/scene')
    (tmp_path / "one.toml").write_text(text)
    assert weights(train(tmp_path / "one.toml", tmp_path / "one").model) == weights(folder / "fold1")


@pytest.mark.slow
def test_the_last_epoch_is_kept_also_where_another_was_better(tmp_path, monkeypatch):
    from geoseg.training.network import module

    make_files(tmp_path)
    (tmp_path / "r.toml").write_text(SHORT)
    (tmp_path / "last.toml").write_text(KEPT)
    expected = weights(train(tmp_path / "last.toml", tmp_path / "last").model)
    left = iter([0.9, 0.1])
    real = module.score
    monkeypatch.setattr(module, "score", lambda matrix: replace(real(matrix), miou=np.array(next(left))))
    work = train(tmp_path / "r.toml", tmp_path / "m", cross_validate=True, folds=[0]).model
    assert weights(work / "folds" / "0" / "model") == expected


def test_the_weights_shipped_come_from_all_ground(validated, tmp_path):
    result, folder, _ = validated
    text = SHORT.replace('block_size = "65px"\nfolds = 2\nbuffer = "4px"', 'method = "none"')
    (tmp_path / "all.toml").write_text(text.replace('"scene', f'"{folder.as_posix()}/scene'))
    assert weights(train(tmp_path / "all.toml", tmp_path / "all").model) == weights(result.model)
    content = json.loads((result.model / "training" / "split.json").read_text())
    assert content["labelled_pixels"]["train"] == content["labelled_pixels"]["all"]
    assert content["fold"] is None
    assert len(result.history) == 2


def test_each_block_is_mapped_by_the_network_that_never_saw_it(validated, tmp_path):
    """As predict maps it: with all its surroundings, and the temperature of the other fold."""
    result, folder, _ = validated
    found = {
        kind: read(result.model / "training" / "maps" / f"scene_{kind}.tif")
        for kind in ("classes", "confidence")
    }
    covered = np.zeros(found["classes"].shape, bool)
    split = regions(result)
    with rasterio.open(folder / "scene.tif") as scene:
        transform, shape = scene.transform, scene.shape
    for fold in (0, 1):
        row = json.loads((result.model / "training" / "folds" / str(fold) / "metrics.json").read_text())
        model = load_model(folder / f"fold{fold}")
        card = replace(model.card, temperatures={"none": row["temperature"]})
        save_model(tmp_path / "warmed", card, model.network)
        sure = tmp_path / "sure.tif"
        predict(
            folder / "scene.tif",
            tmp_path / "map.tif",
            model=tmp_path / "warmed",
            confidence=sure,
            overwrite=True,
            backend="torch",
        )
        own = (
            rasterio.features.rasterize(split[split["fold"] == fold].geometry, shape, transform=transform) > 0
        )
        np.testing.assert_array_equal(found["classes"][own], read(tmp_path / "map.tif")[own])
        np.testing.assert_array_equal(found["confidence"][own], read(sure)[own])
        covered |= own
    assert (found["classes"][~covered] == 255).all()
    assert covered.mean() > 0.9
    assert (found["classes"] != 255).mean() > 0.85


def test_the_card_says_what_the_folds_say_together(validated):
    result, folder, _ = validated
    maps = result.model / "training" / "maps"
    expected = evaluate(
        maps / "scene_classes.tif", folder / "scene_labels.tif", confidence=maps / "scene_confidence.tif"
    ).report
    written = json.loads((result.model / "training" / "evaluation.json").read_text())
    for key in ("summary", "confusion", "boundary", "calibration", "bootstrap"):
        assert written[key] == expected[key]
    metrics = load_card(result.model).metrics
    assert metrics == result.metrics
    assert metrics["accuracy"] == expected["summary"]["accuracy"]
    words = metrics["split"]
    assert words.startswith(
        "measured by 2-fold cross-validation over 4 spatial blocks of scene, buffer 4 pixels"
    )
    assert "trained on all labels with the same recipe and were not measured themselves" in words
    assert "epoch was chosen" not in words


def test_every_fold_is_scored_and_their_spread_told(validated):
    result, folder, _ = validated
    details = result.model / "training"
    rows = [json.loads((details / "folds" / str(fold) / "metrics.json").read_text()) for fold in (0, 1)]
    classes, labels = read(details / "maps" / "scene_classes.tif"), read(folder / "scene_labels.tif")
    split = regions(result)
    assert set(split["role"]) == {"held out once"}
    with rasterio.open(folder / "scene.tif") as scene:
        transform = scene.transform
    for fold, row in enumerate(rows):
        own = (
            rasterio.features.rasterize(
                split[split["fold"] == fold].geometry, labels.shape, transform=transform
            )
            > 0
        )
        known = own & (labels > 0) & (classes != 255)
        assert row["pixels"] == known.sum()
        assert row["accuracy"] == pytest.approx((classes == labels)[known].mean())
        assert row["regions"] == (split["fold"] == fold).sum()
    folds = result.metrics["folds"]
    for key in ("accuracy", "miou", "ece"):
        values = [row[key] for row in rows]
        assert folds["mean"][key] == pytest.approx(np.mean(values))
        assert folds["standard_deviation"][key] == pytest.approx(np.std(values, ddof=1))
    page = (details / "evaluation.html").read_text()
    assert "<h2>Folds</h2>" in page
    assert f"{folds['mean']['miou']:.3f}" in page


def test_temperatures_are_fitted_across(validated):
    """The maps of a fold use what was fitted on the other; what is shipped was fitted on both."""
    result, folder, _ = validated
    opened = open_training_data(load_recipe(folder / "crops.toml"))
    samples = [
        draw_sample(
            load_model(folder / f"fold{fold}"),
            opened.scenes,
            opened.all_cells,
            opened.split.of(fold),
            "none",
            device="auto",
            seed=0,
            share=0.5,
        )
        for fold in (0, 1)
    ]
    fitted = [fit_temperature(sample) for sample in samples]
    folds = result.model / "training" / "folds"
    own = [json.loads((folds / str(fold) / "metrics.json").read_text())["temperature"] for fold in (0, 1)]
    assert fitted[0] != fitted[1]
    assert own == fitted[::-1]
    assert load_card(result.model).temperatures == {"none": fit_temperature(join(samples))}


def test_what_lies_beside_the_model(validated):
    result, _, _ = validated
    details = result.model / "training"
    names = {path.relative_to(details).as_posix() for path in details.rglob("*") if "logs" not in path.parts}
    kept = {"history.csv", "curves.png"}
    assert names == kept | {
        "recipe.toml", "fingerprint.txt", "check.json", "split.json", "split.gpkg", "last.safetensors",
        "evaluation.json", "evaluation.html", "contradictions.gpkg",
        "maps", "maps/scene_classes.tif", "maps/scene_classes.tif.aux.xml", "maps/scene_classes.qml",
        "maps/scene_confidence.tif", "maps/scene_confidence.qml", "folds",
        *(f"folds/{fold}" for fold in (0, 1)),
        *(f"folds/{fold}/{name}" for fold in (0, 1) for name in (*kept, "metrics.json")),
    }  # fmt: skip
    assert not (result.model.parent / "model.geoseg-work").exists()


@pytest.mark.slow
def test_interrupted_everywhere_it_ends_the_same(validated, tmp_path):
    """In a fold, between folds, while mapping, and in the last network; no epoch is done twice."""
    result, folder, _ = validated
    recipe = folder / "crops.toml"
    said = []
    for stage, after in (
        ("training fold 0", 6),
        ("training fold 1", 1),
        ("training fold 1", 6),
        ("mapping held-out regions", 2),
        ("scoring", 1),
        ("training on all labels", 5),
    ):
        progress = At(stage, after)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "m", cross_validate=True, resume=True, progress=progress)
        said += progress.said
    with pytest.raises(OutputError, match="--resume continues it"):
        train(recipe, tmp_path / "m", cross_validate=True)
    with pytest.raises(OutputError, match=r"begun with other .*cross-validate"):
        train(recipe, tmp_path / "m", resume=True)
    progress = Interrupting(10**9)
    again = train(recipe, tmp_path / "m", cross_validate=True, resume=True, progress=progress)
    assert sum("epoch " in line for line in said + progress.said) == 3 * 2
    assert sum("cross-validated: accuracy" in line for line in said + progress.said) == 1
    assert sum("cross-validated: accuracy" in line for line in progress.said) == 0
    assert weights(again.model) == weights(result.model)
    assert load_model(again.model).hash == load_model(result.model).hash
    assert again.metrics == result.metrics
    for name in ("scene_classes.tif", "scene_confidence.tif"):
        paths = [one.model / "training" / "maps" / name for one in (again, result)]
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert train(recipe, tmp_path / "m", cross_validate=True, resume=True).metrics == result.metrics


@pytest.mark.slow
def test_two_scenes_are_scored_together(tmp_path):
    make_files(tmp_path, (70, 80), name="one")
    make_files(tmp_path, (90, 66), seed=4, name="two")
    text = SHORT.replace('"scene.tif"', '["one.tif", "two.tif"]').replace("epochs = 2", "epochs = 1")
    text = text.replace('"scene_labels.tif"', '["one_labels.tif", "two_labels.tif"]')
    text = text.replace('block_size = "65px"', 'method = "scenes"') + "calibrate = []\n"
    (tmp_path / "r.toml").write_text(text)
    result = train(tmp_path / "r.toml", tmp_path / "model", cross_validate=True)
    details = result.model / "training"
    alone = [
        evaluate(details / "maps" / f"{name}_classes.tif", tmp_path / f"{name}_labels.tif").report
        for name in ("one", "two")
    ]
    total = np.sum([np.array(report["confusion"]["pixels"]) for report in alone], axis=0)
    written = json.loads((details / "evaluation.json").read_text())
    assert written["confusion"]["pixels"] == total.tolist()
    assert [scene["name"] for scene in written["map"]["scenes"]] == ["one", "two"]
    assert "over 2 scenes of one, two" in result.metrics["split"]
    assert load_card(result.model).temperatures == {}
    names = {path.name for path in details.glob("*.gpkg")}
    assert names == {"split.gpkg", "contradictions-one.gpkg", "contradictions-two.gpkg"}
    assert "one 70 × 80, two 90 × 66 pixels" in (details / "evaluation.html").read_text()
