"""The input doctor: check whether a scene fits a model, and suggest fixes where it does not."""
