"""What goes wrong on the user's side: one clear line, no traceback."""

import difflib
from collections.abc import Iterable, Sequence
from typing import TypeVar

ERROR = "ssl-lab: error: "
"""what the line of an error begins with"""

FULL_ERROR = "HYDRA_FULL_ERROR"
"""1 in the environment: tracebacks are shown"""


def first_line(error: Exception) -> str:
    """Of what it says; its kind, where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class UserError(Exception):
    """Says what is wrong, where, and what to do. The command line prints it and exits with `code`."""

    code = 1


class UsageError(UserError):
    """The command line itself is wrong."""

    code = 2


class Stopped(BaseException):
    """A signal ended the work; the exit code is 128 + its number. No Exception, so that it ends sweeps too."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.number, self.code = number, 128 + number


Choice = TypeVar("Choice", bound=str)


def one_of(key: str, value: str, choices: Sequence[Choice]) -> Choice:
    """The choice that `key=value` names. Raises UsageError where it names none."""
    for choice in choices:
        if value == choice:
            return choice
    raise UsageError(f"{key}={value}: choose {', '.join(choices[:-1])} or {choices[-1]}")


def nearest(name: str, known: Iterable[str]) -> str:
    """`known` as a hint for a misspelt `name`: the closest ones first, or all if there are few."""
    known = sorted(set(known))
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "there are: " + ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
