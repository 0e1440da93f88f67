"""The scheduled renewal on the local stack: its program with the permissions of its role, its
template, and what aspctl doctor says about it.

ASP_EVENTS_BOOTSTRAP=… ASPCTL=… RENEWAL=target/debug/asp-renewal python -m unittest test_renewal
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
import time
import unittest
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

from alexa import (
    CONFIGURATIONS,
    EXAMPLE_HIERARCHY,
    EXAMPLE_PROPERTY,
    SUBSCRIPTIONS,
    Alexa,
    Drop,
    Request,
)
from samtranslator.yaml_helper import yaml_parse
from tool import ROOT, aws, run

import stack as local  # tool.py knows where it is
from case import BOOTSTRAP
from runtime_api import run_process
from stack import BUCKET, CAPABILITIES, NAME, REGION, Stack, adapt, running

sys.path.insert(0, str(ROOT / "tools"))
import deploy_renewal  # noqa: E402

RENEWAL = Path(os.environ.get("RENEWAL", ROOT / "target/debug/asp-renewal")).resolve()
TEMPLATE = ROOT / "renewal/template.yaml"
RENEWAL_STACK = f"{NAME}-renewal"
FILES = "subscriptions"
DAY = 86400
COMPLETION = "Alexa.Automation.Execution.Completion"
ROOMS = [f"amzn1.alexa.unit.did.ROOM{number}" for number in (101, 102)]
TWO_DAYS = f"duration_seconds = {DAY * 2}"
# Never shown, as no content of a secret is.
BROKEN_SECRET = '{"lwa-client-id": "never-show-this'

Answer = dict[str, Any]


def entry(rooms: list[str], more: str = "") -> str:
    return f'[[subscription]]\nevents = ["{COMPLETION}"]\nunits = {json.dumps(rooms)}\n{more}\n'


class RenewalTest(unittest.TestCase):
    """Deploys the stack of the events and that of the renewal. Each test has its own Alexa."""

    stack: ClassVar[Stack]
    outputs: ClassVar[dict[str, str]]
    port: ClassVar[int]
    parameters: ClassVar[dict[str, str]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = cls.enterClassContext(running(BOOTSTRAP, say=lambda _: None))
        cls.port = local.free_port()
        cls.stack.client("s3").create_bucket(Bucket=FILES)
        with Alexa() as alexa:
            credentials = {
                "lwa-client-id": alexa.credentials.client_id,
                "lwa-client-secret": alexa.credentials.client_secret,
                "lwa-refresh-token": alexa.credentials.refresh_token,
            }
        secrets = cls.stack.client("secretsmanager")
        secret = secrets.create_secret(Name="alexa", SecretString=json.dumps(credentials))
        cls.parameters = {
            "SubscriptionsArn": f"arn:aws:s3:::{FILES}/subscriptions.toml",
            "LoginSecretArn": secret["ARN"],
            "EventsTopicArn": cls.stack.outputs["EventsTopicArn"],
            "PageTopicArn": cls.stack.outputs["AlarmTopicArn"],
            "TicketTopicArn": cls.stack.outputs["TicketTopicArn"],
            "AlexaUrl": f"http://127.0.0.1:{cls.port}",
            "LwaUrl": f"http://127.0.0.1:{cls.port}/auth/o2/token",
            "ReservedConcurrency": "0",
        }
        cls.outputs = cls.deploy()

    @classmethod
    def deploy(cls) -> dict[str, str]:
        """Deploys the template of the renewal; its outputs."""
        s3 = cls.stack.client("s3")
        s3.put_object(Bucket=BUCKET, Key="renewal.zip", Body=local._zipped(RENEWAL))
        template = yaml_parse(TEMPLATE.read_text())
        adapt(template)
        function = template["Resources"]["RenewalFunction"]["Properties"]
        function["CodeUri"] = {"Bucket": BUCKET, "Key": "renewal.zip"}
        function["Environment"]["Variables"]["ALEXA_BACKOFF_MILLISECONDS"] = "2"
        cloudformation = cls.stack.client("cloudformation")
        cloudformation.create_stack(
            StackName=RENEWAL_STACK,
            TemplateBody=json.dumps(template),
            Parameters=local._parameters(cls.parameters),
            Capabilities=CAPABILITIES,
        )
        deadline = time.monotonic() + 120
        while True:
            [state] = cloudformation.describe_stacks(StackName=RENEWAL_STACK)["Stacks"]
            if not state["StackStatus"].endswith("IN_PROGRESS") or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        if state["StackStatus"] != "CREATE_COMPLETE":
            raise AssertionError(f"the renewal's stack is in {state['StackStatus']}")
        return {one["OutputKey"]: one["OutputValue"] for one in state["Outputs"]}

    def setUp(self) -> None:
        self.alexa = self.enterContext(Alexa(port=self.port))
        self.log: list[str] = []
        self.write(entry(ROOMS))

    def write(self, text: str, key: str = "subscriptions.toml") -> None:
        self.stack.client("s3").put_object(Bucket=FILES, Key=key, Body=text.encode())

    def environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        """What Lambda and the template set, with the permissions of the function's role."""
        sts = self.stack.client("sts")
        role = self.outputs["RenewalFunctionRoleArn"]
        session = sts.assume_role(RoleArn=role, RoleSessionName="renewal")["Credentials"]
        return {
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
            "AWS_SESSION_TOKEN": session["SessionToken"],
            "AWS_ENDPOINT_URL": self.stack.endpoint,
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "SUBSCRIPTIONS_ARN": self.parameters["SubscriptionsArn"],
            "LOGIN_SECRET_ARN": self.parameters["LoginSecretArn"],
            "EVENTS_TOPIC_ARN": self.parameters["EventsTopicArn"],
            "EVENTS_STACK": NAME,
            "ALEXA_URL": self.alexa.url,
            "LWA_URL": self.alexa.lwa_url,
            "ALEXA_BACKOFF_MILLISECONDS": "2",
            **changes,
        }

    def invoke(
        self, payload: Any = None, seconds: float = 600, program: Path = RENEWAL, **changes: str
    ) -> tuple[str, Answer]:
        """Runs the program for one invocation; `response` or `error`, and the answer's body."""
        deadline_ms = int((time.time() + seconds) * 1000)
        environment = self.environment(changes)
        answers, self.log = run_process(program, [payload or {}], environment, deadline_ms)
        credentials = self.alexa.credentials
        shown = "\n".join([*self.log, json.dumps(answers)])
        for secret in (
            credentials.client_secret,
            credentials.refresh_token,
            *self.alexa.issued_tokens,
            "never-show-this",
        ):
            self.assertNotIn(secret, shown)
        for line in self.log:
            self.assertIsInstance(json.loads(line), dict)
        return answers[0]

    def renew(self, payload: Any = None, **changes: str) -> Answer:
        kind, answer = self.invoke(payload, **changes)
        self.assertEqual(kind, "response", answer)
        return answer

    def failure(self, error_type: str, **changes: str) -> str:
        """Runs a renewal that must fail; its message."""
        kind, answer = self.invoke(**changes)
        self.assertEqual((kind, answer.get("errorType")), ("error", error_type), answer)
        return str(answer["errorMessage"])

    def changes(self) -> list[str]:
        """What was changed at Alexa, or was to be, in order."""
        found = []
        for request in self.alexa.requests:
            for kind in (CONFIGURATIONS, SUBSCRIPTIONS):
                is_change = request.method in ("POST", "DELETE")
                if is_change and f"/{kind}" in request.path:
                    found.append(f"{request.method} {kind}")
        return found

    def let_pass(self, seconds: float) -> None:
        """Lets time pass for Alexa, whose clock the client follows."""
        self.alexa.advance(seconds)
        self.alexa.date_offset = (self.alexa.date_offset or 0) + seconds

    def logged(self, **fields: Any) -> list[Answer]:
        """The lines of the log with these fields."""
        lines = [json.loads(line) for line in self.log]
        return [line for line in lines if fields.items() <= line.items()]


