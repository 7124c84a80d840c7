"""clusters.json: how the stage cluster grouped the records."""

from tasks.lib.documents.document import Document


class Clusters(Document):
    """The document clusters.json.

    Attributes:
        mode: How prompts are composed of clusters.
        solver: The method that made the clusters.
        solver_reason: Why this method was used.
        inertia: Sum of squared distances to the centres, to 6 digits; the rest depends on the CPU.
    """

    mode: str
    solver: str
    solver_reason: str
    seed: int
    n_records: int
    n_prompts: int
    n_clusters: int
    candidates_per_prompt: int
    inertia: float
    cluster_sizes: tuple[int, ...]
