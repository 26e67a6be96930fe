"""``geoseg models``."""

from __future__ import annotations

import click


@click.group(short_help="The models that are there, and what they are worth.")
def models() -> None:
    """List models and show what they read, what they tell apart, and how well."""


@models.command("list")
def list_models() -> None:
    """List the bundled models."""
    from geoseg.models import bundled_models, load_card

    for name in bundled_models():
        card = load_card(name)
        bands = ", ".join(card.band_names)
        about = "about " if card.gsd_estimated else ""
        gsd = "" if card.gsd is None else f" at {about}{card.gsd:g} m a pixel"
        click.echo(
            f"{name}: {len(card.classes)} classes from {len(card.bands)} bands ({bands}), {card.units}{gsd}"
        )


@models.command()
@click.argument("model", metavar="NAME|DIR|ZIP|hf://")
def show(model: str) -> None:
    """Show a model's card: bands, classes, scores, and where it is and is not to be trusted."""
    from geoseg.models import describe, load_card

    click.echo(describe(load_card(model)))
