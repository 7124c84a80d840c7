"""Similarity of records: cosines, a word space, and the texts and vectors behind them."""
