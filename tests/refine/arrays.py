"""Refine maps that are arrays."""

from __future__ import annotations

from geoseg.refine.step import RowFile, refine_map


def refine_array(classes, steps, probabilities=None, rows=None):
    """Apply steps to uint8 (rows, columns), with probabilities uint8 (bands, rows, columns); see ``refine_map``."""
    given = RowFile((classes.shape[0], classes.shape[1]))
    given.write(0, classes)
    read = None if probabilities is None else lambda row, height: probabilities[:, row : row + height]
    refined = refine_map(given, steps, probabilities=read, rows=rows)
    try:
        return refined.read(0, classes.shape[0])
    finally:
        refined.close()
