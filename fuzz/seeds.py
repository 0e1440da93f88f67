"""Writes the text of each message in events/ into a folder, a file each: what the event's fuzzer begins with."""

import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for sample in sorted(pathlib.Path("events").glob("*.json")):
    for index, record in enumerate(json.loads(sample.read_text()).get("Records", [])):
        text = record["Sns"]["Message"] if "Sns" in record else record["body"]
        (folder / f"{sample.stem}-{index}").write_text(text)
