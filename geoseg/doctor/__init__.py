"""Whether a scene fits a model, and what to do where it does not."""
