"""From settings to a finished run: plan, fit, measure, write down."""
