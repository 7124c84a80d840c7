"""The measure step: measure every selection and compare it with random ones."""
