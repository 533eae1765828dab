"""`ssl-lab dashboard`: a page on this machine that follows the runs of a folder while they train."""

import webbrowser
from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig
from pydantic import Field

from ssl_lab.dashboard.server import Dashboard
from ssl_lab.domains import valid
from ssl_lab.errors import UserError
from ssl_lab.progress import say

Port = Annotated[int, Field(ge=0, le=65535)]


def dashboard(config: DictConfig) -> None:
    """Serves the page, whose address it prints, until it is stopped. It makes no run folder, and only reads."""
    port, opened = valid(Port, config.port, "port"), valid(bool, config.open, "open")
    folder = Path(config.folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"folder={config.folder}: there is no such folder")
    with Dashboard(folder, port) as server:
        print(server.address, flush=True)
        say(f"the runs of {folder}, until Ctrl-C; on another machine: ssh -L {server.server_port}:localhost:… there")
        if opened:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("the dashboard has ended")
