"""`ssl-lab TASK group=option key=value …`: finds conf/, picks the task and hands over to Hydra.

Imports nothing heavy: a task is imported only when its config has been composed.
"""

import contextlib
import errno
import gc
import importlib
import io
import itertools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ssl_lab.config import conf
from ssl_lab.credentials import masked, typed
from ssl_lab.errors import Stopped, UsageError, UserError, nearest

RUN_FOLDER = "${name}/${now:%Y-%m-%d_%H-%M-%S_%f}"
FULL_ERROR = "HYDRA_FULL_ERROR"
FOLDERLESS = ("cache",)
"""Tasks that make no run folder: they are called with the config alone, and what they print on stdout is all."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and gives the exit code: 0, 1 error, 2 usage, 130 and 143 when stopped by a signal.

    `arguments`: what stands behind `ssl-lab`; None: what the user typed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # of a terminal that lacks a letter
            stream.reconfigure(errors="replace")
    before = signal.signal(signal.SIGTERM, _terminate)
    full = os.environ.get(FULL_ERROR) == "1"
    try:
        return _run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:
        return _fail("stopped", 128 + signal.SIGINT)
    except Stopped as stopped:
        return _fail(str(stopped), stopped.code)
    except BrokenPipeError:  # nobody reads any more, as after `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes the rest when it ends
        return 128 + signal.SIGPIPE
    except Exception as error:
        if full:
            raise
        return _fail(*_explained(error))
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(arguments: list[str]) -> int:
    from ssl_lab.cli import help
    from ssl_lab.version import __version__

    task, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if "--version" in arguments:
        print(__version__)
    elif task in ("-h", "--help"):
        print(help.overview(conf()))
    elif task not in (tasks := help.tasks(conf())):
        raise UsageError(f"there is no task {task!r}; {nearest(task, tasks)} (ssl-lab --help)")
    elif "-h" in rest or "--help" in rest:
        print(help.task(conf(), task))
    else:
        work(task, rest, lambda folder: print(folder, flush=True))
    sys.stdout.flush()
    return 0


def work(task: str, arguments: Sequence[str], made: Callable[[Path], None]) -> None:
    """Runs a task; `made` gets the folder of each run when it is done. Raises UserError."""
    with typed(list(arguments)) as without_passwords:
        _compose_and_work(task, without_passwords, made)


def _compose_and_work(task: str, arguments: list[str], made: Callable[[Path], None]) -> None:
    import hydra
    from hydra.errors import HydraException
    from omegaconf import DictConfig

    from ssl_lab.cli.overrides import check_swept, explain, literal, named, of_the_run, planned, split, usual

    flags, overrides = split(arguments)
    sweep = "-m" in flags or "--multirun" in flags
    if sweep and task in FOLDERLESS:
        raise UsageError(f"ssl-lab {task} makes no run: there is nothing to sweep with -m")
    meant = usual(overrides, conf())
    if sweep:
        words = [word for flag in flags for word in flag.split("=", 1)]
        own = [Path(value) for flag, value in itertools.pairwise(words) if flag in ("--config-dir", "-cd")]
        check_swept(meant, [conf(), *own])
    meant = of_the_run(meant, conf(), task)
    overrides = [*planned(literal(meant, sweep, task)), *named(meant, sweep)]
    argv, full_error = [sys.argv[0], task, *arguments], os.environ.get(FULL_ERROR)

    errors: list[Exception] = []
    jobs = itertools.count()

    def job(config: DictConfig) -> None:
        number = next(jobs)
        with _process(argv, full_error):  # Lightning starts further processes with what the user typed
            try:
                _list(task, config) if task in FOLDERLESS else _work(task, config, made)
            except Exception as error:
                errors.append(error)
                if sweep:  # the other jobs go on
                    if full_error == "1":
                        traceback.print_exception(error)
                    _fail(f"job {number}: {_explained(error)[0]}", 0)
                    traceback.clear_frames(error.__traceback__)  # they hold the job's model
        gc.collect()  # trainer and model hold each other; the next job needs their memory

    with _process([argv[0], *flags, *_settings(task), *overrides], "1"):  # "1": Hydra lets errors pass
        try:
            hydra.main(version_base="1.3", config_path=str(conf()), config_name=task)(job)()
        except HydraException as error:
            raise UsageError(explain(error, conf(), task, overrides)) from error
    if errors and not sweep:
        raise errors[0]
    if errors:
        failed = UserError(f"{len(errors)} of {next(jobs)} jobs failed, for the reasons above")
        failed.code = _explained(errors[0])[1]
        raise failed


@contextlib.contextmanager
def _process(argv: list[str], full_error: str | None) -> Iterator[None]:
    """`sys.argv` and Hydra's switch for tracebacks, for the time being."""
    before = sys.argv, os.environ.pop(FULL_ERROR, None)
    sys.argv = argv
    if full_error is not None:
        os.environ[FULL_ERROR] = full_error
    try:
        yield
    finally:
        sys.argv = before[0]
        os.environ.pop(FULL_ERROR, None)
        if before[1] is not None:
            os.environ[FULL_ERROR] = before[1]


