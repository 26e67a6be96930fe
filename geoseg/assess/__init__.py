"""How good a map is: metrics with confidence intervals, calibration, class areas, reports."""
