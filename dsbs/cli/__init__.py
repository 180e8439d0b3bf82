"""The frame of the commands: Hydra and OmegaConf live here alone."""
