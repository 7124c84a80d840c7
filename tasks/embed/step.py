"""Turn each unique record into a unit vector."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tasks.embed.encode import Block, Encoder, blocks_of
from tasks.embed.model_source import absolute, check_name
from tasks.embed.npy_writer import write_vectors
from tasks.embed.pool_texts import Entry, PoolTexts
from tasks.embed.precision import Precision
from tasks.embed.ray_worker import Recipe, block_of, traits_of
from tasks.embed.vector_cache import Slots, VectorStore, text_key
from tasks.lib.core.events import log
from tasks.lib.core.params import Params, load_section
from tasks.lib.core.stage import Stage
from tasks.lib.executor import Engine, load_engine
from tasks.lib.prompts.geometry import check_fit

SHARD_TEXTS = 1_024  # half a minute of work; 3 % more of it, for batches that are not full
WRITTEN_AT_ONCE = 8_192  # vectors
N_PROBES = 4  # stored vectors that are computed again

Embedding = Callable[[Iterable[Entry]], Iterator[Block]]


class Embed(Params):
    """The section embed of params.yaml."""

    model: Annotated[str, Field(min_length=1)]
    precision: Annotated[Precision, Field(strict=False)]  # YAML has strings only
    batch_tokens: Annotated[int, Field(ge=8, le=1_000_000)]
    max_tokens: Annotated[int, Field(ge=8)]


def check(values: Mapping[str, Any]) -> Embed:
    """The section embed, and the engine.

    Raises:
        ParamError: A key is unknown, missing or out of range, the model is a path that does not
            exist, or the engine is not installed.
    """
    load_engine(values)
    params = load_section(values, "embed", Embed)
    check_name(params.model)
    return params


def embed(
    entries: Iterable[Entry], encoder: Encoder, recipe: Recipe, engine: Engine
) -> Iterator[Block]:
    """The unit vectors of all entries, by `encoder` here or by workers that load its `recipe`.

    Each row comes once, in any order.

    Raises:
        DataError: A vector is zero or not finite; the record is named. Or a worker cannot load the
            model, or computes other vectors than `encoder`.
    """
    if engine is Engine.LOCAL:
        yield from blocks_of(entries, encoder)
        return
    function = partial(block_of, recipe=recipe, traits=traits_of(encoder))
    stream, n_done = iter(entries), 0
    for block in engine.map(function, iter(lambda: list(islice(stream, SHARD_TEXTS)), [])):
        yield block._replace(rows=block.rows + n_done)
        n_done += len(block.rows)


def embed_missing(
    texts: PoolTexts, encoder: Encoder, embed_new: Embedding, store: VectorStore, stage: Stage
) -> Slots:
    """See that the store has the vectors of all texts; the slot of each, int64, shape (n,).

    What is missing is embedded in the order of its keys, which is as good as shuffled: so the time
    that is left can be told from the number of texts.
    """
    entries = texts.of(np.arange(len(texts)))
    keys = np.fromiter((text_key(entry.text) for entry in entries), "S16", len(texts))
    keys, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    slots = store.find(keys)
    if not _agrees(store, slots, texts, first, encoder):
        log.warning(
            "embed: this machine computes other vectors than those in %s; all are made anew",
            store.folder,
        )
        store.clear()
        slots[:] = -1
    missing = np.flatnonzero(slots < 0)
    log.info("embed: %s texts, %s of them new", f"{len(texts):,}", f"{missing.size:,}")
    progress, n_full = stage.progress(missing.size, "texts"), 0
    for block in embed_new(texts.of(first[missing])):
        which = missing[block.rows]
        slots[which] = store.put(keys[which], block.vectors)
        n_full += block.n_full
        progress.advance(len(block.rows))
    if n_full:
        log.info("embed: of %s new texts the end was not read; see embed.max_tokens", f"{n_full:,}")
    return slots[inverse]


def work(stage: Stage) -> None:
    """Write one vector for each unique record, in their order, and tell how it was done."""
    params, engine = check(stage.values), load_engine(stage.values)
    texts = PoolTexts(stage.dep("ingest/pool.parquet"), stage.dep("dedupe/unique.parquet"))
    # This is the first step that knows M, and the first that takes long. It reads cluster and
    # llm_select.budget without declaring them, as they change none of its bytes: declared, another
    # budget would make the vectors stale. A check in the flow would leave out `dvc repro`.
    check_fit(stage.values, len(texts))
    recipe = Recipe(
        absolute(params.model), params.precision, params.max_tokens, params.batch_tokens
    )
    encoder = recipe.load()
    embed_new = partial(embed, encoder=encoder, recipe=recipe, engine=engine)
    if encoder.max_tokens < params.max_tokens:
        log.info("embed: %s reads %s tokens of a text", params.model, encoder.max_tokens)
    with VectorStore(stage.state / "vectors", encoder.identity, encoder.dim) as store:
        slots = embed_missing(texts, encoder, embed_new, store, stage)
        starts = range(0, len(slots), WRITTEN_AT_ONCE)
        blocks = (store.read(slots[start : start + WRITTEN_AT_ONCE]) for start in starts)
        write_vectors(stage.out("embed/vectors.npy"), len(slots), encoder.dim, blocks)
    log.info(
        "embed: %s vectors of %s dimensions by %s, %s on %s",
        f"{len(texts):,}",
        encoder.dim,
        params.model,
        encoder.precision,
        encoder.device,
    )


def _agrees(
    store: VectorStore, slots: Slots, texts: PoolTexts, first: NDArray[np.int64], encoder: Encoder
) -> bool:
    """Whether some stored vectors, computed again, have the same bytes."""
    known = np.flatnonzero(slots >= 0)
    probes = known[:: max(1, known.size // N_PROBES)][:N_PROBES]
    return all(
        np.array_equal(block.vectors, store.read(slots[probes[block.rows]]))
        for block in blocks_of(texts.of(first[probes]), encoder)
    )
