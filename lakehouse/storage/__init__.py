"""The only Spark configuration, the only Delta caller, and the object store."""
