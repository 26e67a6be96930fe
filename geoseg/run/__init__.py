"""The verbs: stages composed into whole runs."""
