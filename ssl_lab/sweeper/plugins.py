"""Makes our sweeper known to Hydra, which takes plugins from the package `hydra_plugins` only."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from hydra.core.plugins import Plugins

PACKAGE, OURS = "hydra_plugins", str(Path(__file__).parent / "plugin")


def make_known() -> None:
    """Before Hydra starts. The package is an empty one where no plugin is installed."""
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError:
        package = sys.modules[PACKAGE] = ModuleType(PACKAGE)
        package.__path__ = []
    if OURS not in package.__path__:
        package.__path__ = [*package.__path__, OURS]
    ours = importlib.import_module(f"{PACKAGE}.ssl_lab_optuna")
    Plugins.instance().register(ours.OptunaSweeper)  # where Hydra had been started before
