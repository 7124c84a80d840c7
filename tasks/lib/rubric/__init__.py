"""The offline rubric: rules that rate an instruction without a language model."""
