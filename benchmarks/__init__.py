"""Repeatable measurements. Each module runs as `python -m benchmarks.NAME` and leaves `results/NAME.json`."""
