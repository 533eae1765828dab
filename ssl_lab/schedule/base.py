"""What every schedule is: a function of progress."""


class Schedule:
    def __call__(self, progress: float) -> float:
        """The factor on the learning rate at `progress` in [0, 1] through the training."""
        raise NotImplementedError
