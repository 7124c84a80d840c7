"""The durable store of answers and of the cost of every call, outside all outputs of the graph."""
