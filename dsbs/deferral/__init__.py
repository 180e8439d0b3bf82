"""Deferral: when a student leaves an answer to its teacher; calibrated on validation, measured once on test."""