class Renewing(RenewalTest):
    def test_what_is_missing_is_created_and_then_nothing_is_to_do(self) -> None:
        answer = self.renew()
        self.assertEqual((answer["missing"], answer["created"], answer["deleted"]), (2, 2, 0))
        self.assertEqual(len(self.logged(change="created")), 2)
        [summary] = self.logged(message="subscriptions compared with the file")
        self.assertEqual((summary["wanted"], summary["created"]), (2, 2))
        self.alexa.requests.clear()
        answer = self.renew()
        self.assertEqual((answer["kept"], answer["created"]), (2, 0))
        self.assertEqual(self.changes(), [])
        self.write(entry([*ROOMS, "amzn1.alexa.unit.did.ROOM103"]))
        answer = self.renew()
        self.assertEqual((answer["kept"], answer["missing"], answer["created"]), (2, 1, 1))
        self.assertEqual(len(self.alexa.subscriptions), 3)

    def test_what_ends_is_renewed_before_it_is_deleted(self) -> None:
        self.write(entry(ROOMS, TWO_DAYS))
        self.renew()
        before = {one.id for one in self.alexa.subscriptions}
        self.alexa.requests.clear()
        self.let_pass(DAY - 3600)
        self.assertEqual(self.renew()["kept"], 2)
        self.assertEqual(self.changes(), [])
        self.let_pass(7200)
        answer = self.renew()
        counts = {key: answer[key] for key in ("ending", "created", "deleted")}
        self.assertEqual(counts, {"ending": 2, "created": 2, "deleted": 2})
        in_order = [f"POST {SUBSCRIPTIONS}"] * 2 + [f"DELETE {SUBSCRIPTIONS}"] * 2
        self.assertEqual(self.changes(), in_order)
        self.assertFalse(before & {one.id for one in self.alexa.subscriptions})
        self.assertEqual(len(self.logged(change="deleted")), 2)

    def test_what_ends_at_an_unknown_time_is_renewed_as_by_apply(self) -> None:
        self.alexa.shows_expiry = False
        self.write(entry(ROOMS, TWO_DAYS))
        self.renew()
        answer = self.renew()
        counts = {key: answer[key] for key in ("ending", "unchanged", "deleted")}
        self.assertEqual(counts, {"ending": 2, "unchanged": 2, "deleted": 0})

    def test_what_the_file_does_not_name_is_never_deleted(self) -> None:
        self.write(entry(ROOMS, TWO_DAYS))
        self.renew()
        [configuration] = self.alexa.configurations
        first = dict(self.alexa.subscriptions[0].body)
        lasting = {**first, "subscriptionDurationInSeconds": DAY * 20}
        room = {"unit": {"type": "Unit", "id": "amzn1.alexa.unit.did.ROOM999"}}
        channel = {"type": "SNS", "id": f"{self.parameters['EventsTopicArn']}-2"}
        other = self.alexa.add(CONFIGURATIONS, {"deliveryChannels": [channel]})
        others = {
            self.alexa.add(SUBSCRIPTIONS, {**lasting, "entities": room}),
            self.alexa.add(SUBSCRIPTIONS, {**lasting, "subscriptionConfigurationId": other}),
        }
        self.assertEqual(self.renew()["deleted"], 0)
        # One room is taken out of the file; the other one ends.
        taken_out = first["entities"]["unit"]["id"]
        self.write(entry([room for room in ROOMS if room != taken_out], TWO_DAYS))
        self.let_pass(DAY + 3600)
        answer = self.renew()
        self.assertEqual((answer["created"], answer["deleted"]), (1, 1))
        left = {one.id: one.body["entities"] for one in self.alexa.subscriptions}
        self.assertLessEqual(others, left.keys())
        self.assertIn(first["entities"], left.values())
        self.assertEqual({one.id for one in self.alexa.configurations}, {configuration.id, other})

    def test_duplicates_are_left_alone(self) -> None:
        self.renew()
        self.alexa.add(SUBSCRIPTIONS, dict(self.alexa.subscriptions[0].body))
        answer = self.renew()
        self.assertEqual((answer["kept"], answer["deleted"]), (2, 0))
        self.assertEqual(len(self.alexa.subscriptions), 3)

    def test_a_renewal_that_is_killed_is_continued_by_the_next(self) -> None:
        self.write(entry(ROOMS[:1], TWO_DAYS))
        self.renew()
        [old] = self.alexa.subscriptions
        self.let_pass(DAY + 3600)
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        number, program = folder / "number", folder / "program"
        program.write_text(f"#!/bin/sh\necho $$ > {number}\nexec {RENEWAL}\n")
        program.chmod(0o755)

        def kill_before_deletion(request: Request) -> None:
            if request.method == "DELETE":
                os.kill(int(number.read_text()), signal.SIGKILL)
                raise Drop

        self.alexa.before = kill_before_deletion
        with self.assertRaisesRegex(RuntimeError, "did not answer"):
            self.invoke(program=program)
        self.alexa.before = None
        self.assertEqual(len(self.alexa.subscriptions), 2)
        self.alexa.requests.clear()
        answer = self.renew()
        self.assertEqual((answer["kept"], answer["deleted"]), (1, 1))
        self.assertEqual(self.changes(), [f"DELETE {SUBSCRIPTIONS}"])
        self.assertNotIn(old.id, {one.id for one in self.alexa.subscriptions})

    def test_a_dry_run_changes_nothing(self) -> None:
        answer = self.renew({"dryRun": True})
        self.assertEqual((answer["missing"], answer["created"], answer["dryRun"]), (2, 0, True))
        kind, answer = self.invoke({"dryrun": True})
        self.assertEqual((kind, answer["errorType"]), ("error", "InvalidPayload"))
        self.assertEqual(self.changes(), [])

    def test_the_file_may_be_a_parameter(self) -> None:
        ssm = self.stack.client("ssm")
        ssm.put_parameter(Name="/asp/subscriptions", Type="String", Value=entry(ROOMS[:1]))
        arn = f"arn:aws:ssm:{REGION}:000000000000:parameter/asp/subscriptions"
        # The role of this stack may read the object alone.
        root = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_SESSION_TOKEN": "",
        }
        answer = self.renew({"dryRun": True}, SUBSCRIPTIONS_ARN=arn, **root)
        self.assertEqual(answer["missing"], 1)

    def test_units_below_a_property_are_those_that_alexa_has_now(self) -> None:
        self.alexa.add_examples()
        self.write(
            f'[[subscription]]\nevents = ["{COMPLETION}"]\nunits_under = "{EXAMPLE_PROPERTY}"\n'
        )
        rooms = len(EXAMPLE_HIERARCHY) - 1
        self.assertEqual(self.renew()["created"], rooms)
        self.alexa.hierarchy["amzn1.alexa.unit.did.NEW"] = ("Room 106", EXAMPLE_PROPERTY)
        answer = self.renew()
        self.assertEqual((answer["kept"], answer["created"]), (rooms, 1))
        with self.subTest("a property without rooms"):
            self.alexa.hierarchy.clear()
            self.alexa.requests.clear()
            self.failure("InvalidInput")
            self.assertEqual(self.changes(), [])

    def test_subscriptions_that_end_between_two_runs_are_told(self) -> None:
        self.write(entry(ROOMS, "duration_seconds = 7200"))
        message = self.failure("TooShort")
        self.assertIn("2 subscriptions of the file last less than twice as long", message)
        self.assertEqual(len(self.alexa.subscriptions), 2)
        self.renew(INTERVAL_HOURS="1")


