"""How tests run the command `ssl-lab`: in this process, since importing Lightning takes seconds, or in another."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import ssl_lab as package
from ssl_lab.cli import main
from ssl_lab.runfolder.folder import LAST
from ssl_lab.runfolder.state import state_of


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


def killed_in_the_second_trial(*arguments, folder):
    """The folder of a sweep whose processes are killed by SIGKILL as soon as its second trial has a checkpoint."""
    environment = os.environ | {"SSL_LAB_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ssl_lab", *arguments]
    parent = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while not (cut := [*folder.glob(f"runs/sweep/pretrain/*/1/{LAST}")]):
            assert parent.poll() is None
            time.sleep(0.02)
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
    sweep = cut[0].parents[2]
    while state_of(sweep / "1").state == "running":  # it is being taken down
        time.sleep(0.05)
    return sweep
