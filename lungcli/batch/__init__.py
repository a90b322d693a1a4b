"""Archives: more slices than one machine likes, judged by many workers, with verdicts as Parquet in shards."""
