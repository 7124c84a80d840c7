"""Ways to choose records without a language model: what a model's selection is held against."""
