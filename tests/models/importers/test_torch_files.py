"""Files of torch: what needs code is refused, names and numbers of classes are sorted out."""

from __future__ import annotations

import argparse
import os
import re

import numpy as np
import pytest
import torch

from geoseg.errors import ModelError
from geoseg.models.importers.network import known_architecture, without_prefix
from geoseg.models.package import load_model
from geoseg.verbs.import_model import import_model
from tests.models.importers.samples import NAMED, SAID, checkpoint, small_unet

CLASSIC = {**SAID, "architecture": "unet-classic", "network": {"depth": 1, "width": 2}}


def classic(bands=3, classes=3):
    from geoseg.models import build_network

    torch.manual_seed(1)
    return build_network("unet-classic", bands=bands, classes=classes, depth=1, width=2).eval()


def refusal(tmp_path, content, **said):
    """Save, try to import, and return what is said."""
    path = tmp_path / "file.ckpt"
    if content is not None:
        torch.save(content, path)
    with pytest.raises(ModelError) as caught:
        import_model(path, tmp_path / "package", **{**SAID, **said})
    assert not (tmp_path / "package").exists()
    text = str(caught.value)
    assert text.startswith(str(path))
    assert len(text.splitlines()) == 1
    return text


class Runs:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_file_never_runs(tmp_path):
    text = refusal(tmp_path, {"state_dict": {}, "made": Runs(tmp_path / "ran")})
    assert not (tmp_path / "ran").exists()
    assert (
        "mkdir, that is code, which geoseg does not run; if you trust it, open it where it was made" in text
    )
    assert "torch.save(network.state_dict(), 'weights.pth')" in text


@pytest.mark.parametrize(
    "make", [classic, lambda: checkpoint(classic(), hyper_parameters=argparse.Namespace())]
)
def test_objects_are_refused_with_the_way_out(tmp_path, make):
    text = refusal(tmp_path, make())
    assert re.search(
        r"holds an object of (geoseg\.models\.unet_classic\.UnetClassic|argparse\.Namespace)", text
    )
    assert "--architecture" in text


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_is_refused(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 2, 1), torch.zeros(1, 3, 4, 4)), tmp_path / "file.ckpt")
    assert "holds a program (TorchScript)" in refusal(tmp_path, None)


def test_damaged_files_are_refused(tmp_path):
    torch.save(classic().state_dict(), tmp_path / "file.ckpt")
    whole = (tmp_path / "file.ckpt").read_bytes()
    for data in (b"\x80\x02garbage", b"\x80", whole[:2000] + whole[3000:]):
        (tmp_path / "file.ckpt").write_bytes(data)
        with pytest.raises(ModelError) as caught:
            import_model(tmp_path / "file.ckpt", tmp_path / "package", **SAID)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3}, "holds no weights of a network"),
        ([1, 2], "holds no weights of a network"),
        (
            {"student": {"a": torch.ones(1)}, "teacher": {"a": torch.ones(1)}},
            "several networks (student, teacher)",
        ),
    ],
)
def test_files_without_one_network_are_refused(tmp_path, content, said):
    assert said in refusal(tmp_path, content, architecture="unet-classic")


def test_tensors_that_do_not_fit_are_named(tmp_path):
    state = classic().state_dict()
    state["head.weights"] = state.pop("head.weight")
    text = refusal(tmp_path, state, **CLASSIC)
    assert 'does not match unet-classic: tensor "head.weight" is missing' in text
    assert 'tensor "head.weights" is not part of the network' in text
    text = refusal(tmp_path, classic().state_dict(), **CLASSIC | {"network": {"depth": 1, "width": 4}})
    assert "has shape [2, 3, 3, 3] instead of [4, 3, 3, 3]" in text
    text = refusal(tmp_path, classic().state_dict(), **CLASSIC | {"bands": ["red", "nir"]})
    assert "reads 3 bands, and --bands names 2" in text
    text = refusal(tmp_path, classic().state_dict(), **CLASSIC | {"classes": ["a", "b"]})
    assert "tells 3 classes apart, and --classes names 2" in text


