"""What every backend must do alike; each test runs with all that are registered in ``BACKENDS``."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from geoseg.cli.predict import predict
from geoseg.grid import Window
from geoseg.inference.backends import BACKENDS, backend_kind
from geoseg.inference.backends.convert import converted_network
from geoseg.inference.backends.device import PRECISIONS as DEVICE_PRECISIONS
from geoseg.inference.backends.device import has_bf16
from geoseg.inference.backends.openvino_ import OpenVinoBackend
from geoseg.inference.backends.tta import SYMMETRIES, SymmetricBackend
from geoseg.inference.reading import Normalisation
from geoseg.models import load_model
from geoseg.models.conversion import ChipShape, ConvertedNetwork, to_onnx
from geoseg.models.sources import ONNX, ONNX_FILE, OPENVINO
from geoseg.progress import Silent
from geoseg.scene import open_scene
from geoseg.system.cpu import cores
from tests.conftest import SAMPLES
from tests.models.exported import BANDS, CLASSES, NETWORKS, exported

ROOT = SAMPLES.parent

KINDS = {name: backend_kind(name) for name in BACKENDS}
needs_bf16 = pytest.mark.skipif(not has_bf16("cpu"), reason="no bf16 on this processor")
PRECISIONS = [
    pytest.param(name, precision, marks=needs_bf16 if precision == "bf16" and name != "torch" else ())
    for name, kind in KINDS.items()
    for precision in ("fp32", "bf16")
    if precision in kind.planes
]


@dataclass(frozen=True)
class HowToRun:
    """See ``BackendSettings``."""

    backend: str
    chip_size: int
    batch_size: int
    precision: str
    concurrency: int
    temperature: float = 1.0
    device: str = "cpu"
    tta: str = "none"


class Network(nn.Module):
    """Refuses sides that are no multiple of 16, and answers at half the size; says what divides a side."""

    size_divisor = 16

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(BANDS, 16, 3, padding=1, stride=2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, CLASSES, 3, padding=1),
        )

    def forward(self, x):
        assert x.shape[-1] % 16 == x.shape[-2] % 16 == 0
        return self.layers(x) * 8


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture(scope="module")
def converted(network):
    """Side and batch -> the network, converted once."""
    made = {}

    def convert(side=48, batch=1):
        if (side, batch) not in made:
            shape = ChipShape(batch, BANDS, side)
            made[side, batch] = ConvertedNetwork(ONNX, "fp32", shape, {ONNX_FILE: to_onnx(network, shape)})
        return made[side, batch]

    return convert


@pytest.fixture
def make(network, converted):
    """Backend by name."""

    def make(name, *, side=48, batch=1, precision="fp32", concurrency=2, **more):
        kind = KINDS[name]
        settings = HowToRun(name, side, batch, precision, concurrency, **more)
        return kind.make(converted(side, batch) if kind.formats else network, settings)

    return make


def chips(batch=1, side=48, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, BANDS, side, side)).astype(np.float32)


def in_threads(backend, batches, threads):
    with ThreadPoolExecutor(threads, initializer=backend.prepare_thread) as pool:
        return list(pool.map(backend.probabilities, batches))


@pytest.mark.parametrize("name", BACKENDS)
def test_its_kind_says_what_the_rest_of_geoseg_asks(name):
    kind = KINDS[name]
    assert kind.name == name
    assert kind.install.startswith("pip install ")
    assert set(kind.devices) <= {"cpu", "cuda", "mps"}
    assert {"fp32"} <= set(kind.planes) <= set(DEVICE_PRECISIONS)
    assert set(kind.formats) <= {ONNX, OPENVINO}
    assert kind.loaded > 0
    assert min(kind.planes.values()) > 0


@pytest.mark.parametrize("name", BACKENDS)
def test_importing_its_module_does_not_import_its_runtime(name):
    code = "import sys; from geoseg.inference.backends import backend_kind; "
    code += f"kind = backend_kind({name!r}); sys.exit(kind.package in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", BACKENDS)
def test_users_read_of_it(name):
    assert name in CliRunner().invoke(predict, ["--help"]).output
    page = (ROOT / "docs" / "backends.md").read_text("utf-8")
    assert re.search(rf"`--backend [a-z|]*\b{name}\b", page)
    assert KINDS[name].install in page or name == "torch"


@pytest.mark.parametrize("name", BACKENDS)
def test_it_says_what_it_is(make, name):
    backend = make(name, batch=2)
    assert (backend.name, backend.device, backend.precision, backend.batch_size) == (name, "cpu", "fp32", 2)
    assert backend.concurrency >= 1


@pytest.mark.parametrize(("name", "precision"), PRECISIONS)
@pytest.mark.parametrize("batch", [1, 3])
def test_probabilities_are_probabilities(make, name, precision, batch):
    result = make(name, batch=batch, precision=precision).probabilities(chips(batch))
    assert result.shape == (batch, CLASSES, 48, 48)
    assert result.dtype == np.float32
    assert result.flags.writeable, "the stitcher rounds in place"
    assert result.min() >= 0
    assert np.abs(result.sum(1) - 1).max() < 1e-5


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "torch"])
@pytest.mark.parametrize("side", [48, 50])
def test_it_agrees_with_torch_also_where_chips_are_padded_and_logits_small(make, name, side):
    expected = make("torch").probabilities(chips(side=side))
    result = make(name, side=side).probabilities(chips(side=side))
    assert np.abs(result - expected).max() < 1e-5
    assert expected.std() > 0.1, "a network that says the same everywhere would prove nothing"


@needs_bf16
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if "bf16" in kind.planes])
def test_bf16_is_another_precision_and_almost_the_same(make, name):
    exact, rounded = (make(name, precision=p).probabilities(chips()) for p in ("fp32", "bf16"))
    assert 1e-5 < np.abs(exact - rounded).max() < 0.1


@pytest.mark.parametrize("name", BACKENDS)
def test_the_temperature_divides_the_logits(make, name):
    sharp, soft = (make(name, temperature=t).probabilities(chips()) for t in (1.0, 4.0))
    logits = np.log(sharp) / 4
    assert np.allclose(soft, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize(("name", "precision"), PRECISIONS)
def test_threads_streams_and_repeats_give_the_same_bits(make, name, precision):
    batches = [chips(side=96, seed=seed) for seed in range(3)]
    alone = in_threads(make(name, side=96, precision=precision, concurrency=1), batches, 1)
    for concurrency in (1, 2, 4):
        backend = make(name, side=96, precision=precision, concurrency=concurrency)
        together = in_threads(backend, batches * 4, concurrency + 1)
        assert all(np.array_equal(one, alone[i % 3]) for i, one in enumerate(together))


@pytest.mark.parametrize("name", BACKENDS)
def test_a_result_is_not_touched_by_the_next_forward(make, name):
    backend = make(name)
    first = backend.probabilities(chips())
    before = first.copy()
    backend.probabilities(chips(seed=1))
    assert np.array_equal(first, before)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_place_in_the_batch_does_not_matter(make, name):
    backend, one = make(name, batch=3), chips(3)
    forward, backward = in_threads(backend, [one, one[::-1].copy()], 1)
    assert np.array_equal(forward, backward[::-1])


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("tta", SYMMETRIES)
def test_every_augmentation_averages_its_views(make, name, tta):
    inner = make(name)
    views = [
        inner.probabilities(np.rot90(chips()[..., ::-1] if m else chips(), k, (-2, -1)).copy())
        for k, m in SYMMETRIES[tta]
    ]
    back = [np.rot90(view, -k, (-2, -1)) for view, (k, _) in zip(views, SYMMETRIES[tta], strict=True)]
    expected = sum(view[..., ::-1] if m else view for view, (_, m) in zip(back, SYMMETRIES[tta], strict=True))
    result = SymmetricBackend(inner, tta).probabilities(chips())
    assert np.allclose(result, expected / len(views), atol=1e-6)


@pytest.fixture(scope="module")
def trained():
    """The bundled network on a chip of each sample scene: model, chips and valid pixels, torch's answers."""
    model = load_model("dakota-crops")
    shape = ChipShape(1, len(model.card.bands), model.card.chip_size)
    normalise = Normalisation(model.card.means, model.card.stds)
    batches = []
    for name in ("farmland", "heldout", "odd"):
        scene = open_scene(SAMPLES / f"{name}.tif")
        scene = scene.select(tuple(range(1, shape.bands + 1)), invalid_where=model.card.invalid_where)
        values, valid = scene.read(Window.from_shape(scene.shape))
        chip = np.zeros(shape.dimensions, np.float32)
        chip[0, :, : valid.shape[0], : valid.shape[1]] = normalise.apply(values, valid)
        batches.append((chip, valid))
    reference = KINDS["torch"].make(model.network, HowToRun("torch", shape.side, 1, "fp32", 1))
    network = converted_network(model, "onnx", "fp32", shape, Silent())
    return model, network, [(chip, valid, shown(reference, chip, valid)) for chip, valid in batches]


