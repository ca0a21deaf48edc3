"""Tables of images: CSV, TSV, JSON lines and Parquet files with a path and a label in each row."""
