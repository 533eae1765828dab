"""What the agent of a sweep of Weights & Biases types, in which a null is Python's `None`."""

INTERNAL = "_wandb"  # a key that W&B adds to the config of a run


def parameters(overrides: list[str]) -> list[str]:
    """Those of the sweep, for Hydra.

    Where the agent starts a run again it types the whole config of that run (wandb/wandb#9143): a mapping for each
    group, which the options of the command make again.
    """
    values = dict(one.split("=", 1) for one in overrides if "=" in one)
    if INTERNAL in values:
        overrides = [one for one in overrides if not one.partition("=")[2].startswith("{")]
    return [one.replace("=None", "=null") if one.endswith("=None") else one for one in overrides]
