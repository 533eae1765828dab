"""Folders far away, such as s3://bucket/folder: their files are listed once, and read by random access.

`fsspec` reads them, by the package that it has for each kind of server (s3fs, gcsfs, adlfs), which finds credentials
where that kind has them: in the environment, or in the files of its own tools. Where a server does not answer, it is
asked again and again, and a line says so.
"""

import hashlib
import os
import random
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch.utils.data
from fsspec.core import url_to_fs

from ssl_lab.data.tree import DICOM, Tree, indexed, tree_of
from ssl_lab.errors import UserError, first_line
from ssl_lab.progress import say

PATIENCE = 600  # seconds that a server which does not answer is waited for
LONGEST = 30  # seconds between two tries
PACKAGES = {"s3": "'ssl-lab[s3]'", "gs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""what to install for each kind of server; no other is asked, whatever a config that came with a folder says"""

SERVERS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AZURE_STORAGE_ACCOUNT_NAME", "STORAGE_EMULATOR_HOST")
"""what of the environment decides whose bucket it is that has a name"""

PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError)
"""errors that another try would not mend"""


class Url(PurePosixPath):
    """`Url("s3://bucket/folder") / "a.png"` is a path that keeps its two slashes."""

    __slots__ = ()

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)


def is_url(path: str) -> bool:
    """Whether it is an address; not that of a folder here which looks like one."""
    return "://" in path and (_kind(path) in PACKAGES or not Path(path).exists())


def _kind(url: str) -> str:
    return url.partition("://")[0]


def read_remote(url: str, again: bool) -> Tree:
    """The files of a folder, from the index in the cache; `again`: listed anew.

    Raises UserError where the server cannot be asked, or has no such folder.
    """
    if _kind(url) not in PACKAGES:
        raise UserError(f"data.path: {url} is none of {', '.join(f'{one}://' for one in PACKAGES)}")
    if ":" in url.partition("://")[2].rpartition("@")[0]:
        raise UserError("data.path has a password in it, and goes into files: give it in the environment")
    folder, begun = Url(url), time.time_ns()
    server = {name: os.environ[name] for name in SERVERS if name in os.environ}
    tree = indexed(folder, [server], lambda: _listed(folder), lambda kept: not again)
    if tree.since < begun:
        day = time.strftime("%Y-%m-%d", time.localtime(tree.since / 1e9))
        say(f"{url}: {len(tree.names):,} files as they were listed on {day} (data.source.relist=true lists them anew)")
    return tree


def _listed(folder: Url) -> Tree:
    since = time.time_ns()
    try:
        server, path = url_to_fs(str(folder))
        found = server.find(path, detail=True)
    except ImportError as error:
        package = PACKAGES[_kind(str(folder))]
        raise UserError(f"data.path: {folder} needs a package: pip install {package}") from error
    except Exception as error:  # each kind of server has its own
        raise UserError(f"data.path: {folder} could not be listed: {first_line(error)}") from error
    facts = {one[len(path) :].lstrip("/"): (int(info["size"]), _mark(info)) for one, info in found.items()}
    files = {name: fact for name, fact in facts.items() if not any(part.startswith(".") for part in name.split("/"))}
    if not files:
        raise UserError(f"data.path: there is no file in {folder}")
    if any(name.lower().endswith(DICOM) for name in files):
        raise UserError(f"data.path: {folder} has DICOM files, which are read from this machine alone: copy them")
    return tree_of(folder, files, since)


def _mark(info: dict[str, Any]) -> int:
    """A number that changes with what a server says of a file: its time, its digest."""
    said = sorted((name, str(value)) for name, value in info.items())
    return int.from_bytes(hashlib.sha256(repr(said).encode()).digest()[:8], "little") >> 1


def fetched(sizes: Mapping[str, int], patience: float) -> dict[str, bytes]:
    """The contents of files, asked for together; `sizes`: how many bytes each has, as they were listed.

    Raises UserError where one is not there or has another size by now, or the server has not answered for `patience`
    seconds.
    """
    contents = {url: b"" for url, size in sizes.items() if not size}  # a range of nothing cannot be asked for
    until, pause = time.monotonic() + patience, 1.0
    while missing := {url: size for url, size in sizes.items() if url not in contents}:
        tried = dict(zip(missing, _tried(missing), strict=True))
        contents |= {url: found for url, found in tried.items() if isinstance(found, bytes)}
        failed = {url: found for url, found in tried.items() if isinstance(found, Exception)}
        for url, error in failed.items():
            if isinstance(error, PERMANENT) or time.monotonic() > until:
                raise UserError(f"{url} could not be read: {first_line(error)}") from error
        if failed:
            if pause == 1:
                url, error = next(iter(failed.items()))
                _say(f"{url} cannot be read now ({first_line(error)}): it is asked for again, for {patience:,.0f} s")
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 # so that not all workers come back at once
            pause = min(2 * pause, LONGEST)
    if pause > 1:
        _say("the server answers again")
    for url, size in sizes.items():
        if len(contents[url]) != size:
            raise UserError(f"{url} has changed since it was listed: data.source.relist=true lists all anew")
    return contents


def _tried(sizes: Mapping[str, int]) -> list[bytes | Exception]:
    try:
        server, _ = url_to_fs(next(iter(sizes)))  # fsspec keeps it for this process and thread
        paths = [str(server._strip_protocol(url)) for url in sizes]
        ends = [size + 1 for size in sizes.values()]  # so that one which has grown shows
        return server.cat_ranges(paths, [0] * len(paths), ends, on_error="return")
    except Exception as error:  # each kind of server has its own
        return [error] * len(sizes)


def _say(text: str) -> None:
    """Once, where several workers read."""
    worker = torch.utils.data.get_worker_info()
    if worker is None or worker.id == 0:
        say(text)
