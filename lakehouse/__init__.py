"""All domain logic and Spark/Delta. Knows nothing of Dagster, FAISS or FastAPI."""
