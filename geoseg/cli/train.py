"""``geoseg train``."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.command import Verb
from geoseg.cli.options import split_list, talk_options

FILE = click.Path(dir_okay=False, path_type=Path)


EXAMPLES = """\b
Examples:
  geoseg train --example > crops.toml              a recipe with every setting, to start from
  geoseg train crops.toml --check                  what is wrong with the labels?
  geoseg train crops.toml --preview chips.png      look at augmented chips and their labels first
  geoseg train crops.toml -o my-crops
  geoseg train crops.toml -o my-crops --resume     continue where it was interrupted
  geoseg train crops.toml -o my-crops --cross-validate
  geoseg predict scene.tif --model my-crops
"""


def _numbers(text: str) -> list[int]:
    """Turn ``"0,2"`` into ``[0, 2]``."""
    items = split_list(text)
    for item in items:
        if not item.isdecimal():
            raise click.BadParameter(f'"{item}" is not the number of a fold; write 0,2')
    return [int(item) for item in items]


@click.command(cls=Verb, short_help="Train a model on your own labels.", epilog=EXAMPLES)
@click.argument("recipe", type=FILE, required=False, metavar="RECIPE.toml")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="MODEL_DIR",
    help="The model package [default: the recipe's name here].",
)
@click.option(
    "--cross-validate",
    is_flag=True,
    help="Measure the recipe with a network for every fold, then train one on all ground.",
)
@click.option(
    "--folds",
    metavar="K,K,...",
    type=_numbers,
    help="With --cross-validate: train only these folds now [default: all].",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run from its last finished epoch.")
@click.option("--overwrite", is_flag=True, help="Replace a finished package and unfinished work.")
@click.option("--force", is_flag=True, help="Go on although much of the labels is left out.")
@click.option("--example", is_flag=True, help="Print a commented recipe with every setting, and stop.")
@click.option(
    "--preview", type=FILE, metavar="OUT.png", help="Write a sheet of augmented chips with labels, and stop."
)
@click.option("--check", is_flag=True, help="Say what is wrong with labels and scenes, and stop.")
@click.option("--report", type=FILE, metavar="OUT.json", help="With --check: write what was found here too.")
@talk_options
@click.pass_context
def train(
    context: click.Context,
    /,
    quiet: bool,
    recipe: Path | None,
    output: Path | None,
    cross_validate: bool,
    folds: list[int] | None,
    resume: bool,
    overwrite: bool,
    force: bool,
    example: bool,
    preview: Path | None,
    check: bool,
    report: Path | None,
) -> None:
    """Train a network as RECIPE.toml says, and write a model package.

    The smallest recipe names scenes, labels and classes. Ground is held out in spatial blocks to choose the
    best epoch and to measure it; the package's card says how good the model is there. With --cross-validate
    every block is held out once, and the model is trained on all of them. An interrupted run continues with
    --resume and gives the same weights.

    With --check nothing is trained: exits with 0 when training would run, with 2 when it would refuse.
    """
    if example:
        from geoseg.training.recipe.example import example as write_example

        click.echo(write_example(), nl=False)
        return
    if recipe is None:
        raise click.UsageError("name a recipe; `geoseg train --example > crops.toml` writes one")
    if report is not None and not check:
        raise click.UsageError("--report goes with --check")
    from geoseg.cli.progress import choose_progress

    if check:
        from geoseg.training.label_check.check import check_labels

        found = check_labels(
            recipe, report=report, overwrite=overwrite, progress=choose_progress(quiet=quiet)
        )
        click.echo(found.text())
        context.exit(0 if found.can_train else 2)
    from geoseg.verbs import train as run

    if preview is not None:
        click.echo(run.preview(recipe, preview, overwrite=overwrite))
        return
    result = run.train(
        recipe,
        output,
        cross_validate=cross_validate,
        folds=folds,
        resume=resume,
        overwrite=overwrite,
        force=force,
        progress=choose_progress(quiet=quiet),
    )
    click.echo(result.model)
