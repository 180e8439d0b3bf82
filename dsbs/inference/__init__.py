"""A trained student at work: loaded, asked, measured."""
