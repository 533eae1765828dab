"""Tables of texts that other people have written: read strictly, or refused with the row."""

import json

import pandas
import pytest

from ssl_lab.data.corpora import TextTable
from ssl_lab.errors import UserError


def read(folder, files, **options):
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return TextTable(None, str(folder), **options).splits()


@pytest.mark.parametrize(
    ("files", "options", "texts", "labels"),
    [
        ({"train.csv": "text,label\nNone,a\nNA,b\nnan,a\n,b\n"}, {}, ["None", "NA", "nan", ""], [0, 1, 0, 1]),
        ({"train.csv": "text;label\nso, well;1\nno;0\n"}, {}, ["so, well", "no"], [1, 0]),
        ({"train.csv": 'text,label\n"two\nlines, ""1""",1\n5" disk,0\n'}, {}, ['two\nlines, "1"', '5" disk'], [1, 0]),
        ({"train.tsv": 'text\tlabel\n"a quote" is one\t1\nx\t0\n'}, {}, ['"a quote" is one', "x"], [1, 0]),
        ({"train.tsv": 'text\tlabel\n"a\tb"\t1\nx\t0\n'}, {"quoting": True}, ["a\tb", "x"], [1, 0]),
        ({"train.csv": "ID,Text,Label\n7,x,10\n8,y,9\n"}, {}, ["x", "y"], [1, 0]),
        ({"train.csv": "id,sentence,label\n7,x,1\n8,y,0\n"}, {}, ["x", "y"], [1, 0]),  # the only one of words
        ({"train.csv": b"text,label\ncaf\xe9,1\nb,0\n"}, {"encoding": "latin-1"}, ["café", "b"], [1, 0]),
        ({"train.csv": "x,1\ny,0\n"}, {"columns": ["text", "label"]}, ["x", "y"], [1, 0]),
        ({"train.csv": "text,label\nx,1.0\ny,\nz,2.0\n"}, {}, ["x", "y", "z"], [0, -1, 1]),
        ({"train.jsonl": '{"text": "x\\ny", "label": 7}\n{"text": "NA", "label": 3}\n'}, {}, ["x\ny", "NA"], [1, 0]),
    ],
)  # fmt: skip
def test_what_stands_in_a_table_is_what_is_read(files, options, texts, labels, tmp_path):
    split = read(tmp_path, files, **options)["train"]
    assert list(split.texts) == texts
    assert split.labels.tolist() == labels


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({"train.csv": "text,label\na,1\nso, well,1\n"}, {}, r"train.csv could not .*Row #3: Expected 2 columns"),
        ({"train.tsv": 'text\tlabel\n"a\tb"\t1\n'}, {}, r"Row #2: Expected 2 columns, got 3.*data.source.quoting=true"),
        ({"train.csv": "a stirring film,1\nno good,0\n"}, {}, r"first row looks like data, not like names \('1'\)"),
        ({"train.csv": "title,body,label\na,b,1\nc,d,0\n"}, {}, r"which column has the texts\? data.source.text=title"),
        ({"train.csv": b"text,label\ncaf\xe9,1\n"}, {}, "train.csv is not utf-8 .*: set data.source.encoding"),
        ({"train.csv": "text,label\na,1\n", "train.tsv": "text\tother\nb\t0\n"}, {}, "columns text, other, and train"),
        ({"train.csv": "text,label\na,1\nb,0.5\n"}, {}, "0.5 is a fraction"),
        ({"train.csv": "text,label\na,1\n"}, {"text": "txt"}, r"no column 'txt' .*; did you mean text\?"),
        ({"train.csv": ""}, {}, "Empty CSV file"),
        ({"train.jsonl": '{"text": "a"}\n{"text": \n'}, {}, "train.jsonl could not be read as a table"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_row(files, options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read(tmp_path, files, **options)


def test_splits_may_be_written_in_several_ways(tmp_path, capfd):
    """And labels that pandas writes as 1.0 in one split, since a cell is empty, are 1 of the other."""
    pandas.DataFrame({"text": ["p", "q"], "label": [1, 2]}).to_parquet(tmp_path / "dev.parquet")
    files = {"train.csv": "text|label\na|1.0\nb|\nc|2.0\n", "test.tsv": "text\tlabel\nd\t2\n"}
    splits = read(tmp_path, files | {"validation.jsonl": json.dumps({"text": "e", "label": 1}) + "\n"})
    assert {name: split.labels.tolist() for name, split in splits.items()} == {
        "dev": [0, 1], "train": [0, -1, 1], "test": [1], "validation": [0],
    }  # fmt: skip
    assert {tuple(split.classes) for split in splits.values()} == {("1", "2")}
    assert "its columns are separated by '|'" in capfd.readouterr().err
    with pytest.raises(UserError, match=r"has 'dev' in Parquet and as dev.csv: remove one"):
        read(tmp_path, {"dev.csv": "text,label\nx,1\n"})


def test_a_table_that_is_read_in_another_way_is_other_data(tmp_path):
    files = {"train.tsv": 'text\tlabel\n"a"\t1\n'}
    assert read(tmp_path, files)["train"].identity == read(tmp_path, files)["train"].identity
    assert read(tmp_path, files)["train"].identity != read(tmp_path, files, quoting=True)["train"].identity
