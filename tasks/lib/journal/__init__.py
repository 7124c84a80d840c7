"""The durable store of answers and of what every call cost, outside every output of the graph."""
