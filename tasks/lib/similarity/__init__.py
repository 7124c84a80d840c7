"""Similarity of records: cosines, a space of words, and the texts and vectors behind them."""
