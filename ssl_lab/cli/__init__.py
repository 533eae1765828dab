"""What people type: `main` is the command `ssl-lab`."""

from ssl_lab.cli.command import main

__all__ = ["main"]
