"""What a network says of a sample of its held-out ground, for its temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from geoseg.inference.backends.torch_ import TorchBackend
from geoseg.inference.reading import Normalisation
from geoseg.models import Model, size_divisor
from geoseg.training.ground.ground import Ground, LabelCells
from geoseg.training.ground.regions import Region
from geoseg.training.held_out.logits import Sampler
from geoseg.training.held_out.maps import settings_of

if TYPE_CHECKING:
    from geoseg.training.held_out.calibrate import Sample


def draw_sample(
    model: Model,
    grounds: Sequence[Ground],
    cells: Sequence[LabelCells],
    regions: Sequence[Region],
    tta: str,
    *,
    device: str,
    seed: int,
    share: float = 1.0,
) -> Sample:
    """Logits of held-out ground, from the forwards that ``predict`` would run.

    Args:
        model: The model.
        grounds: The scenes.
        cells: All labels, counted, by scene.
        regions: Ground that the model was not trained on.
        tta: The test-time augmentation to fit for.
        device: Where to compute.
        seed: Decides which pixels are drawn.
        share: How much of the bounds of a sample this one may take.
    """
    settings = settings_of(model, device, tta)
    backend = TorchBackend(
        model.network,
        device=settings.device,
        precision=settings.precision,
        batch_size=settings.batch_size,
        divisor=size_divisor(model.network),
    )
    sampler = Sampler(
        tuple(grounds),
        tuple(cells),
        Normalisation(model.card.means, model.card.stds),
        len(model.classes),
        settings.chip_size,
        settings.overlap,
        seed,
        share,
    )
    return sampler.draw(backend, regions, tta)
