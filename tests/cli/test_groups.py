"""Options and arguments stand in the same groups and order: in the help, in signatures, in docstrings."""

from __future__ import annotations

import inspect
import re

import click
import pytest

import geoseg
from geoseg.cli import cli, run
from geoseg.cli.groups import GROUPS, MOST_USED

VERBS = {**cli.commands, **cli.commands["models"].commands}
FUNCTIONS = [name for name in GROUPS if hasattr(geoseg, name)]


def options_of(verb):
    return {option.name: option for option in VERBS[verb].params if isinstance(option, click.Option)}


def groups_in_help(verb, capsys):
    """Title of a group -> the options below it, by their Python names."""
    words = [verb] if verb in cli.commands else ["models", verb]
    assert run([*words, "--help"]) == 0
    names = {flag: name for name, option in options_of(verb).items() for flag in option.opts}
    groups = {}
    for line in capsys.readouterr().out.partition("\nVariables set options")[0].splitlines():
        if re.fullmatch(r"\w.*:", line):
            groups[line[:-1]] = shown = []
        elif (found := re.match(r"  (?:-\w, )?(--[\w-]+)", line)) and groups:
            shown.append(names.get(found[1], found[1]))
        elif groups:
            assert not re.match(r"  \S", line), f"no option: {line}"
    return {title: tuple(names) for title, names in groups.items() if names}


def groups_in_docstring(function):
    body = re.search(r"\n    Args:\n(.*?)\n\n    \w+:\n", function.__doc__, re.DOTALL)[1]
    groups = {None: []}
    for line in body.splitlines():
        if found := re.fullmatch(r" {8}\*\*(.*)\*\*", line):
            groups[found[1]] = []
        elif found := re.match(r" {8}(\w+): ", line):
            next(reversed(groups.values())).append(found[1])
    return {title: tuple(names) for title, names in groups.items()}


def only(groups, names):
    """The groups, with nothing but these names in them."""
    kept = {title: tuple(name for name in group if name in names) for title, group in groups.items()}
    return {title: group for title, group in kept.items() if group}


@pytest.mark.parametrize("verb", [verb for verb in VERBS if not isinstance(VERBS[verb], click.Group)])
def test_help_shows_every_option_in_its_group(verb, capsys):
    options, shown = options_of(verb), groups_in_help(verb, capsys)
    last = next(reversed(shown))
    assert shown[last][-1] == "--help"
    shown[last] = shown[last][:-1]
    assert {name for group in shown.values() for name in group} == set(options)
    if len(options) > 3:
        assert shown == only(GROUPS[verb], options)


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_arguments_stand_in_the_groups_of_the_options(verb):
    parameters = inspect.signature(getattr(geoseg, verb)).parameters
    documented = groups_in_docstring(getattr(geoseg, verb))
    without_group = documented.pop(None)
    assert documented == only(GROUPS[verb], parameters)
    assert [*without_group, *(name for group in documented.values() for name in group)] == list(parameters)
    assert not {*without_group} & {*options_of(verb)}


@pytest.mark.parametrize("verb", GROUPS)
def test_the_table_names_nothing_that_is_not_there(verb):
    names = [name for group in GROUPS[verb].values() for name in group]
    assert len(set(names)) == len(names)
    arguments = inspect.signature(getattr(geoseg, verb)).parameters if verb in FUNCTIONS else {}
    assert set(names) <= {*options_of(verb), *arguments, "progress", "quiet", "debug"}
    assert len(GROUPS[verb].get(MOST_USED, ())) <= 10


@pytest.mark.parametrize("columns", [80, 110])
def test_help_fits_a_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    for verb in cli.commands:
        assert run([verb, "--help"]) == 0
        text = capsys.readouterr().out.partition("Examples:")[0]
        assert max(map(len, text.splitlines())) <= columns
