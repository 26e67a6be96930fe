"""The contract of all importers; what only one promises is in a file of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from geoseg.cli.models import import_model as command
from geoseg.errors import ModelError, OutputError
from geoseg.inference.backends import backend_kind
from geoseg.inference.backends.convert import OneInference
from geoseg.inference.reading import Normalisation
from geoseg.models.conversion import ChipShape
from geoseg.models.importers import IMPORTERS
from geoseg.models.importers.importer import ImportSource
from geoseg.models.package import open_model
from geoseg.verbs.import_model import choose_importer, import_model
from tests.models.importers.samples import SAID, SAMPLES, smp_folder

SIDE = 64


@pytest.fixture(params=SAMPLES, scope="module")
def sample(request, tmp_path_factory):
    """A sample of every kind in turn."""
    return SAMPLES[request.param](tmp_path_factory.mktemp("sample"))


def digests(path):
    files = [path] if path.is_file() else sorted(path.iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_every_importer_has_a_sample():
    assert list(SAMPLES) == [type(importer).__name__ for importer in IMPORTERS]


def test_the_page_lists_every_kind():
    page = (Path(__file__).parents[3] / "docs" / "import.md").read_text().replace("`", "")
    assert [importer.kind for importer in IMPORTERS if f"\n| {importer.kind}" not in page] == []


def test_only_its_importer_takes_a_source(sample, request):
    wanted = request.node.callspec.params["sample"]
    source = ImportSource(sample.path, str(sample.path))
    assert type(choose_importer(source)).__name__ == wanted


def test_its_package_gives_the_classes_of_the_original(sample, tmp_path):
    before = digests(sample.path)
    model = open_model(import_model(sample.path, tmp_path / "package", **sample.said))
    assert digests(sample.path) == before
    values = np.random.default_rng(5).random((len(model.card.bands), SIDE, SIDE), np.float32) / 2
    network = (
        model.network if model.config else model.converted("onnx", "fp32", ChipShape(1, len(values), SIDE))
    )
    backend = backend_kind(sample.backend).make(network, OneInference(1, SIDE))
    chip = Normalisation.of(model.card.bands).apply(values.copy(), np.ones((SIDE, SIDE), bool))
    found = backend.probabilities(chip[None])[0].argmax(axis=0)
    assert (found == sample.logits(values).argmax(axis=0)).mean() > 0.999


def test_a_package_depends_on_its_source_alone(sample, tmp_path):
    folders = [import_model(sample.path, tmp_path / name, name="same", **sample.said) for name in ("a", "b")]
    assert digests(folders[0]) == digests(folders[1])


def test_what_is_missing_is_named(sample, tmp_path):
    for argument, named in sample.missing.items():
        said = {key: value for key, value in sample.said.items() if key != argument}
        with pytest.raises(ModelError) as caught:
            import_model(sample.path, tmp_path / "package", **said)
        assert named in str(caught.value)
        assert str(sample.path) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
        assert not (tmp_path / "package").exists()


def test_a_package_that_is_there_stays(sample, tmp_path):
    import_model(sample.path, tmp_path / "package", **sample.said)
    before = digests(tmp_path / "package")
    with pytest.raises(OutputError, match="--overwrite"):
        import_model(sample.path, tmp_path / "package", **sample.said)
    assert digests(tmp_path / "package") == before
    import_model(sample.path, tmp_path / "package", **sample.said, overwrite=True)


def test_the_source_is_never_replaced(sample):
    before = digests(sample.path)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="give another folder"):
            import_model(sample.path, sample.path.parent, **sample.said, overwrite=overwrite)
        if sample.path.is_dir():
            with pytest.raises(OutputError, match="give another folder"):
                import_model(sample.path, sample.path, **sample.said, overwrite=overwrite)
    assert digests(sample.path) == before


def test_files_of_something_else_stay(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "config.json").write_text("mine")
    with pytest.raises(OutputError, match=r"holds config\.json, which would be replaced"):
        import_model(smp_folder(tmp_path).path, tmp_path / "package", **SAID)
    assert (tmp_path / "package" / "config.json").read_text() == "mine"


def test_what_is_nothing_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no model")
    for path in (tmp_path / "notes.txt", tmp_path):
        with pytest.raises(ModelError, match=r"nothing that can be imported; geoseg reads .*save_pretrained"):
            import_model(path, tmp_path / "package")
    with pytest.raises(ModelError, match="there is no"):
        import_model(tmp_path / "gone", tmp_path / "package")


def test_the_command_line_says_the_same(tmp_path):
    source = smp_folder(tmp_path).path
    classes = "other:#112233,4=crop,water"
    words = ["--bands", "red,green,blue", "--classes", classes, "--mean", "0.2", "--std", "0.1,0.2,0.3"]
    result = CliRunner().invoke(command, [str(source), "-o", str(tmp_path / "made"), *words, "--gsd", "10"])
    assert result.exit_code == 0, result.output
    card = open_model(Path(result.output.strip())).card
    assert [(one.id, one.name) for one in card.classes] == [(0, "other"), (4, "crop"), (5, "water")]
