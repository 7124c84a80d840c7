"""The llm_select step: let a model rank the most valuable records of each prompt."""

import os

# pyarrow reads this on import. Its default pool keeps freed memory, about 10 MB.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
