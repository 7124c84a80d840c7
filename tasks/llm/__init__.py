"""Asking a language model, and understanding its answer."""
