"""A sweep: its folder, the trials that are left to run, and its table when they have ended.

What has become of a sweep stands in the folders of its trials and nowhere else: `-m resume=SWEEP` leaves out those that
have finished, goes on with those that have a checkpoint, and runs the others.
"""

import contextlib
import datetime
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from ssl_lab.cli import claims, jobs
from ssl_lab.credentials import masked
from ssl_lab.errors import UsageError, UserError
from ssl_lab.runfolder.files import write_json, write_text
from ssl_lab.runfolder.folder import remove_empty
from ssl_lab.runfolder.offline import to_sync
from ssl_lab.runfolder.sweep import ASKED, ENDED, REPORT, TABLE, Asked, asked_for, is_sweep, read_trial, trials
from ssl_lab.sweeper import JOURNAL


def opened(task: str, overrides: list[str]) -> tuple[Path, list[str]]:
    """The folder of a sweep with its overrides: of a new one, or of resume=SWEEP. Raises UsageError, UserError."""
    values = dict(one.split("=", 1) for one in overrides if "=" in one)
    resume = Path(values.get("resume", "")).expanduser()
    if "resume" not in values or not is_sweep(resume):
        name = values.get("name", task)
        of_name, job = Path("runs/sweep", task if "," in name else name), jobs.job()
        if job:
            return claims.claimed(of_name / job, [task, *overrides]), overrides
        return of_name / f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S_%f}", overrides
    asked = asked_for(resume)
    if asked.task != task:
        raise UsageError(f"{resume} is a sweep of {asked.task}: ssl-lab {asked.task} -m resume={resume}")
    more = [one for one in overrides if not one.startswith("resume=")]
    if other := [one for one in more if not one.startswith(("launcher", "hydra", "sweeper.trials="))]:
        raise UsageError(f"{other[0]}: a sweep goes on with what it was asked for: leave it out")
    if hydra := [one for one in asked.overrides if one.lstrip("+~").startswith("hydra")]:
        raise UserError(f"{resume / ASKED}: {hydra[0]}: what is Hydra's own is not taken from a file")
    return resume, [*asked.overrides, *more]


@contextlib.contextmanager
def kept(folder: Path, task: str, overrides: list[str]) -> Iterator[None]:
    """Writes what a sweep is asked for into its folder, which is gone again where no trial has begun."""
    own = [one for one in overrides if not one.lstrip("+~").startswith("hydra")]
    write_text(folder / ASKED, yaml.safe_dump(Asked(task=task, overrides=own).model_dump(), allow_unicode=True))
    try:
        yield
    finally:
        if not trials(folder):
            for file in (ASKED, JOURNAL, claims.CLAIM):
                (folder / file).unlink(missing_ok=True)
            remove_empty(folder)


def summed_up(sweep: Path, task: str, made: Callable[[Path], None]) -> None:
    """Writes sweep.json and prints its table. `made` gets the folders of trials that have finished, then that of the
    sweep. Raises UserError where a trial has not.
    """
    from ssl_lab.comparison import seeds
    from ssl_lab.sweeper import label_free

    done = [read_trial(folder) for folder in trials(sweep)]
    rows, correlations = seeds.rows(done), label_free.with_knn([one.summary for one in done])
    content: dict[str, Any] = {"trials": [one.model_dump() for one in done]}
    content |= {"rows": [one.model_dump() for one in rows], "rank_correlation_with_knn": correlations}
    if searched := (sweep / JOURNAL).is_file():
        from ssl_lab.cli import searches
    write_json(sweep / TABLE, searches.with_params(content, sweep) if searched else content)
    shown = searches.shown(sweep, task, done) if searched else seeds.table(rows)
    print(masked("\n".join(filter(None, (shown, label_free.line(correlations))))), file=sys.stderr)
    finished = [trial for trial in done if trial.state == "finished"]
    if finished[1:]:
        _write_report(sweep)
    for trial in finished:
        made((sweep / str(trial.trial)).resolve())
    made(sweep.resolve())
    if offline := to_sync(trials(sweep)):
        print(offline, file=sys.stderr)
    if left := [trial for trial in done if trial.state not in ENDED]:
        listed = "".join(
            f"\n  {trial.trial}: {trial.state}: {' '.join(trial.overrides)}{f': {trial.error}' if trial.error else ''}"
            for trial in left
        )
        todo = "the search went on without them" if searched else f"-m resume={sweep} runs these again"
        raise UserError(masked(f"{len(left)} of {len(done)} trials did not finish; {todo}:{listed}"))


def _write_report(sweep: Path) -> None:
    """The page of `ssl-lab report runs=SWEEP`. A trial that cannot be read takes nothing else from the sweep."""
    from ssl_lab.report.sweep import sweep_page

    try:
        write_text(sweep / REPORT, sweep_page([sweep]).html)
        print(f"the report: {sweep / REPORT}", file=sys.stderr)
    except UserError as error:
        print(masked(f"there is no {REPORT}: {error}"), file=sys.stderr)
