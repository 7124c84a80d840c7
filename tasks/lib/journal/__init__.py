"""The durable store of answers and of what every call cost, outside all outputs of the graph."""
