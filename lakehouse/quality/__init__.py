"""Structural checks derived from the contracts and expectations on silver and gold."""
