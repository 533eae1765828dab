"""How tests run the command `ssl-lab`: in this process, since importing Lightning takes seconds, or in another."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import ssl_lab as package
from ssl_lab.cli import main


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def folders(self):
        """The run folders that were printed."""
        return [Path(line) for line in self.out.splitlines()]

    @property
    def folder(self):
        return self.folders[-1]


def shown(room):
    """The blocks of code in the README of a room, in their order."""
    text = (Path(package.__file__).parent / room / "README.md").read_text()
    return re.findall(r"```(?:python|yaml)?\n(.*?)```", text, re.DOTALL)


def ssl_lab(*arguments, folder=None, code=0):
    """Runs the command in `folder`, with a cache there, or in the current one.

    Its exit code has to be `code`; None: any.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        if folder:
            stack.enter_context(contextlib.chdir(folder))
            stack.enter_context(pytest.MonkeyPatch.context()).setenv("SSL_LAB_CACHE", str(Path(folder) / "cache"))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        done = Done(main([str(one) for one in arguments]), out.getvalue(), err.getvalue())
    assert code in (None, done.code), done.err
    return done


def started(*arguments, folder, code=0, **environment):
    """The same as a process of its own, in which no shapes are checked."""
    given = os.environ | {"SSL_LAB_CACHE": str(Path(folder) / "cache")} | environment
    command = [sys.executable, "-m", "ssl_lab", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)
