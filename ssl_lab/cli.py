"""`ssl-lab TASK group=option key=value …`: finds conf/, picks the task and hands over to Hydra.

Imports nothing heavy: a task is imported only when its config has been composed.
"""

import errno
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ssl_lab.errors import UsageError, UserError, nearest

USAGE = 2
RUN_FOLDER = "${name}/${now:%Y-%m-%d_%H-%M-%S_%f}"


def main() -> int:
    """Runs the command line and gives the exit code: 0, 1 error, 2 usage, 130 and 143 when stopped by a signal."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run(sys.argv[1:])
    except UserError as error:
        return _fail(str(error), error.code)
    except KeyboardInterrupt:
        return _fail("stopped", 128 + signal.SIGINT)
    except OSError as error:
        if error.errno != errno.ENOSPC or _traceback_asked():
            raise
        return _fail("the disk is full: free some space; what was whole before is still whole", 1)


def _run(arguments: list[str]) -> int:
    from ssl_lab import help  # noqa: A004

    tasks = help.tasks(conf())
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help.overview(conf()))
        return 0
    if arguments[0] == "--version":
        from ssl_lab import __version__

        print(__version__)
        return 0
    task, *rest = arguments
    if task not in tasks:
        raise UsageError(f"there is no task {task!r}; {nearest(task, tasks)} (ssl-lab --help)")
    if "-h" in rest or "--help" in rest:
        print(help.task(conf(), task))
        return 0
    return _compose_and_run(task, rest)


def conf() -> Path:
    """The folder of configs: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent
    return next(folder for folder in (package / "conf", package.parent / "conf") if folder.is_dir())


def _compose_and_run(task: str, arguments: list[str]) -> int:
    import hydra
    from hydra.errors import HydraException
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    from ssl_lab.overrides import explain, literal

    overrides = literal(arguments)
    asked = sys.argv, os.environ.get("HYDRA_FULL_ERROR")

    def job(config: DictConfig) -> None:
        sys.argv = asked[0]  # Lightning starts further processes with it
        _restore(asked[1])
        _work(task, config)

    sys.argv = [asked[0][0], *_settings(task), *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra lets errors pass, for us to explain
    try:
        hydra.main(version_base="1.3", config_path=str(conf()), config_name=task)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        _restore(asked[1])
        if _traceback_asked():
            raise
        raise UsageError(explain(error, conf(), task, overrides)) from error
    finally:
        sys.argv = asked[0]
        _restore(asked[1])
    return 0


def _settings(task: str) -> list[str]:
    """Where Hydra puts a run, and that it neither logs nor writes files of its own there."""
    return [
        f"hydra.run.dir=runs/{task}/{RUN_FOLDER}",
        f"hydra.sweep.dir=runs/{task}",
        "hydra.sweep.subdir='" + RUN_FOLDER + "_${hydra:job.num}'",
        "hydra.output_subdir=null",
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
    ]


def _work(task: str, config: Any) -> None:
    """Runs the task in its run folder, whose path is the last line on stdout."""
    from hydra.core.hydra_config import HydraConfig

    run = HydraConfig.get()
    folder = Path(run.runtime.output_dir)
    if run.mode is not None and run.mode.name == "MULTIRUN":
        print(f"job {run.job.num}: {run.job.override_dirname}", file=sys.stderr)
    try:
        function = getattr(importlib.import_module(f"ssl_lab.tasks.{task}"), task)
        function(config, folder)
    except BaseException as error:
        _remove_if_empty(folder)
        if isinstance(error, UserError | OSError | KeyboardInterrupt) or not isinstance(error, Exception):
            raise
        if _traceback_asked():
            raise
        raise UserError(f"{type(error).__name__}: {error} (HYDRA_FULL_ERROR=1 shows where)") from error
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        print(folder, flush=True)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
        folder.parent.rmdir()
    except OSError:  # something was made already
        pass


def _terminate(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _restore(value: str | None) -> None:
    os.environ.pop("HYDRA_FULL_ERROR", None)
    if value is not None:
        os.environ["HYDRA_FULL_ERROR"] = value


def _traceback_asked() -> bool:
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


def _fail(message: str, code: int) -> int:
    print(f"ssl-lab: error: {message}", file=sys.stderr)
    return code