@pytest.mark.parametrize("prefix", ["", "model.", "network.", "module.net."])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 1, "model_state_dict": s}])
def test_prefixes_and_dictionaries_are_seen_through(tmp_path, prefix, wrap):
    network = classic()
    state = {f"{prefix}{name}": value for name, value in network.state_dict().items()}
    state["criterion.weight"] = torch.ones(3)
    if not prefix:
        del state["criterion.weight"]
    torch.save(wrap(state), tmp_path / "weights.pt")
    ours = load_model(import_model(tmp_path / "weights.pt", tmp_path / "package", **CLASSIC)).network
    chip = torch.randn(1, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(ours(chip), network(chip))


def test_two_networks_under_prefixes_are_refused():
    tensors = {f"{prefix}.{name}": 0 for prefix in ("student", "teacher") for name in ("a.weight", "a.bias")}
    with pytest.raises(ModelError, match=r"several networks \(student\., teacher\.\.\.\.\)"):
        without_prefix(tensors, {"a.weight": 0, "a.bias": 0}, "file")


def test_a_lightning_checkpoint_whose_network_is_unknown(tmp_path):
    content = checkpoint(classic(), hyper_parameters={"model": "swin_transunet", "lr": 0.1})
    assert 'says that its network is "swin_transunet"' in refusal(tmp_path, content)
    torch.save(content, tmp_path / "file.ckpt")
    folder = import_model(tmp_path / "file.ckpt", tmp_path / "package", **CLASSIC)
    assert load_model(folder).card.architecture == "unet-classic"


def test_a_torchgeo_checkpoint_says_what_it_is(tmp_path):
    saved = {"model": "unet", "backbone": "mobilenet_v2", "in_channels": 3, "num_classes": 3}
    network = small_unet()
    text = refusal(tmp_path, checkpoint(network, hyper_parameters=saved), architecture="fpn")
    assert "says itself what its network is; leave out --architecture" in text
    text = refusal(tmp_path, checkpoint(network, hyper_parameters=saved | {"model": "fcn"}))
    assert 'model "fcn", which geoseg lacks' in text
    text = refusal(tmp_path, checkpoint(network, hyper_parameters=saved | {"task": "multilabel"}))
    assert "several labels" in text


def test_one_sigmoid_becomes_two_classes(tmp_path):
    network = classic(classes=1)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    said = CLASSIC | {"classes": ["other", "building"]}
    model = load_model(import_model(tmp_path / "weights.pth", tmp_path / "package", **said))
    chip = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        probability = torch.sigmoid(network(chip))[0, 0]
        ours = model.network(chip).softmax(dim=1)[0]
    torch.testing.assert_close(ours[1], probability, atol=1e-6, rtol=0)
    assert np.array_equal(ours.argmax(dim=0), (probability > 0.5).long())
    with pytest.raises(ModelError, match="tells 2 classes apart, and --classes names 1"):
        import_model(tmp_path / "weights.pth", tmp_path / "more", **CLASSIC | {"classes": ["building"]})


def test_smp_folders_with_a_sigmoid(tmp_path):
    network = small_unet(classes=1, activation="sigmoid", aux_params={"classes": 4})
    network.save_pretrained(tmp_path / "smp")
    folder = import_model(tmp_path / "smp", tmp_path / "package", **SAID | {"classes": ["no", "yes"]})
    chip = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        probability = network(chip)[0][0, 0]
        ours = load_model(folder).network(chip).softmax(dim=1)[0, 1]
    torch.testing.assert_close(ours, probability, atol=1e-6, rtol=0)
    small_unet(activation="sigmoid").save_pretrained(tmp_path / "many")
    with pytest.raises(ModelError, match="a sigmoid of its own, so several may be true of a pixel"):
        import_model(tmp_path / "many", tmp_path / "more", **SAID)


def test_what_is_said_may_not_contradict_an_smp_folder(tmp_path):
    small_unet().save_pretrained(tmp_path / "smp")
    for key, value in (
        ("architecture", "fpn"),
        ("encoder", "resnet34"),
        ("network", {"decoder_channels": [8] * 5}),
    ):
        with pytest.raises(ModelError, match="leave out --" + key.replace("network", "option")):
            import_model(tmp_path / "smp", tmp_path / "package", **{**SAID, key: value})
    import_model(tmp_path / "smp", tmp_path / "package", **{**SAID, "encoder": "mobilenet_v2"})


def test_weights_need_the_name_of_their_network(tmp_path):
    torch.save(classic().state_dict(), tmp_path / "file.ckpt")
    said = {key: value for key, value in NAMED.items() if key != "architecture"}
    with pytest.raises(ModelError, match="--architecture unet --encoder resnet34"):
        import_model(tmp_path / "file.ckpt", tmp_path / "package", **said)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Unet", "unet"),
        ("UNET++", "unetplusplus"),
        ("deeplabv3+", "deeplabv3plus"),
        ("DeepLabV3Plus", "deeplabv3plus"),
        ("unet_classic", "unet-classic"),
        ("swin", None),
    ],
)
def test_spellings(name, known):
    assert known_architecture(name) == known
