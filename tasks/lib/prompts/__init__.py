"""Decide which candidates make up each prompt, and how many of them the prompt picks."""