class Failing(RenewalTest):
    """A renewal that fails says why, and the next one does what it left."""

    def setUp(self) -> None:
        super().setUp()
        self.alexa.echoes_secrets = True

    def with_secret(self, text: str) -> None:
        """Replaces the secret until the end of the test."""
        secrets, arn = self.stack.client("secretsmanager"), self.parameters["LoginSecretArn"]
        before = secrets.get_secret_value(SecretId=arn)["SecretString"]
        secrets.put_secret_value(SecretId=arn, SecretString=text)
        self.addCleanup(secrets.put_secret_value, SecretId=arn, SecretString=before)

    def test_a_list_that_is_not_answered(self) -> None:
        self.alexa.fail_next(100, 503, path=f"GET /v1/eventMessenger/{SUBSCRIPTIONS}")
        self.failure("AlexaFailed")
        self.assertEqual(self.changes(), [])
        self.assertEqual(len(self.logged(message="the renewal failed")), 1)

    def test_a_list_without_an_end(self) -> None:
        self.alexa.endless = {SUBSCRIPTIONS: "strangers"}
        self.failure("AlexaFailed")
        self.assertEqual(self.changes(), [])

    def test_an_item_that_may_be_the_missing_one(self) -> None:
        channel = {"type": "SNS", "id": self.parameters["EventsTopicArn"]}
        configuration = self.alexa.add(CONFIGURATIONS, {"deliveryChannels": [channel]})
        body = {"subscriptionConfigurationId": configuration, "entities": {}}
        self.alexa.add(SUBSCRIPTIONS, body)
        self.assertIn("cannot compare 1 items", self.failure("ListNotReadable"))
        self.assertEqual(self.changes(), [])

    def test_refused_creations_stop_no_other(self) -> None:
        self.alexa.refused_units = {ROOMS[0]: 400}
        self.assertIn("1 changes could not be made", self.failure("ChangesNotMade"))
        [undone] = self.logged(message="a change could not be made")
        self.assertIn("returned 400", undone["problem"])
        self.assertEqual(undone["origin"], f"s3://{FILES}/subscriptions.toml, line 3")
        self.assertEqual(len(self.alexa.subscriptions), 1)
        self.alexa.refused_units = {}
        self.assertEqual(self.renew()["created"], 1)

    def test_when_all_creations_fail_the_next_run_makes_them(self) -> None:
        for status, error_type in ((403, "ChangesNotMade"), (429, "AlexaFailed")):
            with self.subTest(status=status):
                self.alexa.before = self.refuse_creations_with(status)
                self.failure(error_type)
                self.assertEqual(self.alexa.subscriptions, [])
        self.alexa.before = None
        self.alexa._faults.clear()
        self.assertEqual(self.renew()["created"], 2)

    def refuse_creations_with(self, status: int) -> Callable[[Request], None]:
        def refuse(request: Request) -> None:
            if request.method == "POST" and request.path.endswith(SUBSCRIPTIONS):
                self.alexa._faults.clear()
                self.alexa.fail_next(1, status, retry_after=0, path=f"POST {request.path}")

        return refuse

    def test_a_refused_token(self) -> None:
        names = ("lwa-client-id", "lwa-client-secret", "lwa-refresh-token")
        self.with_secret(json.dumps({name: "never-show-this" for name in names}))
        self.failure("AlexaFailed")
        self.assertEqual(self.changes(), [])

    def test_a_secret_that_is_missing_or_malformed(self) -> None:
        self.with_secret(BROKEN_SECRET)
        message = self.failure("InvalidInput")
        self.assertIn("it is not a JSON object with the three keys", message)
        arn = f"arn:aws:secretsmanager:{REGION}:000000000000:secret:missing-abcdef"
        message = self.failure("SourceNotRead", LOGIN_SECRET_ARN=arn)
        self.assertIn("secretsmanager:GetSecretValue was refused", message)
        self.assertEqual(self.alexa.requests, [])

    def test_a_file_that_is_missing_or_denied(self) -> None:
        self.write(entry(ROOMS), "of-others.toml")
        for key in ("missing.toml", "of-others.toml"):
            with self.subTest(key):
                arn = f"arn:aws:s3:::{FILES}/{key}"
                message = self.failure("SourceNotRead", SUBSCRIPTIONS_ARN=arn)
                self.assertIn(f"s3:GetObject was refused for s3://{FILES}/{key}", message)
                self.assertEqual(self.alexa.requests, [])

    def test_a_file_with_problems(self) -> None:
        self.write(entry(["amzn1.ask.skill.1"]) + entry(ROOMS, "duration_seconds = 1"))
        message = self.failure("InvalidInput")
        place = f"s3://{FILES}/subscriptions.toml, line"
        self.assertRegex(message, f'{place} 3, column [0-9]+: "amzn1.ask.skill.1" in units')
        self.assertRegex(message, f"{place} 8, column [0-9]+: duration_seconds is 1")
        self.assertEqual(len(self.logged(message="the renewal failed")), 2)
        topic = f'topic = "arn:aws:sns:{REGION}:000000000000:other"\n'
        for text, problem in (
            ("", "it names no subscription"),
            ('stack = "other"\n' + entry(ROOMS), "it names the stack other"),
            (topic + entry(ROOMS), "it names the topic"),
            (entry(["amzn1.alexa.unit.did.…"]), "subscriptions.toml, line 3"),
        ):
            self.write(text)
            self.assertIn(problem, self.failure("InvalidInput"))
        self.assertEqual(self.alexa.requests, [])
        for text in (f'stack = "{NAME}"', f'topic = "{self.parameters["EventsTopicArn"]}"'):
            self.write(f"{text}\n{entry(ROOMS)}")
            self.assertEqual(self.renew({"dryRun": True})["missing"], 2)

    def test_a_run_ends_before_lambda_ends_it(self) -> None:
        kind, answer = self.invoke(seconds=10)
        self.assertEqual((kind, answer["errorType"]), ("error", "TimeUp"))
        self.assertEqual(self.changes(), [])


