"""What a small model on this machine responds to each instruction, and what that tells of it."""