def shown(backend, chip, valid):
    classes = backend.probabilities(chip)[0].argmax(0)
    return classes[: valid.shape[0], : valid.shape[1]][valid]


@pytest.mark.parametrize(("name", "precision"), [each for each in PRECISIONS if each.values[0] != "torch"])
def test_a_trained_network_shows_the_classes_that_torch_shows(trained, name, precision):
    model, network, samples = trained
    settings = HowToRun(name, network.shape.side, 1, precision, cores())
    backend = KINDS[name].make(network if KINDS[name].formats else model.network, settings)
    same = np.concatenate([shown(backend, chip, valid) == expected for chip, valid, expected in samples])
    assert same.size > 100_000
    assert same.mean() >= {"fp32": 0.999, "bf16": 0.99}[precision]
    assert len(np.unique(np.concatenate([expected for _, _, expected in samples]))) >= 5


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_a_trained_network_gives_the_same_bits_from_every_number_of_streams(trained, precision):
    _, network, samples = trained
    alone, together = (
        in_threads(
            OpenVinoBackend(network, precision=precision, concurrency=n), [c for c, _, _ in samples], n
        )
        for n in (1, 2)
    )
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.formats])
def test_it_needs_no_torch(converted, name, tmp_path):
    (tmp_path / "network.onnx").write_bytes(converted().graph)
    code = f"""
import sys, pathlib, numpy as np
sys.modules["torch"] = None
from geoseg.inference.backends import backend_kind
from geoseg.inference.backends.convert import OneInference
from geoseg.models.conversion import ChipShape
from geoseg.models.conversion import ConvertedNetwork
data = pathlib.Path(sys.argv[1]).read_bytes()
network = ConvertedNetwork("onnx", "fp32", ChipShape(1, {BANDS}, 48), {{"network.onnx": data}})
backend = backend_kind("{name}").make(network, OneInference(1, 48))
print(backend.probabilities(np.zeros((1, {BANDS}, 48, 48), np.float32)).sum())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "network.onnx"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert abs(float(done.stdout) - 48 * 48) < 0.1


def test_openvino_has_seen_an_array_before_threads_show_it_theirs(make, monkeypatch):
    # two threads that are the first have been seen waiting for each other for ever
    import openvino

    seen = []

    class Tensor(openvino.Tensor):
        def __init__(self, *given, **options):
            seen.append(threading.current_thread() is threading.main_thread())
            super().__init__(*given, **options)

    monkeypatch.setattr(openvino, "Tensor", Tensor)
    make("openvino")
    assert seen[:1] == [True]


def test_openvino_has_a_stream_for_every_processor(make):
    """Also where two of them share a core: of its own accord it would leave every second one out."""
    streams = make("openvino", concurrency=cores())._compiled.get_property("NUM_STREAMS")
    assert int(str(streams)) == cores()


def test_openvino_tells_nobody_that_it_is_used():
    code = (
        "import sys; from geoseg.models.openvino_ir import import_openvino; import_openvino();"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_architecture_is_among_those_converted():
    from geoseg.models import architectures

    assert set(NETWORKS) >= set(architectures())


@pytest.mark.slow
@pytest.mark.longer
@pytest.mark.parametrize("architecture", NETWORKS)
def test_every_architecture_converts_and_agrees(architecture):
    side = 72  # most architectures pad it
    network, converted = exported(architecture, side)
    answers = {
        name: kind.make(
            converted if kind.formats else network, HowToRun(name, side, 1, "fp32", 1)
        ).probabilities(chips(side=side))
        for name, kind in KINDS.items()
    }
    for name, answer in answers.items():
        assert np.abs(answer - answers["torch"]).max() < 1e-4, name
