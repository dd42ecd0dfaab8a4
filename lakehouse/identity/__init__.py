"""Accounts into creators: blocking keys, scored edges with evidence, clusters, stable creator ids."""
