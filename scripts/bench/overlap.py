"""How many sentences of a test share WORDS words in a row with texts of a training: overlap.py SST2 FOLDER…

SST2 has {train,dev,test}.tsv; each FOLDER has Parquet files with a column `text`.
"""

import re
import sys
from pathlib import Path

import pandas as pd

WORDS = (8, 12)


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def main() -> None:
    test, *folders = map(Path, sys.argv[1:])
    texts = [
        text for folder in folders for file in sorted(folder.glob("*.parquet")) for text in pd.read_parquet(file).text
    ]
    for length in WORDS:
        known = set().union(*(runs(text, length) for text in texts))
        for file in sorted(test.glob("*.tsv")):
            own = [runs(line.split("\t")[0], length) for line in file.read_text().splitlines()]
            long = [some for some in own if some]
            shared = sum(not some.isdisjoint(known) for some in long)
            print(f"{file.stem}: {shared} of {len(long):,} sentences of {length} words or more share {length} in a row")


if __name__ == "__main__":
    main()
