"""Recipes of tests of training and of cross-validation, and a run that is interrupted."""

from __future__ import annotations

import contextlib

RECIPE = """
scenes = "scene.tif"
labels = "scene_labels.tif"
[classes]
2 = "corn"
5 = "grass"
7 = "water"
[split]
block_size = "40px"
folds = 3
buffer = "4px"
[chips]
size = 32
batch_size = 8
per_epoch = 32
workers = 0
[model]
architecture = "unet-classic"
options = { depth = 2, width = 8 }
chip_size = 64
overlap = 16
[run]
epochs = 4
precision = "fp32"
rate = 0.01
"""
SHORT = (
    RECIPE.replace("epochs = 4", "epochs = 2").replace('"40px"', '"65px"').replace("folds = 3", "folds = 2")
)
SHORT = SHORT.replace("[model]", '[model]\nprecision = "fp16"')  # what is measured is what is stored
KEPT = SHORT + 'keep = "last"\n'


class Interrupting:
    """Progress that interrupts the run after some batches, as Ctrl-C does."""

    def __init__(self, after):
        self.left, self.said = after, []

    def stage(self, *_):
        return contextlib.nullcontext(self)

    def advance(self, _done):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def say(self, message):
        self.said.append(message)
