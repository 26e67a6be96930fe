"""The groups in which options are shown: by ``geoseg VERB --help``, and in the docstrings of the Python API.

Names are those of the Python arguments. What a verb's table lists first is shown first.
"""

from __future__ import annotations

MOST_USED = "Most used"
INPUT = "Input"
OUTPUTS = "Outputs"
MODEL = "Model"
CLEAN_UP = "Clean-up"
SPEED = "Speed and memory"
RUN = "Run"

Groups = dict[str, tuple[str, ...]]

_SAID = ("progress", "quiet", "debug")
_READ = ("bands", "nodata", "scale", "offset", "atmosphere", "warp")
_REFINE = ("smooth", "opening", "closing", "fill_holes")

GROUPS: dict[str, Groups] = {
    "predict": {
        MOST_USED: (
            "output",
            "polygons",
            "confidence",
            "model",
            "bands",
            "scale",
            "aoi",
            "sieve",
            "simplify",
            "overwrite",
        ),
        INPUT: ("nodata", "offset", "atmosphere", "warp", "skip_bad_blocks", "date", "force"),
        OUTPUTS: ("probabilities", "stats", "report"),
        MODEL: ("chip_size", "overlap", "tta"),
        CLEAN_UP: (*_REFINE, "smooth_borders"),
        SPEED: (
            "device",
            "backend",
            "precision",
            "max_memory",
            "workers",
            "dask",
            "concurrency",
            "batch_size",
            "block_size",
        ),
        RUN: ("dry_run", "resume", *_SAID),
    },
    "polygonize": {
        MOST_USED: (
            "output",
            "confidence",
            "probabilities",
            "min_area",
            "classes",
            "sieve",
            "simplify",
            "stats",
            "stats_from",
            "overwrite",
        ),
        INPUT: ("date", "force"),
        OUTPUTS: ("refined", "fiboa", "report"),
        CLEAN_UP: (*_REFINE, "smooth_borders"),
        SPEED: ("max_memory", "workers", "block_size"),
        RUN: _SAID,
    },
    "evaluate": {
        MOST_USED: (
            "labels",
            "scene",
            "confidence",
            "report",
            "label_column",
            "aoi",
            "contradictions",
            "draw_sample",
            "output",
            "overwrite",
        ),
        INPUT: ("remap", "ignore", "force"),
        "Measures": ("tolerances", "blocks", "replicates", "seed"),
        MODEL: _READ,
        SPEED: ("device", "backend", "precision", "window_size"),
        RUN: _SAID,
    },
    "inspect": {
        INPUT: ("model", *_READ, "date"),
        OUTPUTS: ("json",),
        RUN: _SAID,
    },
    "train": {
        OUTPUTS: ("output", "resume", "overwrite"),
        "Instead of training": ("example", "check", "preview", "report"),
        "Cross-validation": ("cross_validate", "folds"),
        RUN: ("force", *_SAID),
    },
    "export": {
        OUTPUTS: ("output", "to", "chip_size", "overwrite"),
        RUN: _SAID,
    },
    "push": {
        MOST_USED: ("private", "message"),
        RUN: _SAID,
    },
    "import": {
        MOST_USED: ("output", "bands", "classes", "mean", "std", "gsd", "overwrite"),
        "Values": ("scale", "offset", "value_range", "transforms", "units"),
        "Network": ("architecture", "encoder", "network", "chip_size", "overlap"),
        "Card": ("name", "license", "citation"),
        RUN: _SAID,
    },
    "quantize": {
        MOST_USED: ("scenes", "labels", "output", "overwrite"),
        INPUT: ("label_column", "aoi", *_READ, "force"),
        "Measures": ("chips", "seed"),
        RUN: _SAID,
    },
}
"""Verb -> title of a group -> its options. Verbs with two or three options need no groups."""
