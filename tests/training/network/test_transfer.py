"""Transfer: what a network keeps when bands or classes change, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from geoseg.classes import LandClass
from geoseg.errors import ModelError
from geoseg.models import ModelBand, build_network, save_model
from geoseg.models.transforms import parse_transforms
from geoseg.training.network.transfer import (
    ChannelNames,
    adapt,
    encoder_of,
    for_bands,
    start_network,
    start_transforms,
)
from geoseg.training.recipe.settings import ModelSettings, TransferSettings
from tests.conftest import tiny_card

CLASSES = ("corn", "grass", "water")


def classic(bands, classes, seed):
    torch.manual_seed(seed)
    return build_network("unet-classic", bands=bands, classes=classes, depth=2, width=4).eval()


def start(bands, classes, **transfer):
    model = ModelSettings(architecture="unet-classic", encoder=None, options={"depth": 2, "width": 4})
    return start_network(model, TransferSettings(**transfer), bands, classes)


@pytest.fixture
def package(tmp_path):
    """A package that reads red and nir, and knows corn, grass and water."""
    return save_model(tmp_path / "source", tiny_card(), classic(2, 3, 1)), classic(2, 3, 1)


def test_without_transfer_weights_are_random():
    torch.manual_seed(0)
    first = start(("red", "nir"), CLASSES).network
    second = start(("red", "nir"), CLASSES).network
    assert not torch.equal(first.head.weight, second.head.weight)
    assert first.training


def test_fine_tuning_the_same_bands_and_classes_starts_where_the_package_is(package):
    path, source = package
    started = start(("red", "nir"), CLASSES, start_from=str(path))
    chips = torch.randn(1, 2, 16, 16)
    torch.testing.assert_close(started.network.eval()(chips), source(chips))
    assert started.architecture == "unet-classic"
    assert "3 of 3 classes" in started.notes[0]


def test_input_transforms_of_the_package_are_kept_by_band(tmp_path):
    chain = parse_transforms("log=50")
    bands = (ModelBand("red", 0, 1, 0, 1, chain), ModelBand("nir", 0, 1, 0, 1))
    path = save_model(tmp_path / "source", tiny_card(bands=bands), classic(2, 3, 1))
    transfer = TransferSettings(start_from=str(path))
    assert start_transforms(transfer, ("nir", "red")) == ((), chain)
    with pytest.raises(ModelError, match='"blue" is none of them; train with red, nir'):
        start_transforms(transfer, ("nir", "blue"))
    assert start_transforms(TransferSettings(), ("nir", "blue")) == ()


def test_packages_without_transforms_ask_for_none(package):
    assert start_transforms(TransferSettings(start_from=str(package[0])), ("nir", "blue")) == ()


def test_reordered_bands_and_classes_are_followed_by_name(package):
    path, source = package
    started = start(("nir", "red"), ("water", "corn", "grass"), start_from=str(path))
    chips = torch.randn(1, 2, 16, 16)
    expected = source(chips)[:, [2, 0, 1]]
    torch.testing.assert_close(started.network.eval()(chips[:, [1, 0]]), expected)


def test_new_bands_and_classes_leave_the_rest(package):
    path, source = package
    torch.manual_seed(7)
    started = start(("red", "swir16", "nir"), ("forest", "corn"), start_from=str(path)).network
    first, old = started.down[0][0].weight, source.down[0][0].weight
    assert first.shape[1] == 3
    torch.testing.assert_close(first[:, 0], old[:, 0] * 2 / 3)
    torch.testing.assert_close(first[:, 1], old.mean(dim=1) * 2 / 3)
    torch.testing.assert_close(first[:, 2], old[:, 1] * 2 / 3)
    torch.testing.assert_close(started.head.weight[1], source.head.weight[0])
    assert not torch.equal(started.head.weight[0], source.head.weight[0])
    torch.testing.assert_close(started.merge[1][0].weight, source.merge[1][0].weight)


def test_bands_keep_the_size_of_what_comes_out():
    weight = torch.ones(4, 3, 3, 3)
    for bands in (("a",), ("a", "b", "c", "d", "e", "f")):
        assert for_bands(weight, None, bands).sum(dim=1).mean() == pytest.approx(3.0)


def test_three_unnamed_bands_are_red_green_and_blue():
    weight = torch.arange(3.0).reshape(1, 3, 1, 1)
    taken = for_bands(weight, None, ("blue", "green", "red", "nir")).flatten() * 4 / 3
    assert taken.tolist() == [2, 1, 0, 1]


def test_encoder_weights_from_a_file(tmp_path):
    torch.manual_seed(3)
    source = build_network("unet", encoder="resnet18", bands=3, classes=2)
    path = tmp_path / "resnet18.safetensors"
    save_file({name: value.contiguous() for name, value in source.encoder.state_dict().items()}, path)
    model = ModelSettings(architecture="unet", encoder="resnet18")
    bands = ("blue", "green", "red", "nir", "swir16", "swir22")
    started = start_network(model, TransferSettings(encoder_weights=str(path)), bands, CLASSES)
    taken, old = started.network.encoder, source.encoder
    torch.testing.assert_close(taken.layer3[0].conv1.weight, old.layer3[0].conv1.weight)
    torch.testing.assert_close(taken.conv1.weight[:, 0], old.conv1.weight[:, 2] / 2)
    torch.testing.assert_close(taken.conv1.weight[:, 4], old.conv1.weight.mean(dim=1) / 2)


def test_encoder_weights_of_another_encoder_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(4, 3, 3, 3)}, path)
    model = ModelSettings(architecture="unet", encoder="resnet18")
    with pytest.raises(ModelError, match="another encoder than resnet18"):
        start_network(model, TransferSettings(encoder_weights=str(path)), ("red",), CLASSES)


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "none.safetensors"])
def test_pickles_and_missing_files_are_refused(tmp_path, name):
    if name.endswith(("pth", "pt")):
        torch.save({}, tmp_path / name)
    model = ModelSettings(architecture="unet", encoder="resnet18")
    with pytest.raises(ModelError, match="can run code" if "pt" in name.split(".")[1] else "cannot be read"):
        start_network(model, TransferSettings(encoder_weights=str(tmp_path / name)), ("red",), CLASSES)


class TestWholeNetworks:
    @pytest.fixture(scope="class")
    @classmethod
    def saved(cls, tmp_path_factory):
        """A SegFormer as smp saves it: three bands, 150 classes, nothing of ours beside it."""
        import segmentation_models_pytorch as smp

        torch.manual_seed(5)
        network = smp.Segformer("mit_b0", encoder_weights=None, in_channels=3, classes=150)
        folder = tmp_path_factory.mktemp("hub") / "segformer"
        network.save_pretrained(folder)
        return folder, network

    def test_the_head_is_replaced_and_the_rest_kept(self, saved):
        folder, source = saved
        started = start(("red", "green", "blue", "nir"), CLASSES, start_from=str(folder))
        assert (started.architecture, started.encoder) == ("segformer", "mit_b0")
        network = started.network
        assert network(torch.randn(1, 4, 64, 64)).shape == (1, 3, 64, 64)
        kept = dict(network.decoder.named_parameters())
        for name, value in source.decoder.named_parameters():
            torch.testing.assert_close(kept[name], value)
        first = network.encoder.patch_embed1.proj.weight
        torch.testing.assert_close(first[:, 0], source.encoder.patch_embed1.proj.weight[:, 0] * 3 / 4)
        assert "0 of 3 classes" in started.notes[0]

    def test_it_can_be_packaged(self, saved, tmp_path):
        started = start(("red",), CLASSES, start_from=str(saved[0]))
        card = tiny_card(
            architecture=started.architecture,
            encoder=started.encoder,
            network=started.options,
            bands=(ModelBand("red", 0.2, 0.1, 0.0, 0.5),),
            classes=tuple(LandClass(i, name, "#000000") for i, name in enumerate(CLASSES)),
        )
        assert (save_model(tmp_path / "out", card, started.network) / "mlm.json").is_file()

    def test_a_head_of_as_many_classes_is_replaced_too(self, tmp_path):
        import segmentation_models_pytorch as smp

        source = smp.FPN("resnet18", encoder_weights=None, in_channels=3, classes=3)
        source.save_pretrained(tmp_path / "fpn")
        started = start(("red", "green", "blue"), CLASSES, start_from=str(tmp_path / "fpn"))
        assert not torch.equal(
            started.network.segmentation_head[0].weight, source.segmentation_head[0].weight
        )
        torch.testing.assert_close(started.network.encoder.conv1.weight, source.encoder.conv1.weight)

    def test_the_hub_offline_is_one_clear_line(self, monkeypatch):
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(ModelError, match="check the address and the network") as caught:
            start(("red",), CLASSES, start_from="hf://nobody/nothing-at-all")
        assert "\n" not in str(caught.value)

    def test_a_folder_that_is_no_network_is_refused(self, tmp_path):
        (tmp_path / "config.json").write_text('{"_model_class": "BertModel"}')
        with pytest.raises(ModelError, match="BertModel"):
            start(("red",), CLASSES, start_from=str(tmp_path))
        with pytest.raises(ModelError, match="check the path"):
            start(("red",), CLASSES, start_from=str(tmp_path / "none"))


def test_defaults_of_the_recipe():
    classic_ = start_network(ModelSettings(), TransferSettings(), ("red", "nir"), CLASSES)
    assert (classic_.architecture, classic_.encoder) == ("unet-classic", None)
    assert classic_.options == {"depth": 4, "width": 32}
    fpn = start_network(ModelSettings(architecture="fpn"), TransferSettings(), ("red", "nir"), CLASSES)
    assert (fpn.architecture, fpn.encoder, fpn.options) == ("fpn", "resnet18", {})


def test_imagenet_offline_is_one_clear_line(monkeypatch):
    import socket

    import huggingface_hub.constants

    def refuse(*_arguments, **_):
        raise OSError("no network in tests")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(ModelError, match="start from random weights") as caught:
        start_network(
            ModelSettings(architecture="unet", encoder="resnet18"),
            TransferSettings(encoder_weights="imagenet"),
            ("red",),
            CLASSES,
        )
    assert "\n" not in str(caught.value)


def test_the_encoder_of_every_kind_of_network():
    assert encoder_of(classic(2, 3, 0)) is not None
    unet = build_network("unet", encoder="resnet18", bands=2, classes=2)
    assert encoder_of(unet) is unet.encoder


def test_adapting_keeps_batch_statistics():
    source, target = classic(2, 3, 1), classic(2, 3, 2)
    source.down[0][1].running_mean.fill_(3.5)
    adapt(source, target, ChannelNames(("red", "nir"), CLASSES), ChannelNames(("red", "nir"), CLASSES))
    np.testing.assert_array_equal(target.down[0][1].running_mean, np.full(4, 3.5, np.float32))
