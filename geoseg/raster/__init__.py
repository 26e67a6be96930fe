"""What all rasters share: where their pixels lie, how large they are, what their values are called."""
