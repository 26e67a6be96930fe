"""Progress that remembers what was said."""

from __future__ import annotations

from geoseg.progress import Silent


class Saying(Silent):
    """Shows nothing, and keeps every line."""

    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)
