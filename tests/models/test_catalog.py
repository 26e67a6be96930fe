from __future__ import annotations

import pytest
import torch

from geoseg.errors import ModelError
from geoseg.models import architectures, encoders_for
from geoseg.models.catalog import SMP_CLASSES


def test_all_of_smp_is_there():
    import segmentation_models_pytorch as smp

    assert set(architectures()) == {*smp.MODEL_ARCHITECTURES_MAPPING, "unet-classic", "dynamic-world"}
    assert {name: kind.__name__ for name, kind in smp.MODEL_ARCHITECTURES_MAPPING.items()} == SMP_CLASSES


def test_encoders_are_those_that_smp_builds():
    """Every encoder that is left out is one that smp refuses, and none that it refuses is listed."""
    import segmentation_models_pytorch as smp
    from segmentation_models_pytorch.encoders import encoders

    one_of_each_kind = (
        "resnet18",
        "vgg11",
        "densenet121",
        "mobilenet_v2",
        "xception",
        "mit_b0",
        "mobileone_s0",
    )
    for architecture in ("unetplusplus", "pan"):
        fitting = encoders_for(architecture)
        assert set(fitting) <= set(encoders)
        for encoder in one_of_each_kind:
            # Without memory for weights it is fast; the mix transformer cannot be built so.
            with torch.device("cpu" if encoder == "mit_b0" else "meta"):
                try:
                    smp.create_model(architecture, encoder, encoder_weights=None)
                except ValueError:
                    assert encoder not in fitting, (architecture, encoder)
                else:
                    assert encoder in fitting, (architecture, encoder)


def test_vision_transformers_for_dpt():
    import timm

    names = encoders_for("dpt")
    assert "tu-vit_tiny_patch16_224" in names
    assert all(timm.is_model(name.removeprefix("tu-")) for name in names)
    assert not any("patch14" in name for name in names)


def test_no_encoder_without_a_choice():
    assert encoders_for("unet-classic") == ()
    with pytest.raises(ModelError, match='did you mean "segformer"'):
        encoders_for("segfomer")
