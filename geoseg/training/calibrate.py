"""One temperature for all logits, fitted on the ground that validates (Guo et al. 2017)."""

from __future__ import annotations

from typing import Any

_MOST_PIXELS = 400_000


def fit_temperature(logits: Any, labels: Any) -> float:
    """The temperature that makes the labels likeliest.

    Args:
        logits: torch float32 (pixels, classes).
        labels: torch int64 (pixels,).

    Returns:
        What logits are to be divided by, 0.05 to 20; 1 without pixels.
    """
    import torch
    from torch.nn.functional import cross_entropy

    if not len(labels):
        return 1.0
    logarithm = torch.zeros((), dtype=torch.float64, requires_grad=True)
    exact = logits.double()
    optimiser = torch.optim.LBFGS([logarithm], lr=0.5, max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimiser.zero_grad()
        loss = cross_entropy(exact / logarithm.exp(), labels)
        loss.backward()
        return loss

    optimiser.step(closure)
    return min(max(float(logarithm.detach().exp()), 0.05), 20.0)


def collect_logits(network: Any, batches: Any, device: str) -> tuple[Any, Any]:
    """Logits and labels of validation pixels, thinned out evenly to about 400,000.

    Args:
        network: In evaluation mode on ``device``.
        batches: (chips, labels) batches that can be gone through once.
        device: Where to compute, fp32.

    Returns:
        float32 (pixels, classes) and int64 (pixels,), on the CPU.
    """
    import torch
    from torch.nn.functional import interpolate

    from geoseg.training.augment.chip import IGNORE

    kept: list[tuple[Any, Any]] = []
    step, total = 1, 0
    with torch.inference_mode():
        for chips, labels in batches:
            logits = network(chips.to(device)).float()
            if logits.shape[-2:] != labels.shape[-2:]:
                logits = interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
            known = (labels != IGNORE).flatten()
            flat = logits.movedim(1, -1).flatten(0, 2).cpu()
            kept.append((flat[known][::step], labels.flatten()[known][::step].long()))
            total += len(kept[-1][1])
            while total > _MOST_PIXELS:
                step, kept = step * 2, [(x[::2], y[::2]) for x, y in kept]
                total = sum(len(y) for _, y in kept)
    if not kept:
        return torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64)
    return torch.cat([x for x, _ in kept]).clone(), torch.cat([y for _, y in kept]).clone()


def temperature_of(network: Any, chips: Any, device: str) -> float:
    """Fit the temperature of a trained network on the chips that validate.

    Args:
        network: The network; in evaluation mode on ``device`` afterwards.
        chips: ``ValidationChips``.
        device: Where to compute.
    """
    import torch

    network.eval().to(device)
    pairs = (chips[number] for number in range(len(chips)))
    batches = ((torch.from_numpy(values)[None], torch.from_numpy(labels)[None]) for values, labels in pairs)
    return fit_temperature(*collect_logits(network, batches, device))
