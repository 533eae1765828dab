"""`python -m ssl_lab` is `ssl-lab`."""

from ssl_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
