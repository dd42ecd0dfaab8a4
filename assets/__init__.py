"""Thin Dagster assets, checks and resources over `lakehouse` and `index_build`. No domain logic."""
