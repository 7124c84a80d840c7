"""How similar records are: cosines, spaces of words, and the texts and vectors they rest on."""
