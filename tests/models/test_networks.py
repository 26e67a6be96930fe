"""The contract that every architecture keeps: built, saved, loaded and run with any number of bands."""

from __future__ import annotations

import json

import pytest
import torch

from geoseg.errors import ModelError
from geoseg.models import (
    LandClass,
    ModelBand,
    architectures,
    build_network,
    catalog,
    check_chip_size,
    encoders_for,
    load_model,
    open_model,
    save_model,
    size_divisor,
)
from geoseg.models.catalog import SMP_CLASSES
from geoseg.models.networks import config_stride
from tests.conftest import tiny_card

CLASSES = 4
# A small encoder for each, options that make decoders light and show that options survive.
NETWORKS = {
    "unet": ("resnet18", {"decoder_channels": [32, 24, 16, 12, 8]}),
    "unetplusplus": ("mobilenet_v2", {"decoder_channels": [32, 24, 16, 12, 8]}),
    "manet": ("resnet18", {"decoder_channels": [32, 24, 16, 12, 8], "decoder_pab_channels": 16}),
    "linknet": ("mobilenet_v2", {}),
    "fpn": ("mobilenet_v2", {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32}),
    "pspnet": ("mobilenet_v2", {"psp_out_channels": 32}),
    "pan": ("mobilenet_v2", {}),
    "deeplabv3": ("mobilenet_v2", {"decoder_channels": 32}),
    "deeplabv3plus": ("mobilenet_v2", {"decoder_channels": 32, "encoder_output_stride": 8}),
    "upernet": ("mobilenet_v2", {"decoder_channels": 32}),
    "segformer": ("mit_b0", {"decoder_segmentation_channels": 32}),
    "dpt": (
        "tu-vit_tiny_patch16_224",
        {"decoder_intermediate_channels": [16, 16, 16, 16], "decoder_fusion_channels": 16},
    ),
    "unet-classic": (None, {"depth": 3, "width": 4}),
    "dynamic-world": (None, {"width": 8}),
}
CASES = [(name, bands) for name in NETWORKS for bands in (6, 1)]
CASES += [(name, 3) for name in ("unet", "segformer", "dpt", "unet-classic")]


def logits(network, bands, size, seed=0):
    values = torch.randn(2, bands, size, size, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return network(values)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request, tmp_path_factory):
    """(architecture, bands, network, saved folder, chip size that suits it)."""
    name, bands = request.param
    encoder, options = NETWORKS[name]
    torch.manual_seed(bands)
    network = build_network(name, encoder=encoder, bands=bands, classes=CLASSES, **options)
    assert network.training
    size = max(64, size_divisor(network))
    card = tiny_card(
        architecture=name,
        encoder=encoder,
        network=options,
        bands=tuple(ModelBand(f"band {number}", 0.2, 0.1, 0, 1) for number in range(bands)),
        classes=tuple(LandClass(3 * number, f"class {number}", "#102030") for number in range(CLASSES)),
        chip_size=size,
        overlap=8,
    )
    logits(
        network, bands, size
    )  # one pass in training mode, so that batch statistics are not the initial ones
    folder = tmp_path_factory.mktemp(name) / "model"
    save_model(folder, card, network.eval())
    return name, bands, network, folder, size


def test_loaded_networks_give_the_same_logits(case):
    _, bands, network, folder, size = case
    model = load_model(folder)
    assert not model.network.training
    assert {value.dtype for value in model.network.parameters()} == {torch.float32}
    before, after = logits(network, bands, size), logits(model.network, bands, size)
    assert before.shape[:2] == (2, CLASSES)
    assert before.shape[2] <= size
    assert torch.isfinite(before).all()
    assert before.std() > 0
    assert torch.equal(before, after)


@pytest.mark.parametrize("case", [case for case in CASES if case[0] in SMP_CLASSES], indirect=True)
def test_smp_opens_the_folder_itself(case):
    _, bands, network, folder, size = case
    import segmentation_models_pytorch as smp

    theirs = smp.from_pretrained(folder).eval()
    assert torch.equal(logits(network, bands, size), logits(theirs, bands, size))


def test_config_downloads_nothing_and_keeps_the_options(case):
    name, bands, _, folder, _ = case
    encoder, options = NETWORKS[name]
    config = json.loads((folder / "config.json").read_text())
    assert config.get("encoder_weights") is None
    assert config.get("encoder_name") == encoder
    assert config["in_channels"] == bands
    assert config["classes"] == CLASSES
    assert {key: config[key] for key in options} == options


def test_chips_may_be_any_multiple_of_the_divisor(case):
    _, bands, network, _, _ = case
    divisor = size_divisor(network)
    for multiple in (1, 3):
        rows, columns = divisor * multiple, divisor * 2
        with torch.inference_mode():
            shape = network(torch.zeros(1, bands, rows, columns)).shape
        assert shape[2] / rows == shape[3] / columns


def test_the_stride_is_told_without_building_the_network(case):
    name, _, network, folder, _ = case
    told, divisor = open_model(folder).stride, size_divisor(network)
    assert told % divisor == 0
    if name in ("unet", "unetplusplus", "manet", "linknet", "unet-classic", "pan"):
        assert told == divisor


