"""Studies of tests, and how they are run."""

import pyarrow.parquet

from onewafer.cli.main import execute

DECODE = """
title = "A small decode"
filters = ["sram >= 24576"]
objectives = { tpot_seconds = "min", joules_per_token = "min" }

[compare]
model = "llama-3.1-8b"
job = "decode"
context = 128
mode = "pipeline"

[axes]
region = ["48x48", "64x64"]
sram = ["16KiB", "48KiB"]
clock = [850e6, "1.1GHz"]
"""


def write_study(folder, text, name="study.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def sweep(capsys, study, *options):
    code = execute(["sweep", str(study), *options])
    out, err = capsys.readouterr()
    return code, out, err


def rows(study):
    return pyarrow.parquet.read_table(study.with_suffix(".sweep") / "points.parquet").to_pylist()
