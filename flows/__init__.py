"""When the steps run, how often they are retried, and who learns the result."""