@pytest.mark.parametrize(
    ("config", "stride"),
    [
        ({"_model_class": "UnetClassic", "depth": 4}, 16),
        ({"_model_class": "Unet", "encoder_depth": 3, "depth": 1}, 8),
        ({"_model_class": "Unet"}, 32),
        ({"_model_class": "PSPNet", "encoder_depth": 3}, 32),
        ({"_model_class": "PAN"}, 128),
        ({"_model_class": ["Unet"], "encoder_depth": 3}, 32),
        ({"_model_class": "Unet", "encoder_depth": "many"}, 32),
        ({"_model_class": "Unet", "encoder_depth": 99}, 32),
        ({"_model_class": "DPT", "img_size": 224}, None),
        ({"_model_class": "DPT", "img_size": 224, "dynamic_img_size": True}, 32),
    ],
)
def test_the_stride_of_a_config(config, stride):
    assert config_stride(config) == stride


class Pointwise(torch.nn.Module):
    """An architecture of somebody's own: one layer, as many pixels out as in."""

    def __init__(self, in_channels, classes, halvings=0):
        super().__init__()
        self.config = {"in_channels": in_channels, "classes": classes, "halvings": halvings}
        self.size_divisor = 2**halvings
        self.layer = torch.nn.Conv2d(in_channels, classes, 1)

    def forward(self, chips):
        return self.layer(chips)


def test_an_architecture_is_added_with_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(catalog.OWN, "pointwise", catalog.OwnArchitecture(__name__, "Pointwise", "halvings"))
    monkeypatch.setitem(catalog.ARCHITECTURE_OF, "Pointwise", "pointwise")  # made of OWN when it is imported
    assert "pointwise" in architectures()
    assert encoders_for("pointwise") == ()
    with pytest.raises(ModelError, match='no option "halving", did you mean "halvings"'):
        build_network("pointwise", bands=2, classes=3, halving=3)
    network = build_network("pointwise", bands=2, classes=3, halvings=3).eval()
    card = tiny_card(architecture="pointwise", encoder=None, network={"halvings": 3})
    model = load_model(save_model(tmp_path / "model", card, network))
    assert model.stride == size_divisor(model.network) == 8
    assert torch.equal(logits(network, 2, 64), logits(model.network, 2, 64))


def test_the_table_has_every_architecture():
    assert tuple(NETWORKS) == architectures()


@pytest.mark.parametrize("name", ["unet", "dpt", "unet-classic"])
def test_half_precision_weights(tmp_path, name):
    encoder, options = NETWORKS[name]
    torch.manual_seed(1)
    network = build_network(name, encoder=encoder, bands=2, classes=3, **options).eval()
    card = tiny_card(architecture=name, encoder=encoder, network=options)
    single = save_model(tmp_path / "single", card, network)
    half = save_model(tmp_path / "half", card, network, precision="fp16")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (single, half)]
    assert sizes[1] < 0.6 * sizes[0]
    ours = load_model(half).network
    assert {value.dtype for value in ours.parameters()} == {torch.float32}
    exact, close = logits(network, 2, 64), logits(ours, 2, 64)
    assert not torch.equal(exact, close)
    assert (exact - close).abs().max() < 0.02 * exact.abs().max()
    if name not in catalog.OWN:
        import segmentation_models_pytorch as smp

        assert torch.equal(close, logits(smp.from_pretrained(half).eval(), 2, 64))


