"""An S3 server for tests, moto's, as a process of its own: python bucket.py PORT BUCKET FOLDER serves the files of a
folder, which are there before it answers."""

import sys
from pathlib import Path
from urllib.parse import quote

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.test import Client


def main(port: int, bucket: str, folder: Path) -> None:
    server = DomainDispatcherApplication(create_backend_app)
    client = Client(server)
    client.put(f"/{bucket}", base_url="http://s3.amazonaws.com")
    for file in folder.rglob("*"):
        if file.is_file():
            path = quote(f"/{bucket}/{file.relative_to(folder)}")
            client.put(path, data=file.read_bytes(), base_url="http://s3.amazonaws.com")
    run_simple("127.0.0.1", port, server, threaded=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
