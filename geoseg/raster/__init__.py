"""Rasters in general: georeference, pixel sizes, legends, connected components, GDAL handles."""

from geoseg.raster.projections import set_foreign_data_aside

set_foreign_data_aside()  # before any module of this package, and with it any process of a run, opens a file
