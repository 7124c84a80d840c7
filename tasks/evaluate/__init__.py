"""Fine-tune a model on the selection and on other records, and compare what the models say."""
