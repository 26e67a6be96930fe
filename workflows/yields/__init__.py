"""The parts of ``yield_forecast.py``: from polygons and scenes of a season to yields with intervals."""
