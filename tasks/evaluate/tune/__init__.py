"""The tune stage: fine-tune the model on each arm, and have it answer the test records."""
