"""aspctl quarantine shows what the function could not process, and deletes what is confirmed.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events ASPCTL=target/debug/aspctl \
    python -m unittest discover -v -s tests/aspctl -p test_quarantine.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import unittest
from collections import Counter
from collections.abc import Callable
from typing import Any

from kept_messages import KeptMessagesTest, intercepted
from proxy import JSON_DENIED, Answer, proxy
from tool import ASPCTL, OWN, Result, run, start

QUEUE = "QuarantineQueue"


def setUpModule() -> None:
    QuarantineTest.set_up_module()


def quarantined(id: str | None, reason: str = "NOT_JSON", text: str = "hello") -> dict[str, Any]:
    """A message as the function quarantines it."""
    data = {"reason": reason, "detail": f"$.{id}: a problem", "message": text, "messageId": id}
    return {
        "specversion": "1.0",
        "id": f"q-{id}",
        "type": "aspevents.quarantine.v1",
        "time": "2026-11-20T09:02:03Z",
        "data": {name: value for name, value in data.items() if value is not None},
    }


class QuarantineTest(KeptMessagesTest):
    """All tests share a stack. Each test must leave its queues empty."""

    def quarantine(self, *args: str, env: dict[str, str] | None = None) -> Result:
        return run("quarantine", *args, env=env or self.env)

    def succeed(self, *args: str, env: dict[str, str] | None = None) -> Result:
        done = self.quarantine(*args, env=env)
        self.assertEqual(done.status, 0, done.err + done.out)
        return done

    def fill(self, *ids: str) -> None:
        self.put(QUEUE, *map(quarantined, ids))

    def assert_kept(self, *ids: str) -> None:
        """Checks that these messages, and no others, are visible; takes them out."""
        self.assertEqual(self.counts(QUEUE), (len(ids), 0))
        kept = [message.event["data"]["messageId"] for message in self.watch.drain(QUEUE)]
        self.assertCountEqual(kept, ids)


class Reading(QuarantineTest):
    def test_list_shows_what_the_function_quarantined(self) -> None:
        id = self.watch.publish("not JSON")
        self.eventually(lambda: self.counts(QUEUE) == (1, 0))
        [listed] = self.succeed("list", "--output", "json").json["messages"]
        self.assertEqual((listed["id"], listed["reason"]), (id, "NOT_JSON"))
        [kept] = self.watch.settle(1)
        self.assertEqual(listed["detail"], kept.event["data"]["detail"])
        self.put(QUEUE, kept.body)
        done = self.succeed("list")
        self.assertRegex(done.lines[0], r"^ID +REASON +RECEIVED +EVENT TYPE +ABOUT +DETAIL$")
        self.assertIn(id, done.lines[1])
        self.assertIn(listed["detail"], done.lines[1])
        self.assertEqual((len(done.lines), done.err), (2, ""))
        self.assert_kept(id)

    def test_list_by_reason_leaves_everything_visible(self) -> None:
        self.fill("m-1")
        self.put(QUEUE, quarantined("m-2", "UNKNOWN_STATUS"), quarantined("m-3", "NOT_AN_EVENT"))
        args = ("--reason", "UNKNOWN_STATUS", "--reason", "NOT_AN_EVENT")
        listed = self.succeed("list", *args, "--output", "json").json["messages"]
        self.assertEqual({entry["id"] for entry in listed}, {"m-2", "m-3"})
        self.assertEqual(self.quarantine("list", "--reason", "OTHER").status, 64)
        self.assert_kept("m-1", "m-2", "m-3")

    def test_nothing_is_quarantined(self) -> None:
        done = self.succeed("list")
        self.assertEqual((done.out, done.err), ("", "Nothing found.\n"))
        self.assertEqual(self.succeed("list", "--output", "json").json["messages"], [])

    def test_show_prints_the_text_byte_for_byte(self) -> None:
        text = '{ "header": {\n  "n": [1.50, 1e3] } }'
        self.put(QUEUE, quarantined("m-1"), quarantined("m-2", "INVALID_EVENT", text))
        done = self.succeed("show", "m-2")
        fields, _, shown = done.out.partition("\n\n")
        self.assertEqual(shown, f"{text}\n")
        rows = [line.split(maxsplit=1) for line in fields.splitlines()]
        for row in (["id", "m-2"], ["reason", "INVALID_EVENT"], ["detail", "$.m-2: a problem"]):
            self.assertIn(row, rows)
        shown = self.succeed("show", "m-2", "--output", "json").json
        self.assertEqual((shown["id"], shown["message"]), ("m-2", text))
        self.assert_kept("m-1", "m-2")

    def test_show_of_an_unknown_id(self) -> None:
        self.fill("m-1")
        done = self.quarantine("show", "m-9")
        self.assertEqual((done.status, done.out), (1, ""))
        self.assertIn("error: m-9: QuarantineQueue has no such message that can be seen", done.err)
        self.assert_kept("m-1")

    def test_what_the_function_did_not_send_is_shown_too(self) -> None:
        self.put(QUEUE, "hello\u202e", quarantined(None))
        listed = self.succeed("list", "--output", "json").json["messages"]
        self.assertEqual(Counter(entry["reason"] for entry in listed), Counter([None, "NOT_JSON"]))
        [foreign] = [entry["id"] for entry in listed if entry["reason"] is None]
        done = self.succeed("show", foreign)
        self.assertIn("hello\ufffd", done.out)
        self.succeed("discard", *(entry["id"] for entry in listed), "--yes")

    def test_a_large_quarantine_is_read_in_part(self) -> None:
        self.fill(*(f"m-{number}" for number in range(2_050)))
        done = self.succeed("list", "--output", "json")
        self.assertEqual((len(done.json["messages"]), done.json["unread"]), (2_000, 50))
        self.assertIn("About 50 more messages were not read from QuarantineQueue", done.err)
        self.assertIn("at most 2000 are hidden from other consumers at once", done.err)
        self.assertEqual(self.counts(QUEUE), (2_050, 0))
        done = self.quarantine("discard", "--all", "--yes", "--quiet")
        self.assertIn("2000 messages discarded", done.out)
        self.assertEqual(self.counts(QUEUE), (50, 0))
        self.succeed("discard", "--all", "--yes")

    def test_messages_that_another_consumer_has(self) -> None:
        self.fill("m-1")
        url, sqs = self.watch.urls[QUEUE], self.watch.sqs
        [message] = sqs.receive_message(QueueUrl=url)["Messages"]
        done = self.succeed("list")
        self.assertIn("1 message in QuarantineQueue cannot be received at present", done.err)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def test_messages_are_hidden_for_30_seconds(self) -> None:
        self.fill("m-1", "m-2")

        def kill(operation: str, ask: Callable[[], Answer]) -> Answer:
            answer = ask()
            if operation == "ReceiveMessage":
                process.kill()
            return answer

        with proxy(self.stack.endpoint, kill, poll=False) as running_proxy:
            env = self.env | {"AWS_ENDPOINT_URL": running_proxy.endpoint}
            process = start("quarantine", "list", env=env)
            process.communicate(timeout=30)
        # Killed, it cannot show them again: that is up to SQS, after the time that it asked for.
        [received] = running_proxy.bodies["ReceiveMessage"]
        self.assertEqual(json.loads(received)["VisibilityTimeout"], 30)
        self.assertEqual(self.counts(QUEUE), (0, 2))
        self.watch.sqs.purge_queue(QueueUrl=self.watch.urls[QUEUE])

    def test_an_interruption_shows_the_messages_again(self) -> None:
        for args in (["list"], ["show", "m-9"], ["discard", "--all", "--yes"]):
            filled = 0

            def interrupt(operation: str, ask: Callable[[], Answer]) -> Answer:
                nonlocal filled
                if operation == "ReceiveMessage":
                    # There is one more each time, so that only the signal ends it.
                    self.fill(f"n-{filled}")
                    filled += 1
                    if filled == 1:
                        process.send_signal(signal.SIGINT)
                return ask()

            with self.subTest(args), intercepted(self.stack, interrupt) as env:
                process = start("quarantine", *args, env=env)
                out, err = process.communicate(timeout=30)
                self.assertEqual((process.returncode, out), (130, ""))
                self.assertIn("error: interrupted. Nothing was changed", err)
                self.assert_kept(*(f"n-{number}" for number in range(filled)))

    def test_a_failure_shows_the_messages_again(self) -> None:
        self.fill("m-1", "m-2")
        received = 0

        def deny_second(operation: str, ask: Callable[[], Answer]) -> Answer:
            nonlocal received
            received += operation == "ReceiveMessage"
            return JSON_DENIED if operation == "ReceiveMessage" and received == 2 else ask()

        with intercepted(self.stack, deny_second) as env:
            done = self.quarantine("list", env=env)
        self.assertEqual((done.status, done.out), (1, ""))
        self.assertIn("Allow sqs:ReceiveMessage", done.err)
        self.assert_kept("m-1", "m-2")

    def test_a_closed_pipe_is_no_error(self) -> None:
        self.fill("m-1")
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [ASPCTL, "quarantine", "list"],
            env=OWN | self.env,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=30,
        )
        os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assert_kept("m-1")


class Discarding(QuarantineTest):
    def test_only_what_is_named_is_deleted(self) -> None:
        # SNS may deliver a message twice.
        self.fill("m-1", "m-2", "m-3", "m-1")
        done = self.succeed("discard", "m-1", "m-3", "--yes")
        self.assertIn("3 messages discarded from QuarantineQueue", done.out)
        self.assertIn("AWS account 000000000000, region us-east-1, stack asp-events", done.err)
        self.assert_kept("m-2")

    def test_an_unknown_id_does_not_stop_the_others(self) -> None:
        self.fill("m-1", "m-2")
        done = self.quarantine("discard", "m-9", "m-1", "--yes")
        self.assertEqual(done.status, 1)
        self.assertIn("error: m-9: QuarantineQueue has no such message", done.err)
        self.assertIn("1 message discarded", done.out)
        done = self.quarantine("discard", "m-9", "--yes")
        self.assertEqual(done.status, 1)
        self.assertEqual(done.out, "0 messages discarded from QuarantineQueue\n")
        self.assert_kept("m-2")

    def test_all(self) -> None:
        self.fill(*(f"m-{number}" for number in range(25)))
        done = self.succeed("discard", "--all", "--yes")
        self.assertIn("25 messages discarded", done.out)
        self.assertEqual(self.counts(QUEUE), (0, 0))

    def test_wrong_usage(self) -> None:
        for args in ([], ["--all", "m-1"], ["m-1", ""]):
            with self.subTest(args):
                self.assertEqual(self.quarantine("discard", *args, "--yes").status, 64)

    def test_no_terminal_to_prompt_on(self) -> None:
        self.fill("m-1", "m-2")
        done = self.quarantine("discard", "--all")
        self.assertEqual(done.status, 1)
        problem = "nothing was changed: cannot prompt: standard input is not a terminal"
        self.assertIn(problem, done.err)
        self.assert_kept("m-1", "m-2")

    def read_to_prompt(self, process: subprocess.Popen[str]) -> str:
        assert process.stderr
        read = ""
        while "[y/N]" not in read:
            self.assertTrue(character := process.stderr.read(1), read)
            read += character
        return read

    def test_answer_yes(self) -> None:
        self.fill("m-1", "m-2", "m-3")
        process, user = self.prompting("quarantine", "discard", "m-1", "m-2")
        self.assertIn("Discard 2 messages? This cannot be undone.", self.read_to_prompt(process))
        # They cannot be replayed, or changed, while they are being decided on.
        self.assertEqual(self.counts(QUEUE), (0, 3))
        self.put(QUEUE, quarantined("m-1"))
        os.write(user, b"y\n")
        out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0, err)
        self.assertIn("m-2", out)
        self.assertIn("2 messages discarded", out)
        # One that arrives meanwhile was not confirmed, whatever its id.
        self.assert_kept("m-1", "m-3")

    def test_answer_no(self) -> None:
        self.fill("m-1", "m-2")
        process, user = self.prompting("quarantine", "discard", "--all")
        os.write(user, b"n\n")
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertIn("nothing was changed: not confirmed", err)
        self.assert_kept("m-1", "m-2")

    def test_interrupt_at_the_prompt(self) -> None:
        self.fill("m-1")
        process, _ = self.prompting("quarantine", "discard", "--all")
        self.read_to_prompt(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        self.assertIn("interrupted. Nothing was changed", err)
        self.assert_kept("m-1")

    def test_interrupt_between_two_calls(self) -> None:
        self.fill(*(f"m-{number}" for number in range(200)))

        deleted = 0

        def interrupt(operation: str, ask: Callable[[], Answer]) -> Answer:
            nonlocal deleted
            if operation == "DeleteMessageBatch":
                deleted += 10
                if deleted == 10:
                    process.send_signal(signal.SIGTERM)
            return ask()

        with intercepted(self.stack, interrupt) as env:
            process = start("quarantine", "discard", "--all", "--yes", env=env)
            out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        self.assertIn(f"{deleted} messages discarded", out)
        self.assertIn("interrupted. The other messages remain where they were", err)
        self.assertLess(deleted, 200)
        self.assertEqual(self.counts(QUEUE), (200 - deleted, 0))
        self.succeed("discard", "--all", "--yes")

    def test_a_message_that_sqs_does_not_delete(self) -> None:
        self.fill("m-1")

        def keep(operation: str, ask: Callable[[], Answer]) -> Answer:
            if operation != "DeleteMessageBatch":
                return ask()
            failed = {"Id": "0", "Code": "InternalError", "SenderFault": False}
            return Answer(200, json.dumps({"Successful": [], "Failed": [failed]}).encode())

        with intercepted(self.stack, keep) as env:
            done = self.quarantine("discard", "m-1", "--yes", env=env)
        self.assertEqual(done.status, 1)
        self.assertIn("0 messages discarded from QuarantineQueue\n1 message not deleted", done.out)
        self.watch.sqs.purge_queue(QueueUrl=self.watch.urls[QUEUE])

    def test_the_permission_to_delete_is_missing(self) -> None:
        self.fill("m-1", "m-2")

        def deny(operation: str, ask: Callable[[], Answer]) -> Answer:
            return JSON_DENIED if operation == "DeleteMessageBatch" else ask()

        with intercepted(self.stack, deny) as env:
            done = self.quarantine("discard", "m-1", "--yes", env=env)
        self.assertEqual(done.status, 1)
        self.assertIn("0 messages discarded", done.out)
        self.assertIn("Allow sqs:DeleteMessage", done.err)
        # It is not known whether SQS deleted it: it stays hidden until SQS shows it again.
        self.assertEqual(self.counts(QUEUE), (1, 1))
        self.watch.sqs.purge_queue(QueueUrl=self.watch.urls[QUEUE])


if __name__ == "__main__":
    unittest.main()
