"""The panels of the page as a workspace and a report of Weights & Biases, from code, with `wandb-workspaces`.

A workspace is how W&B shows the runs of a project; a report is a page of them that can be given to others. Both are
built without a network, and only `save` needs an account.
"""

from collections.abc import Mapping

import wandb
import wandb_workspaces.reports.v2 as reports
import wandb_workspaces.workspaces as workspaces
from wandb_workspaces.reports.v2.interface import BlockTypes, PanelTypes

from ssl_lab.errors import UserError

STEP = "trainer/global_step"  # Lightning's logger gives it with each value
NAME = "ssl_lab"

Groups = Mapping[str, list[str]]
"""names of logged values, by the heading that they stand below"""


def workspace(groups: Groups, entity: str, project: str) -> workspaces.Workspace:
    sections = [workspaces.Section(name=name, panels=panels(names), is_open=True) for name, names in groups.items()]
    settings = workspaces.WorkspaceSettings(x_axis=STEP)
    return workspaces.Workspace(entity=entity, project=project, name=NAME, sections=sections, settings=settings)


def report(groups: Groups, entity: str, project: str) -> reports.Report:
    """Its grids show the runs of its own project: those of a named one are asked for at W&B already here."""
    blocks: list[BlockTypes] = []
    for name, names in groups.items():
        blocks += [reports.H2(text=name), reports.PanelGrid(panels=panels(names))]
    return reports.Report(entity=entity, project=project, title=f"{NAME}: {project}", blocks=blocks, width="fluid")


def panels(names: list[str]) -> list[PanelTypes]:
    """Two in a row of W&B's grid, which has 24 columns."""
    places = [reports.Layout(x=12 * (i % 2), y=8 * (i // 2), w=12, h=8) for i in range(len(names))]
    return [
        reports.LinePlot(title=name, x=STEP, y=[name], layout=place) for name, place in zip(names, places, strict=True)
    ]


def save(groups: Groups, entity: str | None, project: str) -> list[str]:
    """The addresses of a new workspace and a new report. Raises UserError where nobody is logged in, or W&B refuses."""
    if not wandb.login(prompt=False):
        raise UserError("to=wandb needs an account of W&B: wandb login, or $WANDB_API_KEY")
    try:
        owner = entity or wandb.Api().default_entity
        if owner is None:
            raise UserError("the account has no default entity: say whose project it is with entity=…")
        saved = workspace(groups, owner, project).save()
        return [saved.url, report(groups, owner, project).save().url]
    except (wandb.errors.Error, OSError, ValueError) as error:
        raise UserError(f"W&B did not take it: {' '.join(str(error).split())}") from error
