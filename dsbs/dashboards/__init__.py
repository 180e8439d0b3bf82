"""Dashboards at W&B: a saved workspace and a report for the runs of a study."""
