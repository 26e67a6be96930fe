"""A QGIS Processing algorithm that maps a raster layer with ``geoseg predict`` and adds the results, styled.

It needs QGIS 3.22 or later and nothing of geoseg in QGIS's own Python: it starts the ``geoseg`` command,
wherever that is installed, as a process of its own. How to add it to the toolbox is in docs/qgis.md.
"""

from __future__ import annotations

import os
import queue
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingUtils,
    QgsSettings,
)

SETTING = "geoseg/command"
INTERRUPTED = 130
SECONDS_TO_STOP = 30
REASONS = ("geoseg: error", "geoseg: failed", "Error:")  # how the line begins that says why a run ended
PROGRESS = re.compile(r"^(?P<stage>[^:]+): (?P<done>[\d.]+)/(?P<total>[\d.]+) ")
# QGIS points these at its own Python and GDAL, which another program must not load.
FOREIGN = ("PYTHONHOME", "PYTHONPATH", "GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_LIB", "PROJ_DATA")
HELP = """Maps crops and land cover with a segmentation network: the class of every pixel, how sure the
network is of it, and the polygons of the map.

<b>Model</b>: the name of a bundled model or the folder of a model package; empty takes the bundled model that
fits the layer's bands, values and pixel size. A layer that does not fit is refused, with the option that
fixes it: give that in <b>Further options</b>, as on the command line (--bands 3,2,1 --scale 0.0001).

<b>geoseg command</b>: the full path of geoseg (geoseg.exe) if QGIS does not find it; it is remembered."""


class GeosegPredict(QgsProcessingAlgorithm):
    """Runs ``geoseg predict`` on a layer."""

    def name(self) -> str:
        """Its id in scripts and models."""
        return "geosegpredict"

    def displayName(self) -> str:
        """Its name in the toolbox."""
        return "Map crops and land cover (geoseg)"

    def group(self) -> str:
        """Its group in the toolbox."""
        return "geoseg"

    def groupId(self) -> str:
        """The group's id."""
        return "geoseg"

    def shortHelpString(self) -> str:
        """The text beside its parameters."""
        return HELP

    def createInstance(self) -> GeosegPredict:
        """Another one, for a run."""
        return GeosegPredict()

    def initAlgorithm(self, _configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        command = QgsProcessingParameterString("COMMAND", "geoseg command", default_command())
        options = QgsProcessingParameterString("OPTIONS", "Further options", "", optional=True)
        for parameter in (command, options):
            parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
        for parameter in (
            QgsProcessingParameterRasterLayer("INPUT", "Scene"),
            QgsProcessingParameterString("MODEL", "Model (name or folder)", "", optional=True),
            QgsProcessingParameterBoolean("POLYGONS", "Polygons", True),
            QgsProcessingParameterBoolean("CONFIDENCE", "Confidence", False),
            options,
            command,
            QgsProcessingParameterRasterDestination("OUTPUT", "Class map"),
        ):
            self.addParameter(parameter)
        self.addOutput(QgsProcessingOutputRasterLayer("CONFIDENCE_OUTPUT", "Confidence"))
        self.addOutput(QgsProcessingOutputVectorLayer("POLYGONS_OUTPUT", "Polygons"))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, str]:
        """Run the command and hand its files to QGIS."""
        layer = self.parameterAsRasterLayer(parameters, "INPUT", context)
        if layer.providerType() != "gdal":
            raise QgsProcessingException(f"{layer.name()} is no file that geoseg can read; export it first")
        program = self.parameterAsString(parameters, "COMMAND", context).strip() or default_command()
        class_map = Path(self.parameterAsOutputLayer(parameters, "OUTPUT", context))
        outputs = {"OUTPUT": class_map}
        arguments = [program, "predict", layer.source(), "-o", str(class_map), "--overwrite"]
        model = self.parameterAsString(parameters, "MODEL", context).strip()
        if model:
            arguments += ["--model", model]
        if self.parameterAsBoolean(parameters, "CONFIDENCE", context):
            outputs["CONFIDENCE_OUTPUT"] = class_map.with_name(f"{class_map.stem}_confidence.tif")
            arguments += ["--confidence", str(outputs["CONFIDENCE_OUTPUT"])]
        if self.parameterAsBoolean(parameters, "POLYGONS", context):
            outputs["POLYGONS_OUTPUT"] = class_map.with_name(f"{class_map.stem}_polygons.gpkg")
            arguments += ["--polygons", str(outputs["POLYGONS_OUTPUT"])]
        arguments += shlex.split(self.parameterAsString(parameters, "OPTIONS", context))
        run(arguments, feedback)
        QgsSettings().setValue(SETTING, program)
        show(outputs, layer.name(), context)
        return {name: str(path) for name, path in outputs.items()}


