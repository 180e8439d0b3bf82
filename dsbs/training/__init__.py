"""A training run, from its settings to its written results: plan, fit, measure, save."""
