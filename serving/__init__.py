"""The search service and its web page. No Spark, no Dagster."""
