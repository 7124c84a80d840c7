"""The measure step, which measures every selection and compares it with random ones."""
