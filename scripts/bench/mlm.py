"""Training speed of masked language modelling beside Hugging Face's BertForMaskedLM, in real tokens a second.

See rows.py for the arguments. Both train an encoder of 4 layers of 256 with fused AdamW on the same texts, in batches
of 32 rows of 128, views or collator included. Theirs: SDPA, rows filled as run_mlm.py fills them (texts end to end, cut
every 128 tokens), 15 % hidden by DataCollatorForLanguageModeling. Ours: documents apart, best fit, with 15 % hidden,
and with the 30 % of our default, which teaches more a token. bfloat16 is autocast, for both, where a CPU is fast at it.
"""

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rows import Row, faster, main, rate, turns
from tokenizers import Tokenizer as Backend
from tokenizers import models, processors
from transformers import BertConfig, BertForMaskedLM, DataCollatorForLanguageModeling, PreTrainedTokenizerFast

from ssl_lab.backbone.text import TextEncoder
from ssl_lab.data.text import PackedTexts, Texts
from ssl_lab.data.tokenizer import SPECIAL, Tokenizer
from ssl_lab.data.tokenizing import Tokens
from ssl_lab.hardware import fast_bfloat16
from ssl_lab.objective.mlm import MLM
from ssl_lab.randomness import Draw
from ssl_lab.views.mask_tokens import MaskTokens

LENGTH, BATCH, STEPS, WIDTH, DEPTH, HEADS = 128, 32, 4, 256, 4, 4
GOALS = {8192: 2, 30000: 3.5}


def tokenizer(vocabulary: int) -> Tokenizer:
    names = [*SPECIAL, *(f"w{i}" for i in range(vocabulary - len(SPECIAL)))]
    backend = Backend(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))  # noqa: S106
    backend.add_special_tokens(SPECIAL)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return Tokenizer(backend, "the bench")


def texts(vocabulary: int) -> Tokens:
    """600 texts of about 2,000 tokens whose frequencies are Zipf's."""
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(7.5, 0.5, 600).astype(int)
    share = 1 / np.arange(1, vocabulary - len(SPECIAL) + 1)
    flat = rng.choice(len(share), lengths.sum(), p=share / share.sum()) + len(SPECIAL)
    return Tokens(flat.astype(np.uint16), np.concatenate([[0], np.cumsum(lengths)]), lengths)


def ours(made: Tokenizer, tokens: Tokens, share: float, autocast: bool) -> Iterator[int]:
    """A training step at a time, with a share of the tokens hidden; gives the number of its real tokens."""
    rows = PackedTexts(Texts(None, torch.arange(len(tokens)), {}, tokens, made), LENGTH)
    hidden = 688  # of a gated MLP: as many parameters as a plain one of 1024
    objective = MLM(TextEncoder(made, WIDTH, DEPTH, HEADS, hidden, LENGTH, "mean"))
    views = MaskTokens(made, share, 0.8, 0.1, whole_words=False)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-3, fused=True)
    for step in range(1_000_000):
        batch = rows[torch.randint(len(rows), (BATCH,))]
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = objective(views(batch, Draw(0, step)), 0.0)["loss"]
        loss.backward()
        optimizer.step()
        yield int((batch["document"] >= 0).sum())


def theirs(made: Tokenizer, tokens: Tokens, autocast: bool) -> Iterator[int]:
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    fast = PreTrainedTokenizerFast(tokenizer_object=made.backend, **names)
    flat = np.concatenate([made.framed(tokens[i]) for i in range(len(tokens))])
    rows = torch.from_numpy(flat[: len(flat) // LENGTH * LENGTH].reshape(-1, LENGTH))
    config = BertConfig(
        vocab_size=made.size, hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH, max_position_embeddings=LENGTH, attn_implementation="sdpa",
    )  # fmt: skip
    model, collate = BertForMaskedLM(config), DataCollatorForLanguageModeling(fast, mlm_probability=0.15)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    while True:
        chosen = rows[torch.randint(len(rows), (BATCH,))]
        batch = collate([{"input_ids": row} for row in chosen])
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        yield BATCH * LENGTH


def several(steps: Iterator[int]) -> int:
    """Takes steps and gives the number of their real tokens."""
    return sum(itertools.islice(steps, STEPS))


def rows(data: Path, rounds: int) -> Iterator[Row]:
    for vocabulary, autocast in itertools.product(GOALS, (False, True) if fast_bfloat16("cpu") else (False,)):
        made, tokens = tokenizer(vocabulary), texts(vocabulary)
        running = {"theirs": theirs(made, tokens, autocast)}
        running |= {str(share): ours(made, tokens, share / 100, autocast) for share in (15, 30)}
        precision, goal = (", bfloat16", None) if autocast else ("", GOALS[vocabulary])
        found = turns(rounds, {name: rate(partial(several, steps)) for name, steps in running.items()})
        for share in ("15", "30"):
            work = f"masked language modelling, {vocabulary:,} words, {share} % hidden{precision}"
            yield faster(work, "tokens/s", found[share], "BertForMaskedLM at 15 %", found["theirs"], goal)


if __name__ == "__main__":
    main(rows)
