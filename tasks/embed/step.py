"""Turn each unique record into a unit vector."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tasks.embed.encoder import Encoder, VectorBatch, encode_all
from tasks.embed.encoder_settings import EncoderSpec, Precision
from tasks.embed.model_source import absolute, check_name
from tasks.embed.pool_texts import PoolText, PoolTexts
from tasks.embed.ray_worker import embed_shard, fingerprint
from tasks.embed.vector_cache import Keys, VectorCache, text_key
from tasks.lib.core.events import log
from tasks.lib.core.params import Params, load_section
from tasks.lib.core.schemas import KNOWN
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import count_rows
from tasks.lib.executor import Executor, load_executor
from tasks.lib.prompts.prompt_size import check_fit
from tasks.lib.unique import write_vectors

SHARD_TEXTS = 1_024  # half a minute of work; incomplete batches add 3 %
WRITTEN_AT_ONCE = 8_192  # vectors
N_PROBES = 4  # stored vectors that are recomputed

EmbedTexts = Callable[[Iterable[PoolText]], Iterator[VectorBatch]]


class Embed(Params):
    """The embed section of params.yaml."""

    model: Annotated[str, Field(min_length=1)]
    precision: Annotated[Precision, Field(strict=False)]  # a string in YAML
    batch_tokens: Annotated[int, Field(ge=8, le=1_000_000)]
    max_tokens: Annotated[int, Field(ge=8)]


def check(values: Mapping[str, Any]) -> Embed:
    """Check the embed section and the engine, and return the section.

    Raises:
        ParamError: A key is unknown, missing or out of range, the model is a path that does not
            exist, or the engine is not installed.
    """
    load_executor(values)
    params = load_section(values, "embed", Embed)
    check_name(params.model)
    return params


def embed(
    texts: Iterable[PoolText], encoder: Encoder, spec: EncoderSpec, executor: Executor
) -> Iterator[VectorBatch]:
    """Yield the unit vectors of all texts, computed by `encoder` or by workers that load `spec`.

    Each row occurs once, in any order.

    Raises:
        DataError: A vector is zero or not finite (the error names the record), or a worker cannot
            load the model or computes different vectors.
    """
    if executor is Executor.LOCAL:
        yield from encode_all(texts, encoder)
        return
    function = partial(embed_shard, spec=spec, driver_fingerprint=fingerprint(encoder))
    stream, n_done = iter(texts), 0
    for batch in executor.map(function, iter(lambda: list(islice(stream, SHARD_TEXTS)), [])):
        yield batch._replace(rows=batch.rows + n_done)
        n_done += len(batch.rows)


def embed_missing(
    texts: PoolTexts, encoder: Encoder, embed_new: EmbedTexts, cache: VectorCache, stage: Stage
) -> Keys:
    """Embed the texts that have no vector in the cache; return the key of each text.

    The texts are embedded in the order of their keys. This order is as good as random, so the
    number of texts left predicts the time left.
    """
    all_texts = texts.take(np.arange(len(texts)))
    keys = np.fromiter((text_key(record.text) for record in all_texts), "S16", len(texts))
    distinct, first = np.unique(keys, return_index=True)
    is_known = cache.find(distinct)
    if not _agrees(cache, distinct[is_known], texts, first[is_known], encoder):
        log.warning(
            "embed: this machine computes different vectors from those in %s; recomputing all",
            cache.folder,
        )
        cache.clear()
        is_known[:] = False
    missing = np.flatnonzero(~is_known)
    log.info("embed: %s texts, %s of them new", f"{len(texts):,}", f"{missing.size:,}")
    progress, n_full = stage.progress(missing.size, "texts"), 0
    for batch in embed_new(texts.take(first[missing])):
        cache.put(distinct[missing[batch.rows]], batch.vectors)
        n_full += batch.n_full
        progress.advance(len(batch.rows))
    if n_full:
        log.info("embed: %s new texts were cut off at embed.max_tokens", f"{n_full:,}")
    return keys


def work(stage: Stage) -> None:
    """Write one vector for each unique record, each annotated record and each target, in order."""
    params, executor = check(stage.values), load_executor(stage.values)
    texts = PoolTexts(stage.dep("ingest/pool.parquet"), stage.dep("dedupe/unique.parquet"))
    # This is the first step that knows M, and the first slow step. It reads cluster and
    # llm_select.budget without declaring them, since they do not change its output: if declared, a
    # new budget would make the vectors stale. A check in the flow would not cover `dvc repro`.
    n_known = count_rows(stage.dep("dedupe/known.parquet"), KNOWN)
    check_fit(stage.values, len(texts), n_known)
    spec = EncoderSpec(
        absolute(params.model), params.precision, params.max_tokens, params.batch_tokens
    )
    encoder = spec.load()
    embed_new = partial(embed, encoder=encoder, spec=spec, executor=executor)
    if encoder.max_tokens < params.max_tokens:
        log.info("embed: %s reads at most %s tokens of a text", params.model, encoder.max_tokens)
    with VectorCache(stage.state / "vectors", encoder.identity, encoder.dim) as cache:
        for tail, records in _outputs(stage, texts):
            keys = np.empty(0, "S16")
            if len(records):
                keys = embed_missing(records, encoder, embed_new, cache, stage)
            starts = range(0, len(keys), WRITTEN_AT_ONCE)
            batches = (cache.read(keys[start : start + WRITTEN_AT_ONCE]) for start in starts)
            write_vectors(stage.out(tail), len(keys), encoder.dim, batches)
    log.info(
        "embed: %s vectors of %s dimensions from %s, %s on %s",
        f"{len(texts):,}",
        encoder.dim,
        params.model,
        encoder.precision,
        encoder.device,
    )


def _outputs(stage: Stage, unique: PoolTexts) -> Iterator[tuple[str, PoolTexts]]:
    """Yield the path of each output, and the texts to embed for it."""
    yield "embed/vectors.npy", unique
    yield "embed/annotated.npy", PoolTexts(stage.dep("ingest/annotated.parquet"))
    yield "embed/targets.npy", PoolTexts(stage.dep("ingest/targets.parquet"))


def _agrees(
    cache: VectorCache, keys: Keys, texts: PoolTexts, rows: NDArray[np.int64], encoder: Encoder
) -> bool:
    """Recompute the stored vectors of the texts in `rows`; return whether all bytes agree."""
    probes = np.arange(len(keys))[:: max(1, len(keys) // N_PROBES)][:N_PROBES]
    return all(
        np.array_equal(batch.vectors, cache.read(keys[probes[batch.rows]]))
        for batch in encode_all(texts.take(rows[probes]), encoder)
    )
