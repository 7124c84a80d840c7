"""Code that several steps share. Packages import only downwards: core is the lowest."""
