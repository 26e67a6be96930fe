"""The recipe: one TOML file with the scenes, labels, classes and settings of a training run."""
