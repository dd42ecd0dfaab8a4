"""Normalised accounts, posts, metrics and links. Text and number rules live here; identity does not."""
