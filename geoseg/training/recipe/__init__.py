"""The recipe: one TOML file that says what to train on what."""
