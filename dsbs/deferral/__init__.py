"""When a student shall leave an answer to its teacher: calibrated on validation, measured once on test."""
