"""Texts that come with Python, and how tests make data and a small encoder of them."""

from pydoc_data.topics import topics

import torch

from ssl_lab.backbone.text import TextEncoder
from ssl_lab.data.corpora import TextFiles
from ssl_lab.data.text import Text
from ssl_lab.data.tokenizer import TokenizerOptions

ENGLISH = [topics[name] for name in sorted(topics)[:20]]
TRAINED = {"kind": "wordpiece", "size": 600, "lowercase": False, "accents": True}
SMALL = {"width": 16, "depth": 2, "heads": 2, "hidden": 24, "length": 32, "pooling": "mean"}


def text(folder, pattern="*.txt", source=None, document="file", **options):
    source = source or (lambda name, path: TextFiles(name, path, document, "utf-8", options.pop("errors", "strict")))
    defaults = {
        "name": None, "path": str(folder / pattern), "length": 32, "batch_size": 4, "seed": 0, "train": "train",
        "bank": "train", "test": None, "holdout": 0.25, "pack": True, "validation": 0.0,
        "tokenizer": TokenizerOptions(None, None, **TRAINED),
    }  # fmt: skip
    return Text(source, **(defaults | options))


def encoder(words, **options):
    torch.manual_seed(0)
    return TextEncoder(words, **SMALL | options).eval()


def rows(words, b=64, t=32, padded=5):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, words.size, (b, t), generator=generator)
    tokens[:, 0], tokens[:, -padded - 1], tokens[:, t - padded :] = 2, 3, 0
    return {"tokens": tokens, "document": torch.where(tokens == 0, -1, 0)}