@pytest.mark.parametrize(
    ("name", "options", "divisor"),
    [
        ("unet", {}, 32),
        ("unet", {"encoder_depth": 3, "decoder_channels": (16, 8, 8)}, 8),
        ("pspnet", {}, 8),
        ("deeplabv3", {}, 8),
        ("deeplabv3plus", {}, 16),
        ("dpt", NETWORKS["dpt"][1], 32),
        ("pan", {}, 128),
        ("pan", {"encoder_output_stride": 32}, 256),
        ("unet-classic", {"depth": 5, "width": 2}, 32),
    ],
)
def test_the_divisor_is_the_least_that_works(name, options, divisor):
    encoder = NETWORKS[name][0]
    network = build_network(name, encoder=encoder, bands=1, classes=2, **options).eval()
    assert size_divisor(network) == divisor
    logits(network, 1, divisor)
    if name != "unet":  # smp's U-Net resizes its feature maps to any chip
        with pytest.raises((RuntimeError, ValueError)):
            logits(network, 1, divisor // 2 + divisor // 8)


def test_vision_transformers_run_at_any_size():
    encoder, options = NETWORKS["dpt"]
    network = build_network("dpt", encoder=encoder, bands=2, classes=2, **options).eval()
    assert size_divisor(network) == 32
    assert [logits(network, 2, size).shape[-1] for size in (32, 224, 288)] == [32, 224, 288]


def test_encoders_of_one_size_are_built_for_the_chip():
    encoder = "tu-swin_tiny_patch4_window7_224"
    with pytest.raises(ModelError, match="img_size=<chip size>"):
        build_network("unet", encoder=encoder, bands=2, classes=2)
    network = build_network("unet", encoder=encoder, bands=2, classes=2, img_size=96).eval()
    assert size_divisor(network) == 96
    assert logits(network, 2, 96).shape[-1] == 96
    check_chip_size(network, 64)
    with pytest.raises(ModelError, match="takes chips of 96 pixels, its img_size, not 128; use 96"):
        check_chip_size(network, 128)


def test_building_a_network_of_timm_leaves_its_batch_statistics_alone():
    network = build_network("unet", encoder="tu-resnet18", bands=2, classes=2)
    assert network.training
    counts = [value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")]
    assert counts
    assert not any(counts)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"architecture": "unett"}, ['no architecture "unett", did you mean "unet"?', "unet-classic", "dpt"]),
        ({"architecture": "UNet"}, ['did you mean "unet"?']),
        ({"encoder": "resnet81"}, ['"resnet81" does not fit unet', "resnet18, resnet34", "tu-<name>"]),
        ({"architecture": "unetplusplus", "encoder": "mit_b0"}, ["does not fit unetplusplus", "resnet18"]),
        ({"architecture": "linknet", "encoder": "mit_b0"}, ["does not fit linknet", "resnet18"]),
        ({"architecture": "pan", "encoder": "vgg11"}, ["does not fit pan", "mobilenet_v2"]),
        ({"architecture": "dpt", "encoder": "resnet18"}, ["does not fit dpt", "tu-vit_small_patch16_224"]),
        ({"encoder": "tu-vit_tiny_patch16_224"}, ["does not fit unet (Unsupported model downsampling"]),
        ({"architecture": "dpt", "encoder": "tu-vit_small_patch14_dinov2"}, ["divisible by 14"]),
        ({"encoder": "tu-resnet81"}, ['timm has no model "resnet81"', "tu-resnet18"]),
        ({"encoder": "tu-hf-hub:someone/something"}, ['timm has no model "hf-hub:someone/something"']),
        ({"encoder": "tu-local-dir:/tmp/x"}, ["timm has no model"]),
        ({"encoder_depht": 4}, ['no option "encoder_depht", did you mean "encoder_depth"?']),
        ({"encoder": "tu-resnet18", "checkpoint_path": "x.pth"}, ['no option "checkpoint_path"']),
        ({"activation": "softmax"}, ['no option "activation"']),
        ({"decoder_channels": (8, 8)}, ["unet with encoder resnet18 cannot be built", "decoder_channels"]),
        ({"bands": 0}, ["`bands` is 0"]),
        ({"classes": 2.5}, ["`classes` is 2.5"]),
        ({"architecture": "unet-classic", "encoder": "resnet18"}, ["has no encoder of its own"]),
        ({"architecture": "unet-classic", "encoder": None, "decoder_channels": 3}, ["depth, norm, width"]),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(arguments, words):
    arguments = {"architecture": "unet", "encoder": "resnet18", "bands": 2, "classes": 2} | arguments
    with pytest.raises(ModelError) as caught:
        build_network(**arguments)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18"])
def test_pretrained_encoders_say_that_there_is_no_network(encoder, monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"cannot be downloaded .*; check the network") as caught:
        build_network("unet", encoder=encoder, encoder_weights="imagenet", bands=2, classes=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bands", [3, 6])
def test_pretrained_encoders_are_used(bands, monkeypatch, tmp_path):
    """Weights in the hub's cache are taken; further bands start from the three that there are."""
    import huggingface_hub.constants
    from safetensors.torch import save_file
    from segmentation_models_pytorch.encoders import encoders, get_encoder

    source = encoders["mobilenet_v2"]["pretrained_settings"]["imagenet"]
    snapshot = tmp_path / f"models--{source['repo_id'].replace('/', '--')}" / "snapshots" / source["revision"]
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    pretrained = get_encoder("mobilenet_v2", weights=None).state_dict()
    save_file(pretrained, snapshot / "model.safetensors")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))

    network = build_network(
        "unet", encoder="mobilenet_v2", encoder_weights="imagenet", bands=bands, classes=3
    )
    found = network.encoder.state_dict()
    first = "features.0.0.weight"
    assert all(torch.equal(found[key], value) for key, value in pretrained.items() if key != first)
    for band in range(bands):
        torch.testing.assert_close(found[first][:, band], pretrained[first][:, band % 3] * 3 / bands)

    card = tiny_card(
        architecture="unet",
        encoder="mobilenet_v2",
        network={},
        bands=tuple(ModelBand(f"band {number}", 0, 1, 0, 1) for number in range(bands)),
    )
    folder = save_model(tmp_path / "model", card, network)
    assert json.loads((folder / "config.json").read_text())["encoder_weights"] is None


def test_pretrained_weights_that_do_not_exist_are_named():
    with pytest.raises(ModelError, match=r"imagnet.*Available options are.*'imagenet'"):
        build_network("unet", encoder="resnet18", encoder_weights="imagnet", bands=2, classes=2)