class Deployed(RenewalTest):
    def test_it_works_as_deployed_and_the_doctor_knows_it(self) -> None:
        with patch.dict(os.environ, self.stack.session_environment()):
            settings = deploy_renewal.Configuration(ROOT, "production")
            renewal = deploy_renewal.RenewalStack(settings)
            given = renewal.parameters({"IntervalHours": "6"})
            connected = {name: self.parameters[name] for name in deploy_renewal.CONNECTIONS}
            self.assertEqual(given, {"EventsStack": NAME, "IntervalHours": "6", **connected})
            command = " ".join(renewal.command(TEMPLATE, given))
            self.assertIn(f"--stack-name {RENEWAL_STACK} ", command)
            self.assertIn(" IntervalHours=6", command)
            with redirect_stdout(io.StringIO()) as told:
                renewal.check()
            found = "of 2 subscriptions in the file, 0 are there, 2 are missing"
            self.assertIn(found, told.getvalue())
            self.assertEqual(self.changes(), [])
            self.write("broken")
            with self.assertRaisesRegex(deploy_renewal.StartError, "subscriptions.toml, line 1"):
                renewal.check()
            self.write(entry(ROOMS))
        function = self.outputs["RenewalFunctionArn"]
        answer = self.stack.client("lambda").invoke(FunctionName=function, Payload=b"{}")
        self.assertEqual(json.loads(answer["Payload"].read())["created"], 2)
        schedule = self.outputs["RenewalScheduleName"]
        schedule = self.stack.client("scheduler").get_schedule(Name=schedule)
        self.assertEqual(schedule["ScheduleExpression"], "rate(24 hours)")
        self.assertEqual(schedule["Target"]["Arn"], function)
        told = self.told_by_the_doctor()
        self.assertEqual(told["state"], "OK", told)
        self.assertIn(f"{RENEWAL_STACK} runs every 24 hours; the last run", told["detail"])

    def told_by_the_doctor(self) -> Answer:
        environment = aws(self.stack) | self.alexa.environment
        checks = run("doctor", "--output", "json", env=environment).json["checks"]
        [told] = [check for check in checks if check["check"] == "renewal"]
        return told

    def test_a_disabled_schedule_is_told(self) -> None:
        scheduler, name = self.stack.client("scheduler"), self.outputs["RenewalScheduleName"]
        schedule = scheduler.get_schedule(Name=name)
        kept = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
        same = {key: schedule[key] for key in kept}
        scheduler.update_schedule(**same, State="DISABLED")
        self.addCleanup(scheduler.update_schedule, **same, State="ENABLED")
        problems = [finding["problem"] for finding in self.told_by_the_doctor()["findings"]]
        self.assertIn(f"the schedule {name} is disabled or missing: nothing is renewed", problems)

    def test_the_first_deployment_needs_a_file_and_a_secret(self) -> None:
        renewal = object.__new__(deploy_renewal.RenewalStack)
        renewal.events, renewal.name, renewal.region = NAME, "none", REGION
        renewal.cloudformation = self.stack.client("cloudformation")
        for given, variable in (({}, "FILE"), ({"SubscriptionsArn": "arn"}, "SECRET")):
            with self.assertRaisesRegex(deploy_renewal.DeployError, f"needs {variable}"):
                renewal.parameters(given)


