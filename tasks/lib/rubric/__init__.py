"""The offline rubric: rules that rate an instruction, no language model."""
