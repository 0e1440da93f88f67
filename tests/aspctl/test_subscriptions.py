"""aspctl plan, apply, destroy, list, get and delete, against a stand-in for Alexa."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import tomllib
import unittest
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from jsonschema import Draft202012Validator

from alexa import CONFIGURATIONS, PROFILE, SUBSCRIPTIONS, Alexa, Drop, Request, Resource
from tool import ASPCTL, OWN, ROOT, Result, on_terminal, run, start

TOPIC = "arn:aws:sns:us-east-1:123456789012:asp-events"
OTHER_TOPIC = "arn:aws:sns:us-east-1:123456789012:another"
ROOMS = [f"amzn1.alexa.unit.did.EXAMPLEROOM{number}" for number in range(101, 104)]
PROPERTY, SKILL = "amzn1.alexa.unit.did.EXAMPLEPROPERTY", "amzn1.ask.skill.00000000-0000-0000-0000-000000000101"
EXCERPT = re.compile(r" *\d* \|( |$)")  # a line of the file, or what is around it
AUTOMATION = {"namespace": "Alexa.Automation.Execution", "name": "Completion"}

FILE = f"""
topic = "{TOPIC}"

[[subscription]]
events = ["Alexa.Automation.Execution.Completion"]
units = ["{ROOMS[0]}", "{ROOMS[1]}"]

[[subscription]]
events = ["Alexa.Skill.Interaction.Failure"]
units = ["{ROOMS[0]}"]
skills = ["{SKILL}"]

[[subscription]]
events = ["Alexa.Enterprise.Subscription.Activation"]
parents = ["{PROPERTY}"]

[[subscription]]
events = ["Alexa.Role.Management.Assignment", "Alexa.Role.Management.Revocation"]
resources = ["{PROPERTY}"]

