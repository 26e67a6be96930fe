"""Put `sample_tiles` on the path: its scripts import one another by plain names."""

import sys
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "sample_tiles"
sys.path.insert(0, str(SAMPLES))
