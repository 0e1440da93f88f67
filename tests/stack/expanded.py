"""The template as SAM expands it for CloudFormation, with the resources of all conditions."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

from samtranslator.translator.transform import transform

from stack import REGION

# The translator complains about metrics of its own that nobody publishes.
logging.getLogger("samtranslator").setLevel(logging.ERROR)


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def expanded(
    template: dict[str, Any], parameters: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Expands a template, whose function gets some code that lies in S3."""
    function = template["Resources"]["AspEventsFunction"]["Properties"]
    function["CodeUri"] = "s3://code/function"
    with patch.dict(os.environ, AWS_DEFAULT_REGION=REGION):
        result: dict[str, Any] = transform(template, dict(parameters or {}), _NoManagedPolicies())
    return result
