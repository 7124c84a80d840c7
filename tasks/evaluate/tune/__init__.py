"""The tune stage: fine-tune the model on each arm, and let it answer the test records."""
