"""A client of Milvus, or one clear line why there is none."""

import logging
import time
from pathlib import Path
from typing import Any

from ssl_lab.credentials import address_of, milvus_token
from ssl_lab.errors import UsageError, UserError
from ssl_lab.progress import say

TRIES, SECONDS, PAUSE = 3, 5.0, 2.0  # for a server that does not answer


def connect(uri: str) -> Any:
    """A client. Raises UserError where a file is in use, no server answers, or the token is wrong."""
    try:
        from pymilvus import MilvusClient, MilvusException
    except ImportError as error:
        raise UserError("vectors in Milvus need pymilvus: pip install 'ssl-lab[milvus]'") from error
    for name in ("pymilvus", "milvus_lite", "grpc._server"):  # what they log is raised too, or is gone on from
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if "://" not in uri and not uri.endswith(".db"):
        raise UsageError(f"vectors.uri={uri} is neither a file NAME.db nor an address http://HOST:PORT")
    token, uri = milvus_token(uri), address_of(uri)
    allow = f"vectors.uri={uri} sends it $MILVUS_TOKEN, so does $MILVUS_URI with that address"
    if token is None and "://" in uri:
        say(f"$MILVUS_TOKEN is not sent to {uri}: {allow}")
    for attempt in range(1, TRIES + 1):
        try:
            client = MilvusClient(uri, token=token or "", timeout=SECONDS)
            client.list_collections()
            return client
        except MilvusException as error:
            if "://" not in uri:
                raise UserError(f"{uri} cannot be opened: {_holder(Path(uri)) or message(error)}") from error
            if "UNAUTHENTICATED" in f"{error} {error.__cause__}":
                refused = "refuses the token in $MILVUS_TOKEN: set the right one"
                what = f"asks for a token: {allow}" if token is None else refused
                raise UserError(f"Milvus at {uri} {what}") from error
            say(f"no answer from {uri} (try {attempt} of {TRIES})")
            time.sleep(PAUSE)
    raise UserError(f"no Milvus server answers at {uri}: start it, or check vectors.uri")


def _holder(file: Path) -> str | None:
    """Who has a Lite file open, as far as Linux tells."""
    try:
        inode = (file / "LOCK").stat().st_ino
        held = [line.split() for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines()]
        pid = next(fields[4] for fields in held if fields[5].endswith(f":{inode}"))
        command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").replace("\0", " ").strip()
    except (OSError, StopIteration):
        return None
    return f"process {pid} has it open ({command}); wait for it to end, or stop it"


def message(error: Exception) -> str:
    return str(getattr(error, "message", "") or error).splitlines()[0]
