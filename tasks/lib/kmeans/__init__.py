"""k-means with clusters of equal size."""
