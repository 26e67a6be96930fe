"""Options of ``--simplify`` and ``--smooth-borders``: how the borders of polygons are changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import SettingsError
from geoseg.raster.pixel_sizes import measure_pixel_sizes
from geoseg.scene.scene import Scene
from geoseg.units import Length, parse_length

MAX_ROUNDS = 4
"""Every round of smoothing doubles the vertices."""


@dataclass(frozen=True, slots=True)
class BorderOptions:
    """How the borders of a map are changed; by default they stay as they are.

    Attributes:
        tolerance: Farthest that simplifying may move a point of a border; None to replace only the
            staircases of pixels.
        rounds: How often to cut corners afterwards.
    """

    tolerance: Length | None = None
    rounds: int = 0

    @classmethod
    def read(cls, simplify: str | None, smooth_borders: int | None) -> BorderOptions:
        """Parse the two options.

        Args:
            simplify: Tolerance, as in ``"10m"`` or ``"2px"``; or None.
            smooth_borders: How often to cut corners; or None.

        Raises:
            SettingsError: If a value is wrong.
        """
        rounds = smooth_borders or 0
        if not 0 <= rounds <= MAX_ROUNDS:
            raise SettingsError(f"--smooth-borders {rounds}: corners can be cut 1 to {MAX_ROUNDS} times")
        return cls(None if simplify is None else parse_length(simplify, "--simplify"), rounds)

    def __bool__(self) -> bool:
        """Tell whether borders are changed at all."""
        return self.tolerance is not None or self.rounds > 0

    @property
    def in_metres(self) -> bool:
        """Whether the tolerance is in metres, so that the map must have a size on the Earth."""
        return self.tolerance is not None and not self.tolerance.in_pixels

    def check(self, polygons: Path | None, scene: Scene) -> None:
        """Check options that change borders, before a prediction begins.

        Args:
            polygons: File for the polygons, or None.
            scene: The scene to map.

        Raises:
            SettingsError: If there is no file for polygons, or the tolerance is in metres and the scene has
                no size on the Earth.
        """
        if polygons is None:
            raise SettingsError(
                "--simplify and --smooth-borders change polygons; give --polygons OUT.gpkg too"
            )
        place = scene.georeference
        if self.in_metres and measure_pixel_sizes(place.crs, place.transform, scene.shape) is None:
            raise SettingsError(
                f"{scene.name} has no CRS that ties it to the Earth, so --simplify cannot count metres; "
                "give pixels, as in 2px"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the report's entry."""
        return {
            "simplify": None if self.tolerance is None else str(self.tolerance),
            "smooth_borders": self.rounds,
        }

    def tags(self) -> dict[str, str]:
        """Return the metadata that changed borders add to a table."""
        found = {}
        if self.tolerance is not None:
            found["GEOSEG_SIMPLIFY"] = str(self.tolerance)
        if self.rounds:
            found["GEOSEG_SMOOTH_BORDERS"] = str(self.rounds)
        return found
