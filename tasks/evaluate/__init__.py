"""Fine-tune a model on the selection and on other records, and compare the models' answers."""
