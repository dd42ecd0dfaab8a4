"""Served tables (one row per creator, account, metric day) and their plain-Parquet export."""
