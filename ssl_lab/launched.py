"""Which of several processes this is, by the environment that Lightning, torchrun or srun gives each."""

import os

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
"""of torchrun, of Lightning, of srun; the first that is set counts: what Lightning starts inherits that of srun"""

TRIAL = "SSL_LAB_TRIAL"
"""the number of a trial, in its environment: its folder is its sweep's, and its overrides are in Hydra's grammar"""


def is_first() -> bool:
    """Whether it is the one that writes and prints."""
    rank = next((os.environ[name] for name in RANKS if name in os.environ), "0")
    of_first_node = "RANK" in os.environ or os.environ.get("NODE_RANK", "0") == "0"
    return rank == "0" and of_first_node
