"""The durable store of answers and of what every call cost, outside all of the graph's outputs."""