def default_command() -> str:
    """The command that worked last, else the one on the search path, else its plain name."""
    return QgsSettings().value(SETTING, "") or shutil.which("geoseg") or "geoseg"


def run(arguments: list[str], feedback: QgsProcessingFeedback) -> None:
    """Run a command, show what it says and how far it is, and stop it when the user cancels.

    Raises:
        QgsProcessingException: With the command's own error line, if it fails or cannot be started.
    """
    feedback.pushCommandInfo(shlex.join(arguments))
    process = start(arguments)
    reason = ""
    for line in lines_of(process, feedback):
        reason = line if line.startswith(REASONS) or not reason.startswith(REASONS) else reason
        step = PROGRESS.match(line)
        if step and float(step["total"]):
            feedback.setProgressText(step["stage"])
            feedback.setProgress(100 * float(step["done"]) / float(step["total"]))
        feedback.pushConsoleInfo(line)
    if feedback.isCanceled() or process.returncode == INTERRUPTED:
        raise QgsProcessingException("geoseg was stopped; no output was written")
    if process.returncode:
        raise QgsProcessingException(reason or f"geoseg ended with exit code {process.returncode}")


def start(arguments: list[str]) -> subprocess.Popen[str]:
    """Start a command without what QGIS set up for itself.

    Raises:
        QgsProcessingException: If there is no such command.
    """
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows alone has consoles to hide
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            creationflags=hidden,
        )
    except OSError as error:
        raise QgsProcessingException(
            f"{arguments[0]} cannot be started ({error.strerror}); give the full path of the geoseg command "
            "under Advanced Parameters"
        ) from error


def lines_of(process: subprocess.Popen[str], feedback: QgsProcessingFeedback) -> Iterator[str]:
    """What a process says, line by line until it ends; when the user cancels it is ended."""
    said: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=listen, args=(process, said), daemon=True).start()
    stopping = False
    while True:
        if feedback.isCanceled() and not stopping:
            stopping = True
            process.terminate()  # geoseg removes its unfinished files
            last_resort = threading.Timer(SECONDS_TO_STOP, process.kill)
            last_resort.daemon = True
            last_resort.start()
        try:
            line = said.get(timeout=0.2)
        except queue.Empty:
            continue
        if line is None:
            return
        yield line.rstrip()


def listen(process: subprocess.Popen[str], said: queue.Queue[str | None]) -> None:
    """Pass on every line, then None: a read that waits must not keep the user from cancelling."""
    with process:
        for line in process.stdout or ():
            said.put(line)
    said.put(None)


class Styled(QgsProcessingLayerPostProcessorInterface):
    """Gives a layer the style that lies in or beside its file: Processing loads results without it."""

    # QGIS keeps no reference of its own to Python's post-processors.
    kept: ClassVar[list[Styled]] = []

    def __init__(self) -> None:
        super().__init__()
        Styled.kept.append(self)

    def postProcessLayer(
        self, layer: Any, _context: QgsProcessingContext, _feedback: QgsProcessingFeedback
    ) -> None:
        """Load the default style."""
        layer.loadDefaultStyle()
        layer.triggerRepaint()


TITLES = {"OUTPUT": "classes", "CONFIDENCE_OUTPUT": "confidence", "POLYGONS_OUTPUT": "polygons"}


def show(outputs: dict[str, Path], scene: str, context: QgsProcessingContext) -> None:
    """Ask QGIS to add the files if it is to add the class map, which the user says in the dialog."""
    if not context.willLoadLayerOnCompletion(str(outputs["OUTPUT"])):
        return
    project = context.layerToLoadOnCompletionDetails(str(outputs["OUTPUT"])).project
    for name, path in outputs.items():
        kind = (
            QgsProcessingUtils.LayerHint.Vector
            if path.suffix == ".gpkg"
            else QgsProcessingUtils.LayerHint.Raster
        )
        details = QgsProcessingContext.LayerDetails(f"{scene} {TITLES[name]}", project, name, kind)
        details.setPostProcessor(Styled())
        context.addLayerToLoadOnCompletion(str(path), details)
