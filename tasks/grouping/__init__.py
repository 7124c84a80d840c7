"""Groups of equal size, and prompts made of them."""
