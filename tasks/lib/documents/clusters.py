"""clusters.json: how the cluster stage grouped the records."""

from tasks.lib.documents.document import Document


class Clusters(Document):
    """The clusters.json document.

    Attributes:
        mode: How prompts are composed from clusters.
        solver: The method that made the clusters.
        solver_reason: Why this method was used.
        n_earlier_prompts: Number of prompts that were kept from an earlier run.
        inertia: Sum of squared distances to the centres, to 6 digits; more would vary by CPU.
            If prompts were kept, it covers only the records in new prompts.
    """

    mode: str
    solver: str
    solver_reason: str
    seed: int
    n_records: int
    n_prompts: int
    n_earlier_prompts: int
    n_clusters: int
    candidates_per_prompt: int
    inertia: float
    cluster_sizes: tuple[int, ...]
