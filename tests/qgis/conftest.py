"""QGIS's own Python, where there is one: what QGIS makes of files is asked there, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
FOREIGN = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "GDAL_DATA", "PROJ_LIB", "PROJ_DATA")


@dataclass(frozen=True)
class Qgis:
    """Runs the scripts of this folder in QGIS's Python, without a screen and with settings of their own."""

    python: str
    home: Path

    def run(self, script: str, *arguments: str, given: Any, **more: str) -> Any:
        """Give a script JSON, and more environment; get its JSON."""
        command = [self.python, str(HERE / script), *arguments]
        done = subprocess.run(
            command,
            input=json.dumps(given),
            env=environment(self.home) | more,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "XDG_DATA_HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture(scope="session")
def qgis(tmp_path_factory) -> Qgis:
    """QGIS's Python: what GEOSEG_QGIS_PYTHON names, else the system's."""
    home = tmp_path_factory.mktemp("qgis")
    home.chmod(0o700)
    named = os.environ.get("GEOSEG_QGIS_PYTHON")
    for python in (named,) if named else ("/usr/bin/python3", shutil.which("python3")):
        command = [python, "-c", "import qgis.core"]
        if (
            python
            and subprocess.run(command, env=environment(home), capture_output=True, check=False).returncode
            == 0
        ):
            return Qgis(python, home)
    pytest.skip(
        "no Python here imports qgis.core (Debian: apt-get install python3-qgis; GEOSEG_QGIS_PYTHON names it)"
    )
