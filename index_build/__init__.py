"""FAISS snapshots over exported Parquet: train, encode, validate, publish, roll back. No Spark, no Dagster."""
