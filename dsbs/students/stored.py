"""The settings of dsbs in a checkpoint's ``config.json``."""

SETTINGS = "dsbs"  # the key of our settings in a checkpoint's config.json
PREFIXES = ("target", "input")  # where the task prefixes are
