"""`ssl-lab dashboard`: a page on this machine that follows the runs of a folder; or the same panels in W&B."""

import webbrowser
from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig
from pydantic import Field

from ssl_lab.dashboard.panels import grouped, logged_as_curves
from ssl_lab.dashboard.server import Dashboard
from ssl_lab.domains import valid
from ssl_lab.errors import UserError, one_of
from ssl_lab.progress import say
from ssl_lab.runfolder.listed import listed

Port = Annotated[int, Field(ge=0, le=65535)]


def dashboard(config: DictConfig) -> None:
    """Serves the page, or makes its panels in W&B, and prints the address. It makes no run folder, and only reads."""
    port, opened = valid(Port, config.port, "port"), valid(bool, config.open, "open")
    to = one_of("to", config.to, ("page", "wandb"))
    folder = Path(config.folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"folder={config.folder}: there is no such folder")
    if to == "wandb":
        _in_wandb(folder, config.entity, config.project)
    else:
        _served(folder, port, opened)


def _served(folder: Path, port: int, opened: bool) -> None:
    """Until it is stopped."""
    with Dashboard(folder, port) as server:
        print(server.address, flush=True)
        there = f"ssh -L {server.server_port}:localhost:{server.server_port} MACHINE"
        say(f"the runs of {folder}, until Ctrl-C; from another machine: {there}")
        if opened:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("the dashboard has ended")


def _in_wandb(folder: Path, entity: str | None, project: str) -> None:
    try:
        from ssl_lab.dashboard import workspace
    except ImportError as error:
        raise UserError("to=wandb needs wandb-workspaces: pip install 'ssl-lab[workspace]'") from error
    groups = grouped(logged_as_curves(map(Path, listed(folder)[0]["run"].to_pylist())))
    if not groups:
        raise UserError(f"{folder}: no run has logged anything twice, so there is nothing to draw")
    counts = ", ".join(f"{name} {len(names)}" for name, names in groups.items())
    say(f"panels: {counts}")
    print("\n".join(workspace.save(groups, entity, project)))
