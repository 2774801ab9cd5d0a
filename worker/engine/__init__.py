"""From an upright image to faces, embeddings and liveness."""
