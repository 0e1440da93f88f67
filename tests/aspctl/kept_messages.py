"""The base of the tests of what queues keep: a stack whose queues a test fills, and must empty."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from proxy import Intercept, proxy
from tool import ASPCTL, OWN, aws

from case import BOOTSTRAP  # isort: skip
from stack import Stack, running  # isort: skip
from watch import FAILURE_QUEUES, QUEUES, Watch  # isort: skip


@contextmanager
def intercepted(stack: Stack, intercept: Intercept | None = None) -> Iterator[dict[str, str]]:
    """Runs a proxy; with these variables, aspctl reaches the stack through it.

    MiniStack is one server and returns all messages of a queue at once. Without long polls each
    test is a second faster.
    """
    with proxy(stack.endpoint, intercept, poll=False) as running_proxy:
        yield aws(stack) | {"AWS_ENDPOINT_URL": running_proxy.endpoint}


class KeptMessagesTest(unittest.TestCase):
    """All tests of a module share a stack. Each test must leave its queues empty."""

    stack: ClassVar[Stack]
    watch: ClassVar[Watch]
    env: ClassVar[dict[str, str]]

    @classmethod
    def set_up_module(cls) -> None:
        """Runs the stack, for a module's `setUpModule`."""
        cls.stack = unittest.enterModuleContext(running(BOOTSTRAP, say=lambda _: None))
        cls.watch = Watch(cls.stack)
        cls.env = unittest.enterModuleContext(intercepted(cls.stack))

    def setUp(self) -> None:
        # Forget invocations of earlier tests, even failed ones.
        self.watch.invocations = self.watch.ended_invocations()

    def tearDown(self) -> None:
        for queue in (*FAILURE_QUEUES, *QUEUES):
            self.assertEqual(self.watch.drain(queue), [], f"left in {queue}")

    def put(self, queue: str, *bodies: Any, **attributes: str) -> None:
        """Sends messages to a queue, objects as JSON."""
        described = {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        }
        for first in range(0, len(bodies), 10):
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": body if isinstance(body, str) else json.dumps(body),
                    "MessageAttributes": described,
                }
                for number, body in enumerate(bodies[first : first + 10])
            ]
            self.watch.sqs.send_message_batch(QueueUrl=self.watch.urls[queue], Entries=entries)

    def prompting(self, *args: str) -> tuple[subprocess.Popen[str], int]:
        """A command that prompts on a terminal, and the terminal's other end."""
        user, terminal = pty.openpty()
        self.addCleanup(os.close, user)
        process = subprocess.Popen(
            [ASPCTL, *args],
            env=OWN | self.env,
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(terminal)
        self.addCleanup(process.kill)
        return process, user

    def counts(self, queue: str) -> tuple[int, int]:
        """The numbers of visible and of invisible messages in a queue."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        url = self.watch.urls[queue]
        answer = self.watch.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return int(answer["Attributes"][names[0]]), int(answer["Attributes"][names[1]])

    def eventually(self, found: Callable[[], object], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not found():
            self.assertLess(time.monotonic(), deadline, f"not within {seconds:.0f} s")
            time.sleep(0.02)
