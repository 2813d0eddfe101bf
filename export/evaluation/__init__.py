"""Evaluation of a head: accuracy with intervals, calibration, robustness, report. Must not import `training`."""