[[subscription]]
events = ["Alexa.Endpoint.Lifecycle.SetupCompletion"]
entities = {{ user = {{ type = "User", id = "amzn1.account.EXAMPLE" }} }}
"""
ONE_ROOM = f"""
topic = "{TOPIC}"
[[subscription]]
events = ["Alexa.Automation.Execution.Completion"]
units = ["{ROOMS[0]}"]
"""


def unit(room: str) -> dict[str, Any]:
    return {"unit": {"type": "Unit", "id": room}}


class AlexaTest(unittest.TestCase):
    """Runs a stand-in for Alexa and has a subscriptions file."""

    def setUp(self) -> None:
        self.alexa = self.enterContext(Alexa())
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.write(FILE)

    def write(self, text: str) -> None:
        (self.folder / "subscriptions.toml").write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        file = str(self.folder / "subscriptions.toml")
        return self.alexa.environment | {"ASPCTL_ALEXA_BACKOFF": "2ms", "ASPCTL_FILE": file}

    def aspctl(self, *args: str) -> Result:
        return run(*args, env=self.environment)

    def ok(self, *args: str) -> Result:
        result = self.aspctl(*args)
        self.assertEqual(result.status, 0, f"{args}\n{result.out}\n{result.err}")
        return result

    def refused(self, *args: str) -> str:
        """Runs aspctl, which must fail; the problem and the hint of its error."""
        result = self.aspctl(*args)
        self.assertEqual(result.status, 1, f"{args}\n{result.out}\n{result.err}")
        lines = result.err[result.err.index("error: ") :].splitlines()
        problem, *hint = [line for line in lines if not EXCERPT.match(line)]
        self.assertIn(len(lines) - len(hint), (1, 4), "an excerpt has three lines")
        self.assertTrue(problem.startswith("error: ") and len(hint) <= 1, result.err)
        self.assertTrue(all(line.startswith("hint: ") for line in hint), result.err)
        return "\n".join([problem, *hint])

    def called(self, *methods: str) -> list[Request]:
        return [r for r in self.alexa.requests if r.method in methods and r.path.startswith("/v1/")]

    def entities(self) -> list[Any]:
        return [subscription.body["entities"] for subscription in self.alexa.subscriptions]


class Applying(AlexaTest):
    def test_apply_creates_the_subscriptions_with_documented_requests(self) -> None:
        result = self.ok("apply")
        [configuration] = self.alexa.configurations
        self.assertEqual(configuration.body["deliveryChannels"], [{"type": "SNS", "id": TOPIC}])
        created = [
            (f"{s.body['eventType']['namespace']}.{s.body['eventType']['name']}", s.body["entities"])
            for s in self.alexa.subscriptions
        ]
        resource = {"resource": {"type": "Resource", "resourceType": "Unit", "resourceId": PROPERTY}}
        self.assertCountEqual(
            created,
            [
                ("Alexa.Automation.Execution.Completion", unit(ROOMS[0])),
                ("Alexa.Automation.Execution.Completion", unit(ROOMS[1])),
                ("Alexa.Skill.Interaction.Failure", unit(ROOMS[0]) | {"skill": {"type": "Skill", "id": SKILL}}),
                ("Alexa.Enterprise.Subscription.Activation", {"unit": {"parent": {"type": "Unit", "id": PROPERTY}}}),
                ("Alexa.Role.Management.Assignment", resource),
                ("Alexa.Role.Management.Revocation", resource),
                ("Alexa.Endpoint.Lifecycle.SetupCompletion", {"user": {"type": "User", "id": "amzn1.account.EXAMPLE"}}),
            ],
        )
        self.assertEqual({s.body["subscriptionConfigurationId"] for s in self.alexa.subscriptions}, {configuration.id})
        self.assertIn("7 to create, 0 to replace, 0 to delete, 0 unchanged", result.out)
        self.assertEqual(self.alexa.token_calls, 1)

    def test_plan_shows_the_changes_of_apply_without_any(self) -> None:
        result = self.ok("plan")
        self.assertIn(f"+ create  Alexa.Enterprise.Subscription.Activation  unit.parent {PROPERTY}", result.lines)
        self.assertIn("7 to create", result.lines[-1])
        self.assertEqual(self.called("POST", "DELETE"), [])
        self.assertEqual(self.aspctl("plan", "--detailed-exitcode").status, 2)
        self.ok("apply")
        self.assertIn("Nothing to do: 7 subscriptions match the file.", self.ok("plan").lines)
        self.assertEqual(self.aspctl("plan", "--detailed-exitcode").status, 0)
        plan = self.ok("plan", "--output", "json").json
        self.assertEqual((plan["create"], plan["delete"], len(plan["unchanged"])), ([], [], 7))

    def test_unsupported_event_types_are_reported(self) -> None:
        self.assertEqual(self.ok("plan").err, "", "all types of the file are known")
        self.write(ONE_ROOM.replace("Completion", "Completed"))
        self.assertIn("does not know Alexa.Automation.Execution.Completed", self.ok("plan").err)

    def test_apply_twice_changes_nothing(self) -> None:
        self.ok("apply")
        before = len(self.called("POST", "DELETE"))
        result = self.ok("apply")
        self.assertIn("Nothing to do", result.out)
        self.assertEqual(len(self.called("POST", "DELETE")), before)

    def test_concurrent_runs_are_safe(self) -> None:
        for honours_tokens, most in ((True, 7), (False, 14)):
            with self.subTest(honours_tokens=honours_tokens), Alexa() as self.alexa:
                self.alexa.honours_tokens = honours_tokens
                both = [start("apply", env=self.environment) for _ in range(2)]
                for process in both:
                    process.communicate(timeout=60)
                self.assertEqual([process.returncode for process in both], [0, 0])
                self.assertLessEqual(len(self.alexa.subscriptions), most)
                self.ok("apply", "--prune", "--yes")
                self.assertEqual(len(self.alexa.subscriptions), 7)

    def test_idempotency_tokens_derive_from_the_request(self) -> None:
        self.ok("apply")
        tokens = [request.json["idempotencyToken"] for request in self.called("POST")]
        self.assertEqual(len(set(tokens)), len(tokens), "each request has its own")
        with Alexa() as other:
            self.assertEqual(run("apply", env=self.environment | other.environment).status, 0)
            again = [r.json for r in other.requests if r.path.endswith(CONFIGURATIONS) and r.method == "POST"]
        self.assertEqual(again[0]["idempotencyToken"], tokens[0], "the same request has the same")

    def test_only_prune_deletes_what_the_file_omits(self) -> None:
        self.ok("apply")
        self.write(ONE_ROOM)
        result = self.ok("apply")
        self.assertIn("Left alone: 1 subscription not in the file, to events of its types", result.err)
        self.assertEqual(len(self.alexa.subscriptions), 7)
        most = ("--max-delete", "6")
        self.assertIn("--yes", self.refused("apply", "--prune", *most))
        self.assertEqual(len(self.alexa.subscriptions), 7, "nobody could be asked")
        result = self.ok("apply", "--prune", "--yes", *most)
        self.assertEqual(self.entities(), [unit(ROOMS[0])])
        self.assertIn("Done: 0 created, 6 deleted.", result.lines)
        self.assertIn("Nothing to do", self.ok("apply", "--prune").out)

    def test_an_empty_file_prunes_nothing(self) -> None:
        self.ok("apply")
        self.write(f'topic = "{TOPIC}"')
        self.assertIn("aspctl destroy", self.refused("apply", "--prune", "--yes"))
        self.assertEqual(len(self.alexa.subscriptions), 7)

    def test_another_topic_and_a_shared_configuration_are_left_alone(self) -> None:
        other = self.alexa.add(CONFIGURATIONS, {"deliveryChannels": [{"type": "SNS", "id": OTHER_TOPIC}]})
        channels = [{"type": "SNS", "id": TOPIC}, {"type": "SNS", "id": OTHER_TOPIC}]
        shared = self.alexa.add(CONFIGURATIONS, {"deliveryChannels": channels})
        for configuration, room in ((other, ROOMS[0]), (shared, ROOMS[2])):
            body = {"subscriptionConfigurationId": configuration, "eventType": AUTOMATION, "entities": unit(room)}
            self.alexa.add(SUBSCRIPTIONS, body)
        self.write(ONE_ROOM)
        self.ok("apply", "--prune", "--yes")
        self.assertEqual(self.entities(), [unit(ROOMS[0]), unit(ROOMS[2]), unit(ROOMS[0])])
        self.ok("destroy", "--yes")
        self.assertEqual([configuration.id for configuration in self.alexa.configurations], [other, shared])
        self.assertEqual(self.entities(), [unit(ROOMS[0]), unit(ROOMS[2])])

    def test_duplicates_and_surplus_configurations_are_deleted(self) -> None:
        self.write(ONE_ROOM)
        for _ in range(2):
            configuration = self.alexa.add(CONFIGURATIONS, {"deliveryChannels": [{"type": "SNS", "id": TOPIC}]})
            body = {"subscriptionConfigurationId": configuration, "eventType": AUTOMATION, "entities": unit(ROOMS[0])}
            self.alexa.add(SUBSCRIPTIONS, body)
        left = self.ok("apply")
        self.assertIn("Left alone: 1 duplicate", left.err)
        self.assertEqual((len(self.alexa.subscriptions), len(self.alexa.configurations)), (2, 2))
        self.ok("apply", "--yes")
        self.assertEqual((len(self.alexa.subscriptions), len(self.alexa.configurations)), (1, 2))
        self.ok("apply", "--prune", "--yes")
        self.assertEqual((len(self.alexa.subscriptions), len(self.alexa.configurations)), (1, 1))

    def test_destroy_deletes_everything_of_the_topic_and_apply_restores_it(self) -> None:
        self.ok("apply")
        self.assertIn("nothing was changed", self.refused("destroy"))
        self.assertEqual(len(self.alexa.subscriptions), 7)
        self.ok("destroy", "--yes")
        self.assertEqual((self.alexa.subscriptions, self.alexa.configurations), ([], []))
        self.assertIn("No configuration sends events", self.ok("destroy", "--yes").out)
        # Alexa answers with what the same tokens created before, which is deleted.
        self.assertIn("Done: 7 created, 0 deleted.", self.ok("apply").lines)
        self.assertEqual((len(self.alexa.subscriptions), len(self.alexa.configurations)), (7, 1))

    def test_several_stale_tokens_leave_no_gap(self) -> None:
        for version in ("V1", "V2") * 3:
            self.write(ONE_ROOM + f'header_version = "{version}"')
            self.ok("apply")
            [subscription] = self.alexa.subscriptions
            self.assertEqual(subscription.body["eventHeaderVersion"], version)
        for _ in range(3):
            self.ok("destroy", "--yes")
            self.ok("apply")
            self.assertEqual((len(self.alexa.subscriptions), len(self.alexa.configurations)), (1, 1))

    def test_eventually_consistent_lists_cause_no_duplicates(self) -> None:
        for kind in (CONFIGURATIONS, SUBSCRIPTIONS):
            with self.subTest(kind=kind), Alexa() as self.alexa:
                self.alexa.fail_next(1, 404, path=f"GET /v1/eventMessenger/{kind}/")
                self.ok("apply")
                self.assertEqual((len(self.alexa.subscriptions), len(self.alexa.configurations)), (7, 1))

    def test_a_configuration_is_deleted_after_its_subscriptions(self) -> None:
        self.ok("apply")
        self.assertIn("Delete a configuration's subscriptions before the configuration", self.refused("delete", "--yes", self.alexa.configurations[0].id))

    def test_destroy_accepts_a_topic_that_the_file_no_longer_names(self) -> None:
        self.ok("apply")
        self.write(ONE_ROOM.replace(TOPIC, OTHER_TOPIC))
        self.ok("apply")
        self.ok("destroy", "--topic", TOPIC, "--yes")
        [configuration] = self.alexa.configurations
        self.assertEqual(configuration.body["deliveryChannels"][0]["id"], OTHER_TOPIC)
        self.assertEqual(self.entities(), [unit(ROOMS[0])])


class Told(AlexaTest):
    """What plan and apply say besides the changes."""

    def test_the_account_and_the_customer_are_shown(self) -> None:
        line = "AWS account 123456789012, region us-east-1; Alexa customer amzn1.account.EXAMPLE"
        for args in (["plan"], ["apply"], ["destroy", "--yes"]):
            with self.subTest(args=args):
                self.assertEqual(self.ok(*args).lines[:2], [f"Topic {TOPIC}", line])
        account = self.ok("plan", "--output", "json").json["account"]
        shown = {"account": "123456789012", "region": "us-east-1", "stack": None, "alexaCustomer": "amzn1.account.EXAMPLE"}
        self.assertEqual(account, shown)

    def test_an_unknown_customer_is_no_failure(self) -> None:
        self.alexa.scopes -= {PROFILE}
        for status in (401, 403):
            with self.subTest(status=status):
                self.alexa.profile_refusal = status
                self.assertIn("Alexa customer unknown: the token lacks profile:user_id", self.ok("plan").lines[1])

    def test_what_was_not_done_is_listed_with_its_place(self) -> None:
        self.alexa.refused_units = {ROOMS[1]: 400, ROOMS[0]: 409}
        result = self.aspctl("apply")
        self.assertEqual(result.status, 1)
        self.assertIn("Not done: 3 changes", result.lines)
        place = f"{self.folder}/subscriptions.toml, line 6"
        [refused] = [line for line in result.lines if ROOMS[1] in line and "returned 400" in line]
        self.assertIn(place, refused)
        self.assertIn("4 created, 0 deleted.", result.lines)
        self.assertIn("error: 3 changes could not be made", result.err)
        self.assertEqual(len(self.alexa.subscriptions), 4, "the others are there")

    def test_a_refused_device_setup_is_advised(self) -> None:
        self.alexa.setup_entities = "unit"
        self.assertIn("Try what Amazon's own tool sends: units", self.refused("apply"))
        self.write(FILE[: FILE.rindex("entities =")] + "entities = {}")
        self.ok("apply")

    def test_types_that_this_version_does_not_know_are_told(self) -> None:
        voice = "Alexa.Enterprise.Endpoint.Activity.Voice"
        self.write(ONE_ROOM.replace("Alexa.Automation.Execution.Completion", voice))
        result = self.ok("plan")
        self.assertIn(f"does not know {voice}: cannot tell whether the function forwards or quarantines", result.err)
        self.assertIn("First enable on the unit the skill", result.err)
        [told] = self.ok("plan", "--output", "json").json["eventTypes"]
        self.assertEqual((told["eventType"]["name"], told["handling"]), ("Voice", "UNKNOWN"))

    def test_alexas_clock_judges_expiries(self) -> None:
        self.write(ONE_ROOM + "duration_seconds = 3600")
        self.alexa.date_offset = 7200.0  # Alexa's clock is two hours ahead
        self.alexa.advance(7200)
        self.ok("apply")
        self.assertIn("Nothing to do", self.ok("plan").out)
        self.alexa.date_offset += 1801
        self.alexa.advance(1801)
        self.assertIn("1 to replace", self.ok("plan").out, "by its clock the second half has begun")
        self.alexa.date_offset = 0.0
        self.assertIn("Nothing to do", self.ok("plan").out, "by this machine's clock it has not")

    def test_an_interruption_says_what_was_done(self) -> None:
        process = None

        def interrupt(request: Request) -> None:
            if len(self.alexa.subscriptions) == 2 and request.method == "POST" and process:
                process.send_signal(signal.SIGINT)

        self.alexa.after = interrupt
        process = start("apply", "--parallel", "1", env=self.environment)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertRegex(err, r"error: interrupted\. [23] created, 0 deleted, [45] changes not tried\. Run apply again")
        self.alexa.after = None
        self.ok("apply")
        self.assertEqual(len(self.alexa.subscriptions), 7)


class Destroying(AlexaTest):
    def test_a_topic_that_was_named_must_have_something(self) -> None:
        self.ok("apply")
        queue, subscription = TOPIC.replace(":sns:", ":sqs:"), f"{TOPIC}:1"
        for other in ("events", "arn:aws:sns:::events", queue, subscription):
            refusal = self.refused("destroy", "--topic", other, "--yes")
            self.assertIn("is not the ARN of a topic", refusal)
        self.assertIn("no configuration sends events only to", self.refused("destroy", "--topic", OTHER_TOPIC, "--yes"))
        self.assertEqual(len(self.alexa.subscriptions), 7)

    def test_what_cannot_be_compared_is_deleted_as_well(self) -> None:
        self.ok("apply")
        body = {"subscriptionConfigurationId": self.alexa.configurations[0].id}
        self.alexa.add(SUBSCRIPTIONS, body)
        self.assertIn("Done: 9 deleted", self.ok("destroy", "--yes").out.replace("0 created, ", ""))
        self.assertEqual((self.alexa.subscriptions, self.alexa.configurations), ([], []))


class Replacing(AlexaTest):
    """Alexa has no operation that changes a subscription, so aspctl replaces it."""

    def watch_coverage(self) -> list[int]:
        """Records the number of subscriptions after each request."""
        counts: list[int] = []
        self.alexa.after = lambda _: counts.append(len(self.alexa.subscriptions))
        return counts

    def test_a_change_creates_before_it_deletes(self) -> None:
        self.write(ONE_ROOM + 'header_version = "V1"')
        self.ok("apply")
        self.write(ONE_ROOM + 'header_version = "V2"')
        counts = self.watch_coverage()
        self.assertIn("header version or duration differs", self.ok("apply").out)
        self.assertEqual(min(counts), 1, "never a gap")
        [subscription] = self.alexa.subscriptions
        self.assertEqual(subscription.body["eventHeaderVersion"], "V2")

    def test_expiring_subscriptions_are_renewed_in_their_second_half_without_a_gap(self) -> None:
        self.write(ONE_ROOM + "duration_seconds = 3600")
        self.ok("apply")
        self.assertIn("Nothing to do", self.ok("apply").out)
        self.ok("destroy", "--yes")
        self.alexa.advance(-1801)  # created half an hour ago by aspctl's clock
        self.ok("apply")
        [first] = self.alexa.subscriptions
        self.assertEqual(first.body["subscriptionDurationInSeconds"], 3600)
        self.alexa.advance(1801)
        counts = self.watch_coverage()
        self.assertIn("1 to replace", self.ok("apply").out)
        self.assertEqual(min(counts), 1, "never a gap")
        [second] = self.alexa.subscriptions
        self.assertNotEqual(first.id, second.id)
        self.assertIn("Nothing to do", self.ok("apply").out)

    def test_without_an_expiry_the_token_returns_the_same_subscription(self) -> None:
        self.alexa.shows_expiry = False
        self.write(ONE_ROOM + "duration_seconds = 315360000")  # longer than any test, so never due for renewal
        for _ in range(3):
            self.ok("apply")
        [subscription] = self.alexa.subscriptions
        self.assertIn("0 created, 1 unchanged, 0 deleted", self.ok("apply").out)
        self.assertEqual(self.alexa.subscriptions, [subscription])

    def test_without_expiry_and_tokens_the_replacement_leaves_no_gap(self) -> None:
        self.alexa.shows_expiry, self.alexa.honours_tokens = False, False
        self.write(ONE_ROOM + "duration_seconds = 3600")
        self.ok("apply")
        counts = self.watch_coverage()
        self.ok("apply")
        self.assertEqual((min(counts), len(self.alexa.subscriptions)), (1, 1))


class Interrupted(AlexaTest):
    """After a killed run the next one resumes."""

    def killed(self, number: int, *args: str, applied: bool) -> bool:
        """Kills aspctl at the nth call, before or after it takes effect; whether it got there."""
        first, started = len(self.alexa.requests), threading.Event()
        hit = False

        def kill(request: Request) -> None:
            nonlocal hit
            if request.number - first == number:
                hit = True
                started.wait()
                process.send_signal(signal.SIGKILL)
                process.wait()
                if not applied:
                    raise Drop

        self.alexa.before, self.alexa.after = (None, kill) if applied else (kill, None)
        process = subprocess.Popen([ASPCTL, *args], env=OWN | self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.set()
        process.communicate(timeout=60)
        self.alexa.before = self.alexa.after = None
        return hit

    def kill_at_each_call(self, prepare: Callable[[], None], check: Callable[[], None], *args: str) -> None:
        for applied in (False, True):
            number = 1
            while True:
                with self.subTest(applied=applied, number=number), Alexa() as self.alexa:
                    prepare()
                    hit = self.killed(number, *args, applied=applied)
                    if hit:
                        self.ok(*args)
                    check()
                if not hit:
                    break
                number += 1
            self.assertGreater(number, 5, "it was killed more than once")

    def test_apply_resumes_after_a_kill_at_each_call(self) -> None:
        role = 'events = ["Alexa.Role.Management.Assignment"]'
        self.write(ONE_ROOM + f'[[subscription]]\n{role}\nresources = ["{PROPERTY}"]')

        def check() -> None:
            self.assertEqual((len(self.alexa.configurations), len(self.alexa.subscriptions)), (1, 2))
            self.assertIn("Nothing to do", self.ok("apply").out)

        self.kill_at_each_call(lambda: None, check, "apply")

    def test_a_change_resumes_after_a_kill_at_each_call(self) -> None:
        def prepare() -> None:
            self.write(ONE_ROOM + 'header_version = "V1"')
            self.ok("apply")
            self.write(ONE_ROOM + 'header_version = "V2"')

        def check() -> None:
            [subscription] = self.alexa.subscriptions
            self.assertEqual(subscription.body["eventHeaderVersion"], "V2")

        self.kill_at_each_call(prepare, check, "apply")

    def test_pruning_resumes_after_a_kill_at_each_call(self) -> None:
        def prepare() -> None:
            self.write(ONE_ROOM.replace("units = [", f'units = ["{ROOMS[1]}", "{ROOMS[2]}", '))
            self.ok("apply")
            self.write(ONE_ROOM)

        def check() -> None:
            self.assertEqual((self.entities(), len(self.alexa.configurations)), ([unit(ROOMS[0])], 1))

        self.kill_at_each_call(prepare, check, "apply", "--prune", "--yes")

    def test_a_renewal_resumes_after_a_kill_at_each_call(self) -> None:
        def prepare() -> None:
            self.write(ONE_ROOM + "duration_seconds = 3600")
            self.alexa.advance(-1801)
            self.ok("apply")
            self.alexa.advance(1801)

        def check() -> None:
            [subscription] = self.alexa.subscriptions
            self.assertGreater(subscription.expires_at or 0, self.alexa.clock() + 1800)

        self.kill_at_each_call(prepare, check, "apply")

    def test_destroy_resumes_after_a_kill_at_each_call(self) -> None:
        def prepare() -> None:
            self.write(ONE_ROOM)
            self.ok("apply")

        def check() -> None:
            self.assertEqual((self.alexa.configurations, self.alexa.subscriptions), ([], []))

        self.kill_at_each_call(prepare, check, "destroy", "--yes")


class Answers(AlexaTest):
    """Answers that Alexa may give, documented or not ruled out."""

    def test_all_pages_are_read(self) -> None:
        rooms = json.dumps([f"amzn1.alexa.unit.did.EXAMPLE{number}" for number in range(25)])
        completion = 'events = ["Alexa.Automation.Execution.Completion"]'
        self.write(f'topic = "{TOPIC}"\n[[subscription]]\n{completion}\nunits = {rooms}')
        self.ok("apply")
        for last in ("absent", "null"):
            with self.subTest(last=last):
                self.alexa.last_token = last  # type: ignore[assignment]
                before = len(self.alexa.requests)
                self.assertIn("Nothing to do: 25", self.ok("plan").out)
                pages = [r for r in self.alexa.requests[before:] if r.path.endswith(SUBSCRIPTIONS)]
                self.assertEqual(len(pages), 3)
                self.assertEqual({page.query["owner"] for page in pages}, {"~caller"})

    def test_items_of_a_list_are_read_in_any_shape(self) -> None:
        for shape in ("bare", "nested"):
            with self.subTest(shape=shape), Alexa() as self.alexa:
                self.alexa.item_shape = shape  # type: ignore[assignment]
                self.ok("apply")
                self.assertIn("Nothing to do: 7", self.ok("apply").out)

    def test_unreadable_items_stop_apply(self) -> None:
        self.write(ONE_ROOM)
        self.ok("apply")
        self.alexa.item_shape = "bare"
        for args, done in ((["apply"], False), (["apply", "--ignore-unreadable"], True)):
            self.alexa.fail_next(1, 404, path="GET /v1/eventMessenger/subscriptions/")
            if done:
                self.ok(*args)
            else:
                self.assertIn("cannot compare 1 list item", self.refused(*args))
        self.assertEqual(len(self.alexa.subscriptions), 1, "the token says that it is the same")

    def test_a_token_that_expires_during_a_run_is_renewed(self) -> None:
        expired: list[str] = []

        def expire(request: Request) -> None:
            if len(expired) < min(3, len(self.alexa.subscriptions)):
                expired.append(request.id)
                self.alexa.expire_tokens()

        self.alexa.after = expire
        self.ok("apply", "--parallel", "1")
        self.assertEqual((len(self.alexa.subscriptions), self.alexa.token_calls), (7, 4))

    def test_a_lost_answer_causes_no_duplicate(self) -> None:
        for path in (CONFIGURATIONS, SUBSCRIPTIONS):
            with self.subTest(path=path), Alexa() as self.alexa:
                self.alexa.drop_answer_of(1, path=f"POST /v1/eventMessenger/{path}")
                self.ok("apply")
                self.assertEqual((len(self.alexa.configurations), len(self.alexa.subscriptions)), (1, 7))

    def test_a_storm_of_errors_is_survived(self) -> None:
        self.alexa.storm(2)
        self.ok("apply")
        self.ok("apply", "--prune")
        self.assertEqual((len(self.alexa.configurations), len(self.alexa.subscriptions)), (1, 7))
        refused = [request for request in self.alexa.requests if request.status in (429, 500, 503)]
        self.assertGreater(len(refused), 10)

    def test_retry_after_is_honoured(self) -> None:
        self.alexa.fail_next(1, 429, retry_after=1, path=f"GET /v1/eventMessenger/{CONFIGURATIONS}")
        self.ok("plan")
        [refused] = [request for request in self.called("GET") if request.status == 429]
        [again] = [request for request in self.called("GET") if request.path == refused.path and request is not refused]
        self.assertGreaterEqual(again.at - refused.at, 1)

    def test_backoff_grows_and_ends(self) -> None:
        for status in (429, 500, 503):
            with self.subTest(status=status), Alexa() as self.alexa:
                self.alexa.fail_next(100, status, path=f"GET /v1/eventMessenger/{CONFIGURATIONS}")
                error = self.refused("plan")
                self.assertIn(f"returned {status}", error)
                self.assertIn("Running the command again may succeed", error)
                times = [request.at for request in self.called("GET") if request.path.endswith(CONFIGURATIONS)]
                self.assertEqual(len(times), 7, "six repeats")
                self.assertGreater(times[6] - times[5], times[1] - times[0], "each wait is longer")

    def test_permanent_errors_are_reported_at_once(self) -> None:
        # A 400 may be about the idempotency token: one more try without it.
        for status, advice, tries in ((400, "Check the ids", 2), (403, "API access", 1), (404, "--alexa-url", 1)):
            with self.subTest(status=status), Alexa() as self.alexa:
                self.alexa.fail_next(tries, status, path="POST /v1")
                error = self.refused("apply")
                self.assertIn(f"POST /v1/eventMessenger/subscriptionConfigurations returned {status}", error)
                self.assertIn(advice, error)
                self.assertIn(self.called("POST")[0].id, error, "the request's id, for Amazon's support")
                self.assertEqual(len(self.called("POST")), tries)

    def test_verbose_shows_the_whole_answer(self) -> None:
        self.ok("apply")
        [first] = self.alexa.configurations
        shown = self.ok("-v", "list").err
        self.assertIn(f'"id": "{first.id}"', shown.replace('":"', '": "'))
        self.assertIn("nextToken" if self.alexa.last_token == "null" else "paginationContext", shown)


class Inventory(AlexaTest):
    def setUp(self) -> None:
        super().setUp()
        self.ok("apply")

    def test_list_shows_both_kinds(self) -> None:
        lines = self.ok("list").lines
        self.assertRegex(lines[0], r"^CONFIGURATION +TOPIC$")
        self.assertRegex(lines[1], rf"^{self.alexa.configurations[0].id} +{TOPIC}$")
        self.assertEqual(len(lines), 2 + 1 + 1 + 7)
        listed = self.ok("list", "--output", "json").json
        self.assertEqual([len(listed[kind]) for kind in ("configurations", "subscriptions")], [1, 7])
        self.assertEqual((listed["configurations"][0]["topics"], listed["undecided"]), ([TOPIC], 0))
        for one in listed["subscriptions"]:
            raw = one["raw"]
            self.assertEqual((raw["id"], raw["eventType"]), (one["id"], one["eventType"]))
            self.assertEqual(raw["subscriptionConfigurationId"], one["configurationId"])
        listed = self.ok("list", "configurations", "--output", "json").json
        self.assertEqual((len(listed["configurations"]), listed["subscriptions"]), (1, None))

    def listed(self, *args: str) -> list[dict[str, Any]]:
        """The subscriptions that are listed."""
        listed = self.ok("list", *args, "--output", "json").json
        self.assertIsNone(listed["configurations"])
        return listed["subscriptions"]

    def test_list_filters(self) -> None:
        listed = self.listed("--unit", ROOMS[0])
        self.assertEqual(len(listed), 2)
        listed = self.listed("--unit", ROOMS[0], "--event", "Alexa.Skill.Interaction.Failure")
        self.assertEqual([item["entities"]["skill"]["id"] for item in listed], [SKILL])
        self.assertEqual(self.ok("list", "--unit", ROOMS[2]).lines[1:], [])
        self.assertIn("not an event type", self.aspctl("list", "--event", "Failure").err)

    def test_a_filter_by_unit_finds_parents_resources_and_arrays(self) -> None:
        types = {"Alexa.Enterprise.Subscription.Activation", "Alexa.Role.Management.Assignment", "Alexa.Role.Management.Revocation"}
        listed = self.listed("--unit", PROPERTY)
        self.assertEqual({".".join(item["eventType"][key] for key in ("namespace", "name")) for item in listed}, types)
        entities = {"unit": {"type": "Unit", "id": ROOMS[2]}, "skill": {"type": "Skill", "id": SKILL}}
        id = self.alexa.add(SUBSCRIPTIONS, {"eventType": AUTOMATION, "entities": entities})
        self.alexa.echoes = {"array"}
        self.assertEqual([item["id"] for item in self.listed("--unit", ROOMS[2])], [id])

    def test_nothing_found_is_said(self) -> None:
        result = self.ok("list", "--unit", ROOMS[2], "--output", "json")
        self.assertEqual((result.json["subscriptions"], result.err), ([], "Nothing found.\n"))
        self.assertEqual(self.ok("--quiet", "list", "--unit", ROOMS[2]).err, "")
        self.assertEqual(self.ok("list").err, "", "there is something")
        self.alexa.add(SUBSCRIPTIONS, {"entities": unit(ROOMS[0])})
        self.alexa.filters = {"event": "ignored"}
        listed = self.ok("list", "--event", "Alexa.Skill.Interaction.Failure")
        self.assertIn("Left out: 1 subscription of which Alexa does not show enough", listed.err)
        self.assertNotIn("Nothing found", listed.err)

    def test_the_end_of_a_subscription_is_listed(self) -> None:
        self.write(ONE_ROOM + "duration_seconds = 3600")
        self.ok("apply")
        head, *rows = self.ok("list", "--unit", ROOMS[0]).lines
        self.assertTrue(head.endswith("EXPIRES"), head)
        self.assertEqual(sum(row.endswith(" UTC") for row in rows), 1)

    def test_get_shows_one(self) -> None:
        [configuration] = self.alexa.configurations
        self.assertIn(TOPIC, self.ok("get", configuration.id).out)
        subscription = self.alexa.subscriptions[0]
        self.assertEqual(self.ok("get", subscription.id, "--output", "json").json["id"], subscription.id)
        self.assertIn("no subscription or configuration with this id", self.refused("get", "amzn1.alexa.aem.subscription.nothing"))
        self.assertIn("not the id of a subscription", self.refused("get", ROOMS[0]))

    def on_terminal(self, columns: int, *args: str) -> list[str]:
        return on_terminal(columns, *args, env=self.environment)

    def add_as(self, id: str, body: dict[str, Any]) -> None:
        """Adds a subscription with an id as long as this one."""
        with mock.patch.object(self.alexa, "_id", return_value=id):
            self.alexa.add(SUBSCRIPTIONS, self.alexa.subscriptions[0].body | body)

    def test_a_list_fits_a_terminal_of_80_columns(self) -> None:
        # As long as Amazon's ids.
        room = "amzn1.alexa.unit.did." + "AEXAMPLE" * 14
        long = f"amzn1.alexa.aem.subscription.{uuid.uuid4()}"
        self.add_as(long, {"entities": unit(room)})
        lines = self.on_terminal(80, "list")
        self.assertLessEqual(max(map(len, lines)), 80)
        ids = [one.id for one in self.alexa.configurations + self.alexa.subscriptions]
        self.assertLessEqual(set(ids), set(lines), "each id has a line of its own")
        [shortened] = [line for line in lines if "…" in line]
        self.assertTrue(shortened.startswith("  unit amzn1.alexa.unit.did.AEX"), shortened)
        self.assertIn(f"  topic {TOPIC}", lines)
        # Everything is in the table: with --wide, where it fits, and elsewhere.
        table = self.ok("list").lines
        self.assertTrue(any(room in line for line in table))
        self.assertEqual(self.on_terminal(80, "list", "--wide"), table)
        self.assertEqual(self.on_terminal(400, "list"), table)

    def test_an_id_that_is_longer_than_the_terminal_stays_whole(self) -> None:
        long = f"amzn1.alexa.aem.subscription.{'X' * 100}"
        self.add_as(long, {})
        lines = self.on_terminal(80, "list", "subscriptions")
        self.assertIn(long, lines)
        self.assertEqual([line for line in lines if len(line) > 80], [long])

    def test_delete_says_for_programs_what_it_did(self) -> None:
        first, second, *_ = [subscription.id for subscription in self.alexa.subscriptions]
        gone = "amzn1.alexa.aem.subscription.000000"
        self.alexa.fail_next(1, 403, path=f"DELETE /v1/eventMessenger/{SUBSCRIPTIONS}/{second}")
        result = self.aspctl("delete", "--yes", first, second, gone, "--output", "json")
        self.assertEqual((result.status, result.json["deleted"]), (1, [first]))
        left = {one["id"]: one["reason"]["problem"] for one in result.json["notDeleted"]}
        self.assertEqual(set(left), {second, gone})
        self.assertIn("403", left[second])

    def test_apply_and_destroy_say_for_programs_what_they_did(self) -> None:
        done = self.ok("destroy", "--yes", "--output", "json").json
        self.assertEqual([one["action"] for one in done["changes"]], ["DELETED"] * 8)
        self.assertEqual((done["end"], done["notDone"], done["topic"]), ("COMPLETED", [], TOPIC))
        again = self.ok("destroy", "--yes", "--output", "json").json
        self.assertEqual((again["changes"], again["end"]), ([], "COMPLETED"))
        self.alexa.fail_next(1, 404, path=f"POST /v1/eventMessenger/{SUBSCRIPTIONS}")
        result = self.aspctl("apply", "--output", "json", "--parallel", "1")
        self.assertEqual(result.status, 1, result.err)
        created = {one["id"] for one in result.json["changes"] if one["action"] == "CREATED"}
        self.assertEqual(created, {one.id for one in self.alexa.configurations + self.alexa.subscriptions})
        [undone] = result.json["notDone"]
        self.assertIn("404", undone["problem"])
        self.assertIn("subscriptions.toml, line 6", undone["origin"])
        self.assertEqual(undone["eventType"], AUTOMATION)
        self.ok("apply")
        nothing = self.ok("apply", "--output", "json").json
        self.assertEqual((nothing["changes"], nothing["notDone"], nothing["end"]), ([], [], "COMPLETED"))

    def test_delete_removes_subscriptions_before_their_configuration(self) -> None:
        ids = [resource.id for resource in self.alexa.configurations + self.alexa.subscriptions]
        self.assertIn("--yes", self.refused("delete", *ids))
        self.assertEqual(len(self.alexa.subscriptions), 7)
        self.ok("delete", "--yes", *ids, *ids)
        self.assertEqual((self.alexa.configurations, self.alexa.subscriptions), ([], []))
        self.assertIn("no subscription or configuration with this id", self.refused("delete", "--yes", ids[0]))

    def rename(self, kind: str, number: int) -> str:
        """Gives a resource an id whose prefix is not the documented one."""
        old, id = list(self.alexa.resources[kind].values())[0], f"amzn1.alexa.events.{number}"
        del self.alexa.resources[kind][old.id]
        self.alexa.resources[kind][id] = Resource(id, old.body)
        return id

    def test_ids_of_any_prefix_are_looked_up_as_both_kinds(self) -> None:
        configuration, subscription = self.rename(CONFIGURATIONS, 1), self.rename(SUBSCRIPTIONS, 2)
        self.assertIn(TOPIC, self.ok("get", configuration).out)
        self.assertIn(ROOMS[0], self.ok("get", subscription).out)
        self.alexa.fail_next(1, 400, path=f"GET /v1/eventMessenger/{SUBSCRIPTIONS}/{configuration}")
        self.assertIn(TOPIC, self.ok("get", configuration).out, "Alexa may reject the id of another kind")
        self.assertIn("no subscription or configuration with this id", self.refused("get", "amzn1.alexa.events.3"))
        self.ok("delete", "--yes", configuration, subscription)
        self.assertEqual((len(self.alexa.configurations), len(self.alexa.subscriptions)), (0, 6))

    def test_delete_goes_on_after_a_failure_and_says_what_is_left(self) -> None:
        first, second, third, *_ = [subscription.id for subscription in self.alexa.subscriptions]
        missing, gone = "amzn1.alexa.events.3", "amzn1.alexa.aem.subscription.000000"
        self.alexa.fail_next(1, 403, path=f"DELETE /v1/eventMessenger/{SUBSCRIPTIONS}/{second}")
        result = self.aspctl("delete", "--yes", missing, gone, first, second, third)
        self.assertEqual(result.status, 1)
        left = [f"not deleted {id}" for id in (missing, gone, second)]
        self.assertEqual(sorted(result.lines), sorted([f"deleted {first}", f"deleted {third}", *left]))
        self.assertEqual(result.err.count("error: "), 3)
        self.assertIn("3 of 5 not deleted", result.err)
        self.assertEqual(len(self.alexa.subscriptions), 5)

    def test_delete_stops_if_alexa_is_out_of_reach(self) -> None:
        ids = [subscription.id for subscription in self.alexa.subscriptions]
        self.alexa.fail_next(100, 503, path="DELETE /v1")
        result = self.aspctl("delete", "--yes", *ids)
        self.assertEqual((result.status, result.lines), (1, [f"not deleted {id}" for id in ids]))
        self.assertEqual(len({request.path for request in self.called("DELETE")}), 1)


class Files(AlexaTest):
    def test_an_error_in_the_file_is_located_before_any_call(self) -> None:
        for text, said in (
            ("unit = 1", "subscriptions.toml, line 1, column 1: unknown field `unit`"),
            ("topic = ", "line 1"),
            (f'topic = "{TOPIC}.fifo"', "FIFO"),
            (ONE_ROOM.replace("units", "parents"), "subscriptions.toml, line 4, column 11: Alexa.Automation.Execution.Completion takes units, not parents"),
            (ONE_ROOM + "duration_seconds = 59", "subscriptions.toml, line 6, column 20: duration_seconds is 59, and must be at least 60"),
        ):
            with self.subTest(text=text):
                self.write(text)
                self.assertIn(said, self.refused("apply"))
        self.assertEqual(self.alexa.requests, [])

    def test_a_missing_file_is_reported(self) -> None:
        for command in ("plan", "apply"):
            error = self.refused(command, "--file", "nowhere.toml")
            self.assertIn("nowhere.toml: cannot be read: No such file", error)
            self.assertIn("hint: Write one with aspctl init, or with aspctl export", error)

    def add(self, name: str, room: str, topic: str = f'topic = "{TOPIC}"') -> str:
        """Writes a file about a room; its path."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'{topic}\n[[subscription]]\nevents = ["Alexa.Automation.Execution.Completion"]\nunits = ["{room}"]\n')
        return str(path)

    def test_several_files_are_one_set(self) -> None:
        folder = self.folder / "rooms"
        first, second = self.add("rooms/a.toml", ROOMS[0]), self.add("rooms/b.toml", ROOMS[1], topic="")
        self.add("rooms/deeper.toml/c.toml", ROOMS[2])
        self.add("rooms/.hidden.toml", ROOMS[2])
        (folder / "notes.txt").write_text("not TOML")
        third = ONE_ROOM.replace(ROOMS[0], ROOMS[2])
        both = {"ASPCTL_FILE": f"{first}:{second}"}
        for args, env, stdin, rooms in (
            (["--file", first, "-f", second], {}, "", 2),
            (["--file", str(folder)], {}, "", 2),
            (["--file", str(folder), "--file", second], {}, "", 2),
            (["--file", str(folder), "--file", "-"], {}, third, 3),
            (["--file", "-"], {}, third, 1),
            ([], both, "", 2),
        ):
            with self.subTest(args=args, env=env):
                result = run("plan", *args, env=self.environment | env, stdin=stdin)
                self.assertIn(f"{rooms} to create, 0 to replace", result.out, result.err)

    def test_all_files_are_pruned_together(self) -> None:
        first, second = self.add("a.toml", ROOMS[0]), self.add("b.toml", ROOMS[1])
        self.ok("apply", "--file", first, "--file", second)
        self.assertIn("Nothing to do: 2", self.ok("apply", "--file", second, "--file", first, "--prune").out)
        self.ok("apply", "--file", second, "--prune", "--yes")
        self.assertEqual(self.entities(), [unit(ROOMS[1])], "what is not in these files is deleted")
        self.ok("destroy", "--file", first, "--file", second, "--yes")
        self.assertEqual(self.alexa.configurations, [])

    def test_destroy_takes_no_other_topic_for_a_mistyped_file(self) -> None:
        self.ok("apply")
        self.assertIn("nowhere.toml: cannot be read", self.refused("destroy", "--file", "nowhere.toml", "--yes"))
        self.assertEqual(len(self.alexa.subscriptions), 7)

    def test_the_stack_of_the_file_and_of_the_command_line_agree(self) -> None:
        self.write('\nstack = "one"')
        error = self.refused("plan", "--stack", "two")
        self.assertIn("subscriptions.toml, line 2: it names the stack one, but --stack (ASPCTL_STACK) names two", error)

    def test_files_about_different_topics_are_refused(self) -> None:
        for line, said in (
            (f'topic = "{OTHER_TOPIC}"', f"it names the topic {OTHER_TOPIC}"),
            ('stack = "another"', "it names the stack another"),
        ):
            first, second = self.add("a.toml", ROOMS[0]), self.add("b.toml", ROOMS[1], topic=line)
            error = self.refused("plan", "--file", first, "--file", second)
            self.assertIn(f"error: {second}, line 1, column 9: {said}, but {first}, line 1 names the topic {TOPIC}", error)
        self.assertEqual(self.alexa.requests, [])

    def test_a_duplicate_is_named_with_both_places(self) -> None:
        first, second = self.add("a.toml", ROOMS[0]), self.add("b.toml", ROOMS[0])
        error = self.refused("apply", "--file", first, "--file", second)
        duplicate = f"duplicates Alexa.Automation.Execution.Completion for unit {ROOMS[0]}"
        self.assertIn(f"{second}, line 4, column 10: it {duplicate} of {first}, line 4", error)
        result = run("apply", "--file", first, "--file", "-", env=self.environment, stdin=ONE_ROOM)
        self.assertIn(f"standard input, line 5, column 10: it {duplicate} of {first}, line 4", result.err)

    def test_a_folder_without_files_is_an_error(self) -> None:
        (self.folder / "empty").mkdir()
        self.assertIn("empty: the folder has no *.toml", self.refused("plan", "--file", str(self.folder / "empty")))

    def test_all_problems_are_reported_at_once_each_on_its_line(self) -> None:
        first, second = self.add("a.toml", SKILL), self.add("b.toml", "amzn1.account.EXAMPLE")
        result = self.aspctl("apply", "--file", first, "--file", second, "--file", "nowhere.toml")
        self.assertEqual((result.status, self.alexa.requests), (1, []))
        lines = [line for line in result.err.splitlines() if not EXCERPT.match(line)]
        starts = ["error: nowhere.toml: cannot be read", "hint: ", f"error: {first}, line 4", f"error: {second}, line 4", "hint: "]
        self.assertEqual(len(lines), len(starts), "the same hint is given once")
        for line, start in zip(lines, starts, strict=True):
            self.assertTrue(line.startswith(start), result.err)

    def test_doctor_shows_each_problem(self) -> None:
        first, second = self.add("a.toml", SKILL), self.add("b.toml", "amzn1.account.EXAMPLE")
        report = self.aspctl("doctor", "--file", first, "--file", second, "--output", "json").json
        (file,) = (check for check in report["checks"] if check["check"] == "subscriptions-file")
        details = [finding["problem"] for finding in file["findings"]]
        self.assertEqual([detail.split(":")[0] for detail in details], [f"{first}, line 4, column 10", f"{second}, line 4, column 10"])

    def test_errors_show_the_line_with_a_caret(self) -> None:
        for text, line, carets in (
            ("\nunit = 1", "2 | unit = 1", "  | ^^^^"),
            ("topic =\n", "1 | topic =", "  |        ^"),
            (ONE_ROOM + "duration_seconds = 59", "6 | duration_seconds = 59", "  |                    ^^"),
            (ONE_ROOM + 'skills = "a"', '6 | skills = "a"', "  |          ^^^"),
            (ONE_ROOM.replace("Completion", "\x1b"), "4 |", "  |"),
        ):
            with self.subTest(text=text):
                self.write(text)
                shown = self.aspctl("plan").err
                self.assertNotIn("\x1b", shown)
                first, *lines = shown.splitlines()
                self.assertIn("column", first)
                self.assertTrue(lines[0].strip() == "|" and lines[1].startswith(line), shown)
                self.assertTrue(lines[2].startswith(carets), shown)
                self.assertTrue(lines[3].startswith("hint: "), shown)

    def test_a_credentials_file_is_not_quoted(self) -> None:
        path = self.folder / "credentials.toml"
        path.write_text('client_secret = "not-for-a-terminal"\nclient_id = "x"\n')
        error = self.refused("plan", "--file", str(path))
        self.assertIn("unknown field `client_", error)
        self.assertNotIn("not-for-a-terminal", self.aspctl("plan", "--file", str(path)).err)

    def test_placeholders_are_never_sent(self) -> None:
        amazon = {"ASPCTL_ALEXA_URL": "https://api.amazonalexa.com"}
        example = (ROOT / "docs/subscriptions.example.toml").read_text()
        room = "amzn1.alexa.unit.did.EXAMPLEROOM101"
        for text, env, said in (
            (example, amazon, f'"{room}" in units is a placeholder'),
            (example, amazon, '"amzn1.account.EXAMPLE" in entities is a placeholder'),
            (ONE_ROOM, amazon, f'line 2, column 9: "{TOPIC}" in topic is a placeholder'),
            (ONE_ROOM.replace(ROOMS[0], "<room>"), {}, 'line 5, column 10: "<room>" in units is a placeholder'),
            (ONE_ROOM.replace(ROOMS[0], "amzn1.alexa.unit.did.…"), {}, "in units is a placeholder"),
        ):
            for command in ("plan", "apply", "doctor"):
                with self.subTest(said=said, command=command):
                    self.write(text)
                    # Should it be sent all the same, it goes nowhere.
                    nowhere = {"ASPCTL_LWA_URL": "http://127.0.0.1:1"} if env else {}
                    result = run(command, env=self.environment | env | nowhere)
                    self.assertEqual(result.status, 1)
                    self.assertIn(said, result.out + result.err)
            if not env:
                self.assertIn("hint: Put your own unit in: aspctl units --tree", self.refused("plan"))
        self.assertEqual(self.called("POST"), [])

    def test_the_example_is_valid_for_the_tool_and_the_schema(self) -> None:
        example = (ROOT / "docs/subscriptions.example.toml").read_text()
        schema = json.loads((ROOT / "schemas/subscriptions.json").read_bytes())
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema)
        validator.validate(tomllib.loads(example))
        for text in (FILE, ONE_ROOM):
            validator.validate(tomllib.loads(text))
        self.assertFalse(validator.is_valid(tomllib.loads(ONE_ROOM + "unit = 1")))
        self.assertFalse(validator.is_valid(tomllib.loads(ONE_ROOM.replace(ROOMS[0], SKILL))))
        self.write(example.replace('stack = "asp-events"', f'topic = "{TOPIC}"'))
        self.assertIn("7 to create", self.ok("plan").out)

    def test_the_schema_in_the_repository_is_current(self) -> None:
        schema = self.ok("generate", "schema").json
        self.assertEqual(schema, json.loads((ROOT / "schemas/subscriptions.json").read_bytes()))