class RoleTest(unittest.TestCase):
    def test_the_role_may_read_two_things_and_write_its_log(self) -> None:
        template = yaml_parse(TEMPLATE.read_text())
        role = template["Resources"]["RenewalFunctionRole"]["Properties"]
        self.assertNotIn("ManagedPolicyArns", role)
        [policy] = role["Policies"]
        statements = policy["PolicyDocument"]["Statement"]
        allowed = [(one["Action"], one["Resource"]) for one in statements if "Action" in one]
        self.assertEqual(
            allowed,
            [
                (["s3:GetObject", "ssm:GetParameter"], {"Ref": "SubscriptionsArn"}),
                ("secretsmanager:GetSecretValue", {"Ref": "LoginSecretArn"}),
                (
                    ["logs:CreateLogStream", "logs:PutLogEvents"],
                    {"Fn::GetAtt": ["RenewalLogGroup", "Arn"]},
                ),
            ],
        )
        [(condition, decrypt, _)] = [one["Fn::If"] for one in statements if "Fn::If" in one]
        self.assertEqual((condition, decrypt["Action"]), ("HasKmsKeys", "kms:Decrypt"))
        self.assertEqual(decrypt["Resource"], {"Ref": "KmsKeyArns"})


if __name__ == "__main__":
    unittest.main()
