"""AsyncAPI's own parser accepts schemas/asyncapi.json. `make unit` checks that it is up to date.

.venv-consumers/bin/python -m unittest discover -v -s tests/consumers
"""

from __future__ import annotations

import json
import unittest
from typing import Any

from document import HAS_NODE, ROOT, TOOLS, WITHOUT_NODE, run

DOCUMENT = ROOT / "schemas/asyncapi.json"


@unittest.skipUnless(HAS_NODE, WITHOUT_NODE)
class AsyncApiTest(unittest.TestCase):
    def validate(self, document: Any) -> tuple[int, str]:
        return run(["node", TOOLS / "validate.mjs"], json.dumps(document))

    def test_the_parser_accepts_the_document(self) -> None:
        status, said = self.validate(json.loads(DOCUMENT.read_bytes()))
        self.assertEqual((status, said), (0, "valid: 8 channels, 7 messages\n"))

    def test_the_parser_refuses_a_wrong_binding(self) -> None:
        document = json.loads(DOCUMENT.read_bytes())
        del document["channels"]["RetryTopic"]["bindings"]["sns"]["name"]
        status, said = self.validate(document)
        self.assertEqual(status, 1)
        self.assertIn("channels.RetryTopic.bindings.sns", said)

    def test_the_parser_refuses_a_message_of_another_channel(self) -> None:
        document = json.loads(DOCUMENT.read_bytes())
        operations = document["operations"]
        others = operations["publishToReportTopic"]["messages"]
        operations["publishToRetryTopic"]["messages"] = others
        status, said = self.validate(document)
        self.assertEqual(status, 1)
        self.assertIn("operations.publishToRetryTopic", said)


class ResourceTest(unittest.TestCase):
    def test_the_channels_are_resources_of_the_template(self) -> None:
        channels = json.loads(DOCUMENT.read_bytes())["channels"]
        template = (ROOT / "template.yaml").read_text()
        for name in channels:
            with self.subTest(name):
                kind = "SNS::Topic" if name.endswith("Topic") else "SQS::Queue"
                self.assertIn(f"\n  {name}:\n    Type: AWS::{kind}\n", template)
                self.assertTrue(f"\n  {name}Arn:" in template, f"no output {name}Arn")


if __name__ == "__main__":
    unittest.main()
