"""A chat model of 140,000 weights, made on the spot, and a pool that it learns from in seconds."""

import random
from pathlib import Path
from typing import Any

from tasks.lib.core.records import record_id
from tasks.lib.core.schemas import POOL, SELECTED, SELECTIONS, UNIQUE
from tasks.lib.core.tables import write_table

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
COLOURS = ("red", "green", "blue", "white", "black", "grey")
THINGS = ("house", "river", "stone", "window", "garden", "table", "letter", "bridge")
PLACES = ("north", "south", "east", "west")


def useful(n: int, seed: int) -> list[tuple[str, str]]:
    """Return distinct questions with the answers that the test asks for."""
    rng = random.Random(seed)
    every = [(c, t, p) for c in COLOURS for t in THINGS for p in PLACES]
    return [
        (f"Describe the {c} {t} in the {p}", f"It is a {c} {t}, and it looks {p}.")
        for c, t, p in rng.sample(every, n)
    ]


def useless(n: int, seed: int) -> list[tuple[str, str]]:
    """Return questions whose answers are arbitrary words."""
    rng = random.Random(seed)
    return [
        (f"Question {i} about {rng.choice(THINGS)}", " ".join(rng.choices(COLOURS, k=9)))
        for i in range(n)
    ]


def build_model(folder: Path, texts: list[str]) -> None:
    """Train a tokenizer and a model on texts, and save both.

    The model is trained in full for a moment, since an adapter of random weights learns nothing.
    """
    import torch  # noqa: PLC0415  takes seconds
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: PLC0415
    from transformers import (  # noqa: PLC0415
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    special = ["<pad>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", eos_token="<|end|>"
    )
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=256,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rng = random.Random(0)
    for _ in range(60):
        batch = tokenizer(rng.choices(texts, k=16), padding=True, return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels
        ).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def as_pool(pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return rows of a pool."""
    return [
        {
            "id": record_id(question, ""),
            "instruction": question,
            "input": "",
            "output": answer,
            "system": None,
            "turns": None,
            "tools": None,
            "source": f"pool.jsonl:{line}",
            "extra": "{}",
        }
        for line, (question, answer) in enumerate(pairs, 1)
    ]


def write_selections(
    root: Path, pool: list[dict[str, Any]], chosen: list[dict[str, Any]], n_draws: int
) -> None:
    """Write what an evaluation reads: the pool, the selection, and random ones of its size.

    The method shortest has the records of the first random selection.
    """
    judged = {
        **{"prompt": 1, "slot": 1, "rank": 1, "score": 1.0, "votes": 1, "method": "offline"},
        **{"gain": 0.1, "cluster": 1, "route": "offline", "model": "offline/typical"},
    }
    ids = [row["id"] for row in pool]
    draws = [
        {"method": "random", "seed": seed, "rank": rank, "id": id_}
        for seed in range(n_draws)
        for rank, id_ in enumerate(random.Random(seed).sample(ids, len(chosen)), 1)
    ]
    draws += [row | {"method": "shortest"} for row in draws if row["seed"] == 0]
    for tail, rows, schema in (
        ("ingest/pool.parquet", pool, POOL),
        ("dedupe/unique.parquet", [{"id": id_} for id_ in ids], UNIQUE),
        ("choose/selected.parquet", [row | judged for row in chosen], SELECTED),
        ("baseline/selections.parquet", draws, SELECTIONS),
    ):
        path = root / "data" / tail
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, rows, schema)
