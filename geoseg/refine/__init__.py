"""Clean-up between deciding classes and tracing polygons: optional steps that change the class map."""
