"""Several frozen networks with one head, on their embeddings side by side."""
