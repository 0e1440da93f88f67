"""Writes the text of each message in events/ to a file of its own: seeds of the event fuzzer."""

import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for sample in sorted(pathlib.Path("events").glob("*.json")):
    # expected.json is no sample and has no records.
    for index, record in enumerate(json.loads(sample.read_text()).get("Records", [])):
        text = record["Sns"]["Message"] if "Sns" in record else record["body"]
        (folder / f"{sample.stem}-{index}").write_text(text)
