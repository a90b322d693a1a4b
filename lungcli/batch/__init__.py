"""Batch prediction: large archives of slices, predicted by many workers, with predictions in Parquet shards."""