def _settings(task: str) -> list[str]:
    """Where Hydra puts a run, and that it neither logs nor writes files of its own there."""
    return [
        "hydra.run.dir=." if task in FOLDERLESS else f"hydra.run.dir=runs/{task}/{RUN_FOLDER}",
        f"hydra.sweep.dir=runs/{task}",
        "hydra.sweep.subdir='" + RUN_FOLDER + "_${hydra:job.num}'",
        "hydra.output_subdir=null",
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
    ]


def _list(task: str, config: Any) -> None:
    """Runs a task that makes no run folder."""
    _complete(config)
    getattr(importlib.import_module(f"ssl_lab.tasks.{task}"), task)(config)


def _work(task: str, config: Any, made: Callable[[Path], None]) -> None:
    """Runs the task in its run folder."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from ssl_lab.cli.init import initialised
    from ssl_lab.cli.resume import resumed
    from ssl_lab.runfolder.folder import CONFIG, check_there, escaped

    run = HydraConfig.get()
    folder = Path(run.runtime.output_dir)
    try:
        if config.get("init") and not config.get("resume"):
            config = initialised(config, run.overrides.task, run.runtime.choices)
        _complete(config)
        if run.mode is not None and run.mode.name == "MULTIRUN":
            print(masked(f"job {run.job.num}: {' '.join(run.overrides.task)}"), file=sys.stderr)
        if config.get("resume"):
            own, folder = resumed(config.resume, run.overrides.task)
            config = OmegaConf.create(escaped(own))
        getattr(importlib.import_module(f"ssl_lab.tasks.{task}"), task)(config, folder)
    except BaseException:
        with contextlib.suppress(OSError):  # stays where something was made already
            for empty in (folder, *list(folder.parents)[:3]):  # runs/task/name/time
                empty.rmdir()
        raise
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        check_there(folder / CONFIG)
        made(folder)


def _complete(config: Any) -> None:
    """Raises UsageError where a key has no value, or takes it from a key that is not there."""
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationKeyError

    try:
        missing = sorted(OmegaConf.missing_keys(config))
    except InterpolationKeyError as error:
        key, source = str(error.full_key), str(error).split("'")[1]
        fitting = f"{key.split('.')[0]}=… and {source.split('.')[0]}=…"
        raise UsageError(f"{key} is taken from {source}, which is not there: choose {fitting} that fit") from error
    if missing:
        raise UsageError(f"{missing[0]} has no value: set {missing[0]}=…")


def _explained(error: Exception) -> tuple[str, int]:
    """What to say, and the exit code."""
    if isinstance(error, UserError):
        return str(error), error.code
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full: free some space; what was whole before still is", UserError.code
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what = f"{error.filename}: {str(error.strerror).lower()}"
        return f"{what}; runs are written where the command is started, and caches to $SSL_LAB_CACHE", UserError.code
    if isinstance(error, MemoryError) or _is_of_memory(error):
        what = str(error)[:250].splitlines()[0] if str(error) else "MemoryError"
        todo = (
            "a smaller data.batch_size, a larger trainer.accumulate_grad_batches for it, trainer.precision=bf16-mixed"
        )
        return f"the memory is full ({what}): try {todo}", UserError.code
    return f"{type(error).__name__}: {error} ({FULL_ERROR}=1 shows where)", UserError.code


def _is_of_memory(error: Exception) -> bool:
    """Whether torch could not get memory of a device, or of the machine, which it tells by a text alone."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def _terminate(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _fail(message: str, code: int) -> int:
    print(f"ssl-lab: error: {masked(message)}", file=sys.stderr)
    return code
