"""Decide which candidates make up a prompt, and how many of them it picks."""
