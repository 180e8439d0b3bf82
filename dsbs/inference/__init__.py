"""Inference with trained students: checkpoints, predictors, exports, metrics."""
