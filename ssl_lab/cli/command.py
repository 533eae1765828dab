"""`ssl-lab TASK group=option key=value …`: finds conf/, picks the task and hands over to Hydra.

Imports nothing heavy: a task is imported only when its config has been composed.
"""

import contextlib
import errno
import importlib
import io
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ssl_lab.cli import jobs
from ssl_lab.config import conf
from ssl_lab.credentials import masked, typed
from ssl_lab.errors import ERROR, FULL_ERROR, Stopped, UsageError, UserError, nearest
from ssl_lab.launched import TRIAL, is_first

NOW = "${now:%Y-%m-%d_%H-%M-%S_%f}"
FOLDERLESS = ("cache", "dashboard", "runs")
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
        with jobs.requeued():
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
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import DictConfig

    from ssl_lab.cli import agent, devices, trial
    from ssl_lab.cli import sweep as sweeps
    from ssl_lab.cli.overrides import explain, split
    from ssl_lab.runfolder.sweep import trials
    from ssl_lab.sweeper import plugins

    plugins.make_known()
    flags, overrides = split(arguments)
    sweep = "-m" in flags or "--multirun" in flags
    if sweep and task in FOLDERLESS:
        raise UsageError(f"ssl-lab {task} makes no run: there is nothing to sweep with -m")
    folder, asked = sweeps.opened(task, overrides) if sweep else (None, overrides)
    asked = agent.parameters(asked) if jobs.of_agent() else asked
    overrides = asked if TRIAL in os.environ else _in_hydras_grammar(task, flags, asked, sweep)
    argv, full_error = [sys.argv[0], task, *arguments], os.environ.get(FULL_ERROR)
    own_flags = [flag for flag in flags if flag not in ("-m", "--multirun")]
    errors: list[Exception] = []

    def job(config: DictConfig) -> bool | None:
        if folder:
            run, launcher = HydraConfig.get(), config.launcher
            number, own = int(run.job.num), list(run.overrides.task)
            share = trial.Share(launcher.jobs, launcher.cores, launcher.gpus, launcher.hand_out)
            pruned = trial.pruning(folder, number, config)
            return trial.tried(task, own_flags, folder, number, own, share, full_error, pruned)
        with _process(argv, full_error):  # Lightning starts further processes with what the user typed
            try:
                _list(task, config) if task in FOLDERLESS else _work(task, config, made)
            except Exception as error:
                errors.append(error)
        return None

    with contextlib.ExitStack() as stack:
        if folder:
            stack.enter_context(sweeps.kept(folder, task, asked))
        settings = [*_settings(task, folder), *(devices.usual(overrides) if folder else [])]
        stack.enter_context(_process([argv[0], *flags, *settings, *overrides], "1"))  # errors pass Hydra
        try:
            if flags:
                hydra.main(version_base="1.3", config_path=str(conf()), config_name=task)(job)()
            else:  # the same without a first composition, which only says whether to sweep
                with hydra.initialize_config_dir(str(conf()), task, version_base="1.3"):
                    GlobalHydra.instance().hydra.run(task, job, [*settings, *overrides])  # type: ignore[union-attr]
        except HydraException as error:
            raise UsageError(explain(error, conf(), task, overrides)) from error
        except UserError:
            raise
        except Exception as error:  # of a launcher: a worker of Ray, or a job of SLURM, that died
            if folder is None or not trials(folder):
                raise
            errors.append(error)
    if folder:
        sweeps.summed_up(folder, task, made)
    if errors:
        raise errors[0]


def _in_hydras_grammar(task: str, flags: list[str], overrides: list[str], sweep: bool) -> list[str]:
    """What the user means by overrides that the shell delivered."""
    from ssl_lab.cli.overrides import check_swept, literal, named, of_the_run, planned, usual

    meant = usual(overrides)
    if sweep:
        words = [word for flag in flags for word in flag.split("=", 1)]
        own = [Path(value) for flag, value in itertools.pairwise(words) if flag in ("--config-dir", "-cd")]
        check_swept(meant, [conf(), *own])
    meant = of_the_run(meant, conf(), task)
    return [*planned(literal(meant, sweep, task)), *named(meant, sweep)]


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


def _settings(task: str, sweep: Path | None) -> list[str]:
    """Where Hydra puts a run, and that it neither logs nor writes files of its own there."""
    from ssl_lab.cli.overrides import quoted

    return [
        "hydra.run.dir=." if task in FOLDERLESS else f"hydra.run.dir=runs/{task}/${{name}}/{jobs.job() or NOW}",
        *([f"hydra.sweep.dir={quoted(str(sweep))}", "hydra.sweep.subdir=${hydra:job.num}"] if sweep else []),
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

    from ssl_lab.cli import claims
    from ssl_lab.cli.init import initialised
    from ssl_lab.cli.resume import resumed
    from ssl_lab.progress import say
    from ssl_lab.runfolder.folder import CONFIG, check_there, escaped, remove_empty
    from ssl_lab.runfolder.state import Facts, alike, state_of, watched

    run = HydraConfig.get()
    folder, resume = Path(run.runtime.output_dir), config.get("resume")
    try:
        if folder.name == jobs.job() and not resume:
            folder = claims.claimed(folder, [] if jobs.of_agent() else run.overrides.task)  # it names each trial
            if claims.has_finished(folder):
                say(f"{folder} has finished before, in this job")
                if is_first():
                    made(folder)
                return
            resume = claims.to_resume(task, folder)
        if config.get("init") and not resume:
            config = initialised(config, run.overrides.task, run.runtime.choices)
        of_the_sweep = ("launcher", "sweeper")
        config = OmegaConf.masked_copy(config, [key for key in config if key not in of_the_sweep])
        _complete(config)
        if resume:
            own, folder = resumed(resume, run.overrides.task)
            config = OmegaConf.create(escaped(own))
        main = is_first()
        choices = {
            group: one for group, one in run.runtime.choices.items() if isinstance(one, str) and "/" not in group
        }
        facts = Facts(task=task, name=config.name, seed=config.get("seed"), choices=choices, alike=alike(task, config))
        if resume:
            facts = state_of(folder) or facts.model_copy(update={"choices": {}})  # those of its own command

        def opened() -> Path | None:
            return folder if main and (folder / CONFIG).is_file() else None

        with watched(opened, lambda error: masked(_explained(error)[0]), facts):
            getattr(importlib.import_module(f"ssl_lab.tasks.{task}"), task)(config, folder)
    finally:
        claims.let_go(folder)
        remove_empty(folder)
    if main:
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
    if "gloo/transport" in str(error):  # by which gloo tells that a connection has ended
        return "another process of this command has died, whose own error, if it had one, stands above", UserError.code
    return f"{type(error).__name__}: {error} ({FULL_ERROR}=1 shows where)", UserError.code


def _is_of_memory(error: Exception) -> bool:
    """Whether torch could not get memory of a device, or of the machine, which it tells by a text alone."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def _terminate(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _fail(message: str, code: int) -> int:
    print(f"{ERROR}{masked(message)}", file=sys.stderr)
    return code
