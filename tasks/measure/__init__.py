"""The step measure: measure every selection and compare it with random ones."""
