"""Raw input into `landing/`: declared file mappings and the landing writer. No Spark, no normalisation of values."""
