"""Examples from rows: files of many forms or the hub, which column is what, and what is wrong with them."""
