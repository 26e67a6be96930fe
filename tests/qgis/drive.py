"""Runs in QGIS's own Python: finds the Processing script as the toolbox does and runs it on a layer.

    QT_QPA_PLATFORM=offscreen python3 drive.py SCRIPT_FOLDER [--cancel] < parameters.json > done.json

Results are added to a project, as after a click on Run. With ``--cancel`` the user cancels at the first sign of life.
"""

from __future__ import annotations

import json
import sys

from look import describe
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsRasterLayer,
)


class Watched(QgsProcessingFeedback):
    """Keeps what an algorithm says and how far it is."""

    def __init__(self, cancels):
        super().__init__(False)
        self.cancels, self.said, self.stages, self.commands, self.errors = cancels, [], [], [], []
        self.steps = []
        self.progressChanged.connect(self.steps.append)

    def pushConsoleInfo(self, info):
        self.said.append(info)
        if self.cancels:
            self.cancel()

    def pushCommandInfo(self, info):
        self.commands.append(info)

    def setProgressText(self, text):
        self.stages.append(text)

    def reportError(self, error, _fatal=False):
        self.errors.append(error)


def run(folder, parameters, feedback):
    """Run the script in a project; returns its results, or its error, and the layers it added."""
    from processing.core.Processing import Processing
    from processing.core.ProcessingConfig import ProcessingConfig
    from processing.gui.Postprocessing import handleAlgorithmResults
    from processing.script.ScriptUtils import SCRIPTS_FOLDERS

    Processing.initialize()
    ProcessingConfig.setSettingValue(SCRIPTS_FOLDERS, folder)
    QgsApplication.processingRegistry().providerById("script").refreshAlgorithms()
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("script:geosegpredict")
    project = QgsProject.instance()
    project.addMapLayer(QgsRasterLayer(parameters["INPUT"], "my scene"))
    parameters["INPUT"] = next(iter(project.mapLayers()))
    context = QgsProcessingContext()
    context.setProject(project)
    context.setFeedback(feedback)
    parameters["OUTPUT"] = QgsProcessingOutputLayerDefinition(parameters["OUTPUT"], project)  # and open it
    done = {
        "name": algorithm.displayName(),
        "parameters": [p.name() for p in algorithm.parameterDefinitions()],
    }
    try:
        done["results"] = Processing.runAlgorithm(
            algorithm, parameters, handleAlgorithmResults, feedback, context
        )
    except QgsProcessingException as error:
        done["error"] = str(error)
    layers = [layer for layer in project.mapLayers().values() if layer.id() != parameters["INPUT"]]
    return done | {"layers": {layer.name(): describe(layer) for layer in layers}}


def main():
    """Run and print what happened."""
    application = QgsApplication([], False)
    application.initQgis()
    sys.path.append(QgsApplication.pkgDataPath() + "/python/plugins")
    feedback = Watched("--cancel" in sys.argv)
    done = run(sys.argv[1], json.load(sys.stdin), feedback)
    done |= {name: getattr(feedback, name) for name in ("said", "stages", "commands", "errors", "steps")}
    print(json.dumps(done))
    QgsProject.instance().clear()
    application.exitQgis()


if __name__ == "__main__":
    main()
