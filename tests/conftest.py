"""Shapes are checked while the tests run; every test works in an empty folder with a cache of its own."""

import gc
import os

os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "HF_HUB_OFFLINE": "1"}
if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core, so one thread for each
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

from jaxtyping import install_import_hook

install_import_hook("ssl_lab", "shapes.check")

import pytest  # noqa: E402


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSL_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def swept():
    """What a file leaves is not looked through again and again by the garbage collector: it made later files slower."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def words():
    """A tokenizer of English."""
    from texts import ENGLISH, TRAINED

    from ssl_lab.data import tokenizer

    return tokenizer.trained(lambda: ENGLISH, **TRAINED)


@pytest.fixture
def corpus(tmp_path):
    """A folder of twelve texts."""
    from texts import ENGLISH

    (tmp_path / "corpus").mkdir()
    for i, document in enumerate(ENGLISH[:12]):
        (tmp_path / "corpus" / f"{i:02}.txt").write_text(document)
    return tmp_path / "corpus"


@pytest.fixture(scope="session")
def bert(tmp_path_factory, words):
    """A small random BERT with this tokenizer, in a folder as the Hub has them."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=words.size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40, pad_token_id=words.pad,
    )  # fmt: skip
    BertModel(config).eval().save_pretrained(folder)
    words.save(folder / "raw.json")
    BertTokenizerFast(tokenizer_file=str(folder / "raw.json")).save_pretrained(folder)
    return folder