class Terminals(AlexaTest):
    def test_pipes_get_no_colours_unless_asked(self) -> None:
        for args, env, coloured in (
            ([], {}, False),
            (["--color", "always"], {}, True),
            ([], {"CLICOLOR_FORCE": "1"}, True),
            ([], {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
        ):
            with self.subTest(args=args, env=env):
                result = run("plan", *args, env=self.environment | env)
                self.assertEqual("\x1b[" in result.out, coloured)

    def test_ids_cannot_steer_the_terminal(self) -> None:
        escape = "\x1b[2J\x9b2J\u202e"
        room = f"{ROOMS[0]}{escape}"
        body = {"namespace": AUTOMATION["namespace"], "name": AUTOMATION["name"]}
        self.ok("apply")
        subscription = self.alexa.subscriptions[0]
        subscription.body["eventType"] = body
        subscription.body["entities"] = unit(room)
        for args in (("list",), ("get", subscription.id), ("plan", "--prune"), ("list", "--output", "json")):
            with self.subTest(args=args):
                shown = self.ok(*args, "--color", "always").out
                self.assertIn(ROOMS[0], shown)
                for steering in ("\x1b[2J", "\x9b", "\u202e"):
                    self.assertNotIn(steering, shown)
        listed = self.ok("list", "--output", "json").json["subscriptions"]
        self.assertIn(unit(room), [one["entities"] for one in listed])

    def test_quiet_prints_only_the_result(self) -> None:
        self.assertEqual(self.ok("--quiet", "apply").err, "")
        self.write(ONE_ROOM)
        self.assertEqual(self.ok("--quiet", "plan").err, "")

    def test_a_closed_pipe_is_not_an_error(self) -> None:
        self.ok("apply")
        command = f"'{ASPCTL}' list --output json | head -n 1; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], env=OWN | self.environment, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def run_with_closed_pipe(self, *args: str) -> int:
        """The exit status of a run with a closed pipe as its output."""
        read, write = os.pipe()
        os.close(read)
        try:
            return subprocess.run(
                [ASPCTL, *args], env=OWN | self.environment, stdout=write, stderr=subprocess.DEVNULL, timeout=60
            ).returncode
        finally:
            os.close(write)

    def test_a_closed_pipe_neither_stops_a_change_nor_hides_its_status(self) -> None:
        self.assertEqual(self.run_with_closed_pipe("plan", "--detailed-exitcode"), 2)
        self.assertEqual(self.run_with_closed_pipe("apply"), 0)
        self.assertEqual(len(self.alexa.subscriptions), 7)
        self.assertEqual(self.run_with_closed_pipe("delete", "--yes", *(s.id for s in self.alexa.subscriptions[:2])), 0)
        self.assertEqual(len(self.alexa.subscriptions), 5)
        self.assertEqual(self.run_with_closed_pipe("destroy", "--yes"), 0)
        self.assertEqual((self.alexa.subscriptions, self.alexa.configurations), ([], []))
        self.assertEqual(self.run_with_closed_pipe("doctor"), 1)

    def test_usage_errors_have_their_own_exit_status(self) -> None:
        for args in (["nonsense"], ["wait"], ["wait", "--device", "d", "--unit", "u"], ["wait", "--unit", ""], ["list", "--output", "xml"], []):
            with self.subTest(args=args):
                self.assertEqual(self.aspctl(*args).status, 64)
        self.assertEqual((self.ok("--help").err, self.ok("--version").err), ("", ""))


if __name__ == "__main__":
    unittest.main()
