"""Shapes are checked while the tests run; every test works in an empty folder with a cache of its own."""

import os

os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "HF_HUB_OFFLINE": "1"}

from jaxtyping import install_import_hook

install_import_hook("ssl_lab", "shapes.check")

import pytest  # noqa: E402


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSL_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path
