"""Which trials a sweep has: a search by Optuna, behind Hydra's interface of a sweeper."""

JOURNAL = "study.log"  # in the folder of a sweep that searches
