"""`aspctl doctor` finds each broken link, says what to do, and reports no other link for it.

All tests share a stack: each breaks one link and repairs it. What MiniStack cannot simulate, such
as an unconfirmed e-mail address, is tested at the functions that judge it (aspctl/src/doctor).
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tempfile
import threading
import time
import tomllib
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from alexa import CONFIGURATIONS, CONSENT_PATH, MANAGEMENT, PROFILE, SUBSCRIPTIONS, Alexa
from jsonschema import Draft202012Validator
from proxy import JSON_DENIED, Answer, proxy
from remedies import assert_pasteable, parse
from test_login import BROWSER, free_port
from tool import ASPCTL, OWN, ROOT, Result, aws, run, start

from case import BOOTSTRAP  # tool.py knows where it is
from completed import complete, destination, time_to_live
from stack import BUCKET, KEY, NAME, Stack, running
from watch import Watch

UNIT = {"type": "Unit", "id": "amzn1.alexa.unit.did.EXAMPLE"}
USER = {"type": "User", "id": "amzn1.account.EXAMPLE"}
FILE = """
stack = "asp-events"

[[subscription]]
events = ["Alexa.Automation.Execution.Completion"]
units = ["amzn1.alexa.unit.did.EXAMPLE"]

[[subscription]]
events = ["Alexa.Endpoint.Lifecycle.SetupCompletion"]
entities = { user = { type = "User", id = "amzn1.account.EXAMPLE" } }
"""
ROLE = "arn:aws:iam::006860194444:role/AlexaEventConsumerSnsIamRole"

CREDENTIALS, STACK = "AWS credentials", "stack"
LOGIN, API, SUBSCRIPTIONS_FILE, ACCOUNT = "Login with Amazon", "Alexa API", "subscriptions file", "Amazon account"
CONFIGURATION, SUBSCRIBED = "configuration", "subscriptions"
TOPIC, POLICY, ENCRYPTION, DELIVERY = "events topic", "topic policy", "topic encryption", "topic delivery"
FUNCTION, INVOCATION, DESTINATION, ERRORS = (
    "function",
    "function invocation",
    "on-failure destination",
    "function errors",
)
DEAD_LETTERS, QUARANTINE, SIGNALS = "dead-letter queues", "quarantine", "signal delivery"
ALARMS, HEARTBEAT, LEDGER = "alarms", "heartbeat", "ledger"
ALARM_TOPICS, SUBSCRIBERS = "alarm topics", "alarm subscribers"
STACK_KEY, RENEWAL = "encryption key", "renewal"

OF_ALEXA = [LOGIN, API, SUBSCRIPTIONS_FILE, ACCOUNT]
OF_TOPIC = [TOPIC, POLICY, ENCRYPTION]
OF_FUNCTION = [DELIVERY, FUNCTION, INVOCATION, DESTINATION, ERRORS]
OF_THE_QUEUES = [DEAD_LETTERS, QUARANTINE, SIGNALS]
OF_THE_REST = [*OF_THE_QUEUES, ALARMS, ALARM_TOPICS, SUBSCRIBERS, HEARTBEAT, LEDGER, STACK_KEY]
OF_STACK = [*OF_TOPIC, *OF_FUNCTION, *OF_THE_REST, RENEWAL]
ALL = [CREDENTIALS, STACK, *OF_ALEXA, CONFIGURATION, SUBSCRIBED, *OF_STACK]

CODES = re.compile(r'^\| <a id="\w+"></a>`(\w+)` \| (\w+) \| (.+?) \| ')
SCHEMA = ROOT / "schemas/aspctl/doctor.json"

Row = dict[str, Any]


def slug(link: str) -> str:
    return link.lower().replace(" ", "-")


def documented_codes() -> dict[str, tuple[str, list[str]]]:
    """The severity and the checks of each code, as the document has them."""
    lines = (ROOT / "docs/doctor-codes.md").read_text().splitlines()
    found = filter(None, map(CODES.match, lines))
    return {row[1]: (row[2], re.findall(r"`([\w-]+)`", row[3])) for row in found}


def rows_of(report: dict[str, Any]) -> list[Row]:
    """A row for each finding that counts, or else for the check."""
    rows: list[Row] = []
    for check in report["checks"]:
        link = {"link": check["name"]}
        counted = [finding for finding in check["findings"] if finding["counts"]]
        for finding in counted:
            text = "\n".join([finding["advice"], *finding["commands"]])
            row = {"state": finding["severity"].lower(), "detail": finding["problem"], "advice": text}
            rows.append(link | row | {"code": finding["code"], "commands": finding["commands"]})
        if not counted:
            rows.append(link | {"state": check["state"].lower(), "detail": check["detail"], "advice": None})
    return rows


class DoctorTest(unittest.TestCase):
    """Runs a healthy stack and a healthy stand-in for Alexa."""

    parameters: ClassVar[dict[str, str]] = {"AlarmEmail": "alarms@example.com"}
    stack: Stack
    alexa: Alexa
    file: Path
    configuration: str

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = cls.enterClassContext(running(BOOTSTRAP, say=lambda _: None, parameters=cls.parameters))
        cls.alexa = cls.enterClassContext(Alexa())
        cls.file = Path(cls.enterClassContext(tempfile.TemporaryDirectory())) / "subscriptions.toml"
        cls.file.write_text(FILE)
        complete(cls.stack)
        cls.configuration = cls.configure(cls.arn("EventsTopic"))
        cls.subscribe("Alexa.Automation.Execution", "Completion", {"unit": UNIT})
        cls.subscribe("Alexa.Endpoint.Lifecycle", "SetupCompletion", {"user": USER})

    @classmethod
    def alarm_name(cls, alarm: str) -> str:
        described = cls.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{NAME}-{alarm}-")
        (found,) = described["MetricAlarms"]
        return str(found["AlarmName"])

    @classmethod
    def client(cls, service: str) -> Any:
        return cls.stack.client(service)

    @classmethod
    def arn(cls, resource: str) -> str:
        return cls.stack.outputs[f"{resource}Arn"]

    @classmethod
    def name(cls, resource: str) -> str:
        return cls.stack.name(resource)

    @classmethod
    def time_to_live(cls, enabled: bool) -> dict[str, Any]:
        return time_to_live(cls.stack, enabled)

    @classmethod
    def destination(cls) -> dict[str, Any]:
        return destination(cls.stack)

    @classmethod
    def configure(cls, topic: str) -> str:
        return cls.alexa.add(CONFIGURATIONS, {"deliveryChannels": [{"type": "SNS", "id": topic}]})

    @classmethod
    def subscribe(cls, namespace: str, name: str, entities: dict[str, Any], **more: Any) -> str:
        event = {"namespace": namespace, "name": name}
        body = {"subscriptionConfigurationId": cls.configuration, "eventType": event, "entities": entities}
        return cls.alexa.add(SUBSCRIPTIONS, body | more)

    def subscription(self, topic: str) -> str:
        listed = self.client("sns").list_subscriptions_by_topic(TopicArn=self.arn(topic))["Subscriptions"]
        self.assertEqual(len(listed), 1)
        return str(listed[0]["SubscriptionArn"])

    def new_key(self, *statements: dict[str, Any]) -> str:
        kms = self.client("kms")
        key: str = kms.create_key()["KeyMetadata"]["KeyId"]
        own = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "kms:*"}
        policy = {"Version": "2012-10-17", "Statement": [own | {"Resource": "*"}, *statements]}
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
        return key

    def caller_without(self, actions: list[str], resource: str = "*") -> dict[str, str]:
        """The credentials of a user who may do anything but these actions."""
        iam, name = self.client("iam"), "doctor"
        iam.create_user(UserName=name)
        self.addCleanup(iam.delete_user, UserName=name)
        statements = [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "Action": actions, "Resource": resource},
        ]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=document)
        self.addCleanup(iam.delete_user_policy, UserName=name, PolicyName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self.addCleanup(iam.delete_access_key, UserName=name, AccessKeyId=key["AccessKeyId"])
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def environment(self) -> dict[str, str]:
        environment = aws(self.stack) | self.alexa.environment
        return environment | {"ASPCTL_FILE": str(self.file), "ASPCTL_ALEXA_BACKOFF": "1ms", "HOME": "/nonexistent"}

    def run_doctor(self, *args: str, without: str = "", **env: str) -> Result:
        environment = self.environment() | env
        environment.pop(without, None)
        return run("doctor", *args, env=environment)

    def report(self, *args: str, **env: str) -> tuple[int, dict[str, Any]]:
        """Runs the doctor; its exit status and its JSON, which is as documented."""
        result = self.run_doctor("--output", "json", *args, **env)
        self.assertTrue(result.out, result.err)
        report: dict[str, Any] = json.loads(result.out)
        self.assert_documented(report)
        self.assertEqual(report["passed"], result.status == 0, report)
        return result.status, report

    def assert_documented(self, report: dict[str, Any]) -> None:
        """Checks the shape, and that each code is the one of the document for this check."""
        Draft202012Validator(json.loads(SCHEMA.read_bytes())).validate(report)
        codes = documented_codes()
        for check in report["checks"]:
            self.assertEqual(check["check"], slug(check["name"]))
            for finding in check["findings"]:
                severity, checks = codes[finding["code"]]
                self.assertEqual(finding["severity"].lower(), severity, finding)
                self.assertTrue(not checks or check["check"] in checks, (check, checks))
                for command in finding["commands"]:
                    assert_pasteable(command, region="us-east-1")

    def doctor(self, *args: str, **env: str) -> tuple[int, list[Row]]:
        status, report = self.report(*args, **env)
        rows = rows_of(report)
        self.assertEqual(list(dict.fromkeys(row["link"] for row in rows)), ALL)
        return status, rows

    def assert_repairs(self, row: Row) -> None:
        """Runs the commands of a finding, after which everything is in order."""
        self.assertTrue(row["commands"], row)
        for command in row["commands"]:
            parse(command).run(self.stack)
        status, rows = self.doctor()
        self.assertEqual([row for row in rows if row["state"] != "ok"], [])
        self.assertEqual(status, 0)

    def assert_fails(
        self, link: str, *fragments: str, skipped: list[str] | None = None, args: tuple[str, ...] = (), **env: str
    ) -> Row:
        """Checks that only this link fails, these are skipped, and the text has the fragments."""
        status, rows = self.doctor(*args, **env)
        states = {state: [row["link"] for row in rows if row["state"] == state] for state in ("failed", "skipped")}
        self.assertEqual(states, {"failed": [link], "skipped": skipped or []}, json.dumps(rows, indent=1))
        self.assertEqual(status, 1)
        return self.assert_said(rows, "failed", link, *fragments)

    def assert_warns(self, link: str, *fragments: str, **env: str) -> None:
        """Checks that only this link has a warning, which sets the exit status too."""
        status, rows = self.doctor(**env)
        self.assertEqual([row["link"] for row in rows if row["state"] != "ok"], [link], json.dumps(rows, indent=1))
        self.assertEqual(status, 1)
        self.assert_said(rows, "warning", link, *fragments)

    def assert_said(self, rows: list[Row], state: str, link: str, *fragments: str) -> Row:
        found = next(row for row in rows if row["link"] == link and row["state"] == state)
        self.assertTrue(found["detail"] and found["advice"], found)
        for fragment in fragments:
            self.assertIn(fragment, f"{found['detail']}. {found['advice']}")
        return found


class Doctor(DoctorTest):
    def test_everything_is_ok(self) -> None:
        status, rows = self.doctor()
        self.assertEqual([row for row in rows if row["state"] != "ok"], [])
        self.assertEqual(status, 0)
        self.assertTrue(all(row["detail"] and row["advice"] is None for row in rows), rows)

    def test_text_output_has_a_line_for_each_link(self) -> None:
        result = self.run_doctor()
        self.assertEqual(result.status, 0, result.out)
        lines = result.out.splitlines()
        self.assertEqual(len(lines), len(ALL))
        for line, link in zip(lines, ALL, strict=True):
            self.assertRegex(line, rf"^✓ ok +{link}  +\S")
        self.assertEqual(result.err, "All checks passed.\n")
        self.assertEqual(self.run_doctor("--quiet").err, "")

    def test_text_output_says_what_to_do(self) -> None:
        result = self.run_doctor("--file", "/nonexistent/subscriptions.toml")
        self.assertEqual(result.status, 1)
        self.assertRegex(result.out, "(?m)^✗ FAILED +subscriptions file\n    • .*No such file.*\n      → .*--file")
        self.assertRegex(result.out, "(?m)^- skipped +subscriptions +needs subscriptions file$")
        self.assertEqual(result.err, f"1 of {len(ALL)} links failed, and 2 could not be checked.\n")
        unsent = self.run_doctor("--send", "--file", "/nonexistent/subscriptions.toml")
        self.assertEqual(unsent.status, 1)
        self.assertRegex(unsent.out, "(?m)^✓ ok +synthetic event ")
        coloured = self.run_doctor("--file", "/nonexistent/subscriptions.toml", "--color", "always")
        self.assertIn("\x1b[", coloured.out)

    def test_text_output_shows_warnings(self) -> None:
        other = self.configure(self.arn("EventsTopic"))
        self.addCleanup(self.alexa.resources[CONFIGURATIONS].pop, other)
        result = self.run_doctor()
        self.assertEqual(result.status, 1)
        self.assertRegex(result.out, "(?m)^! warning +configuration\n    • .*\n      → .*aspctl delete")
        self.assertEqual(result.err, f"Nothing failed, but 1 of {len(ALL)} links needs attention.\n")
        status, row = self.rehearse("automation-success")
        self.assertEqual((status, row["state"]), (1, "ok"), row)

    def test_credentials_in_secrets_manager(self) -> None:
        own = self.alexa.credentials
        keys = {"lwa-client-id": own.client_id, "lwa-client-secret": own.client_secret}
        whole = keys | {"lwa-refresh-token": own.refresh_token}
        environment = {name: "" for name in ("LWA_CLIENT_ID", "LWA_CLIENT_SECRET", "LWA_REFRESH_TOKEN")}
        secrets = self.client("secretsmanager")
        secrets.create_secret(Name="alexa", SecretString=json.dumps(whole))
        self.addCleanup(secrets.delete_secret, SecretId="alexa", ForceDeleteWithoutRecovery=True)
        status, _ = self.doctor("--credentials-secret", "alexa", **environment)
        self.assertEqual(status, 0)
        secrets.put_secret_value(SecretId="alexa", SecretString=json.dumps(keys))
        skipped = [API, ACCOUNT, CONFIGURATION, SUBSCRIBED]
        row = self.assert_fails(
            LOGIN, "lwa-refresh-token", skipped=skipped, args=("--credentials-secret", "alexa"), **environment
        )
        self.assertNotIn(own.client_secret, json.dumps(row))
        self.assert_fails(LOGIN, "nowhere", skipped=skipped, args=("--credentials-secret", "nowhere"), **environment)

    # ── What is checked ──

    def states(self, *args: str, **env: str) -> tuple[int, dict[str, str]]:
        """The exit status, and the state of each check that is not left out by an option."""
        status, report = self.report(*args, **env)
        self.assertEqual([check["name"] for check in report["checks"]], ALL)
        made = [check for check in report["checks"] if check["skipReason"] != "BY_OPTION"]
        return status, {check["name"]: check["state"].lower() for check in made}

    def test_only_these_are_checked(self) -> None:
        self.assertEqual(self.states("--only", "alarms"), (0, {ALARMS: "ok"}))
        self.assertEqual(self.states("--only", "topic-policy,LEDGER"), (0, {POLICY: "ok", LEDGER: "ok"}))
        # A code stands for the links that can have it.
        checks = {ALARMS: "ok", LEDGER: "ok", RENEWAL: "ok"}
        self.assertEqual(self.states("--only", "ALARM_DISABLED", "--only", "ledger"), (0, checks))
        alexa = {name: "ok" for name in (*OF_ALEXA, CONFIGURATION, SUBSCRIBED)}
        self.assertEqual(self.states("--only", "alexa"), (0, alexa))
        rest = {name: "ok" for name in ALL if name not in alexa}
        self.assertEqual(self.states("--skip", "alexa"), (0, rest))
        self.assertEqual(self.states("--only", "alexa,alarms", "--skip", "alexa"), (0, {ALARMS: "ok"}))

    def test_what_is_left_out_is_counted(self) -> None:
        result = self.run_doctor("--only", "alarms")
        self.assertEqual(result.status, 0)
        self.assertRegex(result.out, r"\A✓ ok       alarms  31 alarms.*\n\Z")
        self.assertEqual(result.err, f"1 check passed; {len(ALL) - 1} left out (--only, --skip).\n")
        result = self.run_doctor("--skip", "alexa")
        self.assertEqual(len(result.out.splitlines()), len(ALL) - 6)
        self.assertEqual(result.err, f"{len(ALL) - 6} checks passed; 6 left out (--only, --skip).\n")

    def test_a_program_gets_what_is_left_out(self) -> None:
        _, report = self.report("--only", "alarms")
        details = {check["name"]: check["detail"] for check in report["checks"]}
        self.assertEqual(list(details), ALL)
        # What is read all the same is said.
        for name in (CREDENTIALS, STACK):
            self.assertEqual(details[name], "by option; was read for other checks")
        self.assertEqual(details[LEDGER], "by option")

    def test_what_is_not_selected_is_not_asked(self) -> None:
        denied = self.caller_without(["lambda:*", "logs:*", "dynamodb:*", "cloudwatch:*", "kms:*", "scheduler:*"])
        self.alexa.requests.clear()
        self.assertEqual(self.states("--only", "topic-policy", **denied), (0, {POLICY: "ok"}))
        self.assertEqual(self.alexa.requests, [])
        # Nothing of AWS is needed for the login.
        self.assertEqual(self.states("--only", "login-with-amazon", AWS_ENDPOINT_URL="http://127.0.0.1:1")[0], 0)

    def test_a_prerequisite_that_is_missing_is_reported(self) -> None:
        args = ("--only", "alarms", "--stack", "no-such-stack")
        status, report = self.report(*args)
        self.assertEqual(status, 1)
        checks = {check["name"]: check for check in report["checks"]}
        self.assertEqual([finding["code"] for finding in checks[STACK]["findings"]], ["STACK_NOT_FOUND"])
        found = (checks[ALARMS]["state"], checks[ALARMS]["skipReason"], checks[ALARMS]["needs"])
        self.assertEqual(found, ("SKIPPED", "NEEDS_CHECK", "stack"))
        self.assertEqual(checks[CREDENTIALS]["skipReason"], "BY_OPTION")

    def test_a_code_is_left_out(self) -> None:
        names, cloudwatch = [self.alarm_name("FunctionErrorsAlarm")], self.client("cloudwatch")
        self.addCleanup(cloudwatch.enable_alarm_actions, AlarmNames=names)
        cloudwatch.disable_alarm_actions(AlarmNames=names)
        ringing = {"AlarmName": self.alarm_name("QuarantineAlarm")}
        self.addCleanup(cloudwatch.set_alarm_state, **ringing, StateValue="OK", StateReason="over")
        cloudwatch.set_alarm_state(**ringing, StateValue="ALARM", StateReason="Quarantined.")
        for args, counted in (
            ([], ["ALARM_DISABLED", "ALARM_IN_ALARM"]),
            (["--skip", "ALARM_IN_ALARM"], ["ALARM_DISABLED"]),
            (["--only", "ALARM_IN_ALARM"], ["ALARM_IN_ALARM"]),
            (["--only", "alarms", "--skip", "alarm_in_alarm,ALARM_DISABLED"], []),
        ):
            with self.subTest(args):
                status, report = self.report(*args)
                self.assertEqual(status, 1 if counted else 0)
                (alarms,) = (check for check in report["checks"] if check["name"] == ALARMS)
                codes = {finding["code"]: finding["counts"] for finding in alarms["findings"]}
                self.assertEqual(sorted(codes), ["ALARM_DISABLED", "ALARM_IN_ALARM"])
                self.assertEqual(sorted(code for code, counts in codes.items() if counts), counted)
                self.assertEqual(alarms["state"], "FAILED" if counted else "SKIPPED")
        shown = self.run_doctor("--skip", "ALARM_IN_ALARM,ALARM_DISABLED")
        self.assertEqual(shown.status, 0)
        self.assertRegex(shown.out, "(?m)^- skipped +alarms +2 findings left out by option$")
        self.assertRegex(shown.out, "(?m)^    - ALARM_IN_ALARM, left out by option: .* is in ALARM")

    def test_a_link_that_is_made_for_a_code_is_ok_without_it(self) -> None:
        cloudwatch, ringing = self.client("cloudwatch"), {"AlarmName": self.alarm_name("QuarantineAlarm")}
        self.addCleanup(cloudwatch.set_alarm_state, **ringing, StateValue="OK", StateReason="over")
        cloudwatch.set_alarm_state(**ringing, StateValue="ALARM", StateReason="Quarantined.")
        result = self.run_doctor("--only", "ALARM_DISABLED")
        self.assertEqual(result.status, 0)
        alarms, finding, renewal = result.out.splitlines()
        self.assertRegex(alarms, "^✓ ok +alarms +no ALARM_DISABLED; 1 finding left out by option$")
        self.assertRegex(finding, "^    - ALARM_IN_ALARM, left out by option: ")
        self.assertRegex(renewal, "^✓ ok +renewal +not deployed")
        self.assertEqual(result.err, f"2 checks passed; {len(ALL) - 2} left out (--only, --skip).\n")
        status, states = self.states("--only", "ALARM_DISABLED")
        self.assertEqual((status, states), (0, {ALARMS: "ok", RENEWAL: "ok"}))

    def test_a_check_that_could_not_be_made_counts_whatever_code_is_selected(self) -> None:
        denied = self.caller_without(["sns:GetTopicAttributes"])
        status, report = self.report("--only", "TOPIC_IS_FIFO", **denied)
        self.assertEqual(status, 1)
        (topic,) = (check for check in report["checks"] if check["name"] == TOPIC)
        self.assertEqual([finding["code"] for finding in topic["findings"]], ["AWS_ACCESS_DENIED"])
        self.assertEqual(self.report("--only", "events-topic", "--skip", "AWS_ACCESS_DENIED", **denied)[0], 0)

    def test_an_unknown_check_is_answered_with_those_there_are(self) -> None:
        for option in ("--only", "--skip"):
            result = self.run_doctor(option, "alarms,alarm")
            self.assertEqual((result.status, result.out), (64, ""))
            self.assertIn("invalid value 'alarm'", result.err)
            for name in ("alexa", *map(slug, ALL), "synthetic-event", *documented_codes()):
                self.assertRegex(result.err, rf"[ \[]{name}[,\]]")
        for args, why in (
            (["--only", "ledger", "--skip", "ledger"], "nothing to check"),
            (["--only", "ALARM_DISABLED", "--skip", "ALARM_DISABLED"], "nothing to check"),
            (["--only", "synthetic-event"], "--send"),
        ):
            result = self.run_doctor(*args)
            self.assertEqual((result.status, result.out), (64, ""))
            self.assertIn(why, result.err)

    # ── Without credentials for Alexa, as on call ──

    def on_call(self, *args: str, **env: str) -> Result:
        own = {name: value for name, value in self.environment().items() if not name.startswith("LWA_")}
        return run("doctor", *args, env=own | env)

    def test_without_credentials_alexa_is_not_checked(self) -> None:
        self.alexa.requests.clear()
        result = self.on_call()
        self.assertEqual(result.status, 0, result.out)
        for name in (LOGIN, API, ACCOUNT, CONFIGURATION, SUBSCRIBED):
            reason = "not checked: no Login with Amazon credentials"
            self.assertRegex(result.out, f"(?m)^- skipped +{name} +{reason}$")
        # The file needs no credentials.
        self.assertRegex(result.out, "(?m)^✓ ok +subscriptions file +names 2 subscriptions$")
        self.assertEqual(result.out.count("To check Alexa too"), 1)
        login = f"aspctl login --credentials-file ~/.config/asp-events.toml --lwa-url {self.alexa.lwa_url}"
        self.assertIn(f"        {login}\n", result.out)
        checks = len(ALL) - 5
        wanted = f"{checks} checks passed; 5 not checked (no Login with Amazon credentials).\n"
        self.assertEqual(result.err, wanted)
        self.assertEqual(self.alexa.requests, [])

    def test_without_credentials_and_file_neither_is_missed(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            own = {"ASPCTL_FILE": "subscriptions.toml"}
            environment = {k: v for k, v in self.environment().items() if not k.startswith("LWA_")}
            done = subprocess.run(
                [ASPCTL, "doctor", "--output", "json"],
                cwd=folder,
                env=OWN | environment | own,
                capture_output=True,
                text=True,
                timeout=60,
            )
        report = json.loads(done.stdout)
        self.assert_documented(report)
        reasons = {check["name"]: check["skipReason"] for check in report["checks"]}
        unchecked = [name for name, reason in reasons.items() if reason == "NO_LOGIN_CREDENTIALS"]
        self.assertEqual(unchecked, [*OF_ALEXA, CONFIGURATION, SUBSCRIBED])
        self.assertEqual((done.returncode, report["passed"]), (0, True))

    def test_credentials_can_be_required(self) -> None:
        for args in (["--require-alexa"], ["--only", "alexa"], ["--only", "login-with-amazon"]):
            with self.subTest(args):
                result = self.on_call(*args)
                self.assertEqual(result.status, 1)
                self.assertRegex(result.out, "(?m)^✗ FAILED +Login with Amazon\n    • LOGIN_CREDENTIALS_MISSING: ")

    def test_what_is_broken_counts_without_credentials_too(self) -> None:
        url, sqs = self.stack.queue_url("QuarantineQueueArn"), self.client("sqs")
        self.addCleanup(sqs.purge_queue, QueueUrl=url)
        sqs.send_message(QueueUrl=url, MessageBody="kept")
        result = self.on_call()
        self.assertEqual(result.status, 1)
        self.assertRegex(result.err, f"^1 of {len(ALL)} links failed; 5 not checked ")

    # ── Commands to paste ──

    def test_commands_say_where_they_work(self) -> None:
        url, sqs = self.stack.queue_url("QuarantineQueueArn"), self.client("sqs")
        self.addCleanup(sqs.purge_queue, QueueUrl=url)
        sqs.send_message(QueueUrl=url, MessageBody="kept")
        with tempfile.NamedTemporaryFile("w") as config:
            config.write('[profile on-call]\naws_access_key_id = test\naws_secret_access_key = test\nregion = us-east-1\n')
            config.flush()
            env = {"AWS_CONFIG_FILE": config.name, "AWS_REGION": ""}
            _, report = self.report("--profile", "on-call", **env)
        (quarantine,) = (check for check in report["checks"] if check["name"] == QUARANTINE)
        (finding,) = quarantine["findings"]
        end = "--stack asp-events --region us-east-1 --profile on-call"
        wanted = [f"aspctl quarantine list {end}", f"aspctl replay quarantine --dry-run {end}"]
        self.assertEqual(finding["commands"], wanted)
        for command in finding["commands"]:
            assert_pasteable(command, profile="on-call", stack="asp-events")

    def test_a_command_of_the_report_works(self) -> None:
        """A finding's command, copied from the text into a shell that has no settings."""
        url, sqs = self.stack.queue_url("QuarantineQueueArn"), self.client("sqs")
        self.addCleanup(sqs.purge_queue, QueueUrl=url)
        sqs.send_message(QueueUrl=url, MessageBody="kept")
        result = self.run_doctor()
        (line,) = (line for line in result.out.splitlines() if "aspctl quarantine list" in line)
        own = OWN | {k: v for k, v in aws(self.stack).items() if k != "AWS_REGION"}
        command = line.strip().replace("aspctl", str(ASPCTL), 1)
        done = subprocess.run(["sh", "-c", command], env=own, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        head, _ = done.stdout.splitlines()
        self.assertRegex(head, "^ID +REASON ")

    def test_the_login_of_the_report_works(self) -> None:
        """The command as it stands, by somebody who has no credentials yet."""
        result = self.on_call("--only", "login-with-amazon")
        self.assertEqual(result.status, 1)
        (line,) = (line for line in result.out.splitlines() if "aspctl login" in line)
        command = line.strip().replace("aspctl", str(ASPCTL), 1)
        client, port = self.alexa.credentials, free_port()
        self.addCleanup(setattr, self.alexa, "allowed_return_urls", self.alexa.allowed_return_urls)
        self.alexa.allowed_return_urls = {f"http://127.0.0.1:{port}/cb"}
        home = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (home / ".config").mkdir()
        browser = home / "browser"
        browser.write_text(BROWSER)
        browser.chmod(0o700)
        own = {"HOME": str(home), "BROWSER": str(browser), "NO_PROXY": "127.0.0.1"}
        own |= {"LWA_CLIENT_ID": client.client_id, "LWA_CLIENT_SECRET": client.client_secret}
        own |= {"ASPCTL_AUTHORIZATION_URL": self.alexa.url + CONSENT_PATH}
        done = subprocess.run(
            ["sh", "-c", f"{command} --port {port}"], env=OWN | own, capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        stored = tomllib.loads((home / ".config/asp-events.toml").read_text())
        self.assertEqual(stored["client_id"], client.client_id)

    # ── The account and the stack ──

    def test_no_region(self) -> None:
        skipped = [STACK, CONFIGURATION, SUBSCRIBED, *OF_STACK]
        self.assert_fails(CREDENTIALS, "--region", skipped=skipped, without="AWS_REGION")

    def test_no_credentials(self) -> None:
        skipped = [STACK, CONFIGURATION, SUBSCRIBED, *OF_STACK]
        self.assert_fails(CREDENTIALS, "aws sso login", skipped=skipped, without="AWS_ACCESS_KEY_ID")

    def test_no_such_stack(self) -> None:
        skipped = [CONFIGURATION, SUBSCRIBED, *OF_STACK]
        self.assert_fails(STACK, "no-such-stack", "--stack", skipped=skipped, args=("--stack", "no-such-stack"))

    def test_caller_lacks_a_permission(self) -> None:
        actions = ["sns:GetTopicAttributes", "lambda:GetPolicy"]
        status, rows = self.doctor(**self.caller_without(actions))
        states = {row["link"]: row["state"] for row in rows if row["state"] != "ok"}
        wanted = {TOPIC: "failed", POLICY: "skipped", ENCRYPTION: "skipped", INVOCATION: "failed"}
        wanted |= {ALARM_TOPICS: "failed"}
        self.assertEqual(states, wanted, rows)
        self.assertEqual(status, 1)
        self.assert_said(rows, "failed", TOPIC, "cannot check this", "Allow sns:GetTopicAttributes")
        self.assert_said(rows, "failed", INVOCATION, "cannot check this", "Allow lambda:GetPolicy")
        self.assert_said(rows, "failed", ALARM_TOPICS, "cannot check this", "Allow sns:GetTopicAttributes")

    # ── Alexa ──

    def test_the_refresh_token_is_refused(self) -> None:
        skipped = [API, ACCOUNT, CONFIGURATION, SUBSCRIBED]
        self.assert_fails(LOGIN, "invalid_grant", "LWA_REFRESH_TOKEN", skipped=skipped, LWA_REFRESH_TOKEN="Atzr|other")

    def test_the_client_is_refused(self) -> None:
        skipped = [API, ACCOUNT, CONFIGURATION, SUBSCRIBED]
        row = self.assert_fails(LOGIN, "invalid_client", "console", skipped=skipped, LWA_CLIENT_SECRET="not-the-secret")
        self.assertNotIn("not-the-secret", str(row))

    def test_no_login_credentials(self) -> None:
        skipped = [API, ACCOUNT, CONFIGURATION, SUBSCRIBED]
        self.assert_fails(LOGIN, "LWA_CLIENT_ID", skipped=skipped, without="LWA_CLIENT_ID")

    def test_the_token_lacks_the_scope_of_the_api(self) -> None:
        self.addCleanup(setattr, self.alexa, "scopes", self.alexa.scopes)
        self.alexa.scopes = {PROFILE}
        self.assert_fails(API, "alexa::enterprise:management", skipped=[CONFIGURATION, SUBSCRIBED])

    def test_the_api_is_unreachable(self) -> None:
        skipped = [CONFIGURATION, SUBSCRIBED]
        self.assert_fails(API, "got no response", "--alexa-url", skipped=skipped, ASPCTL_ALEXA_URL="http://127.0.0.1:1")

    def test_the_token_lacks_the_scope_of_the_profile(self) -> None:
        self.addCleanup(setattr, self.alexa, "scopes", self.alexa.scopes)
        self.alexa.scopes = {MANAGEMENT}
        self.assert_fails(ACCOUNT, "profile:user_id")

    def test_the_profile_is_needed_for_devices_only(self) -> None:
        self.addCleanup(setattr, self.alexa, "scopes", self.alexa.scopes)
        self.alexa.scopes = {MANAGEMENT}
        self.write(FILE.replace("Alexa.Endpoint.Lifecycle.SetupCompletion", "Alexa.Group.Management.Change"))
        self.assert_fails(SUBSCRIBED, "Alexa.Group.Management.Change")

    def test_devices_are_set_up_by_another_account(self) -> None:
        self.addCleanup(setattr, self.alexa, "user_id", self.alexa.user_id)
        self.alexa.user_id = "amzn1.account.OTHER"
        self.assert_warns(ACCOUNT, "amzn1.account.EXAMPLE", "Write amzn1.account.OTHER into the file")

    def write(self, text: str) -> None:
        self.addCleanup(self.file.write_text, FILE)
        self.file.write_text(text)

    def test_no_file(self) -> None:
        args = ("--file", "/nonexistent/subscriptions.toml")
        self.assert_fails(SUBSCRIPTIONS_FILE, "--file", skipped=[ACCOUNT, SUBSCRIBED], args=args)

    def test_the_file_is_about_another_stack(self) -> None:
        self.write(FILE.replace('"asp-events"', '"other"'))
        self.assert_fails(SUBSCRIPTIONS_FILE, "--stack other")

    def test_the_file_is_about_another_topic(self) -> None:
        self.write(FILE.replace('stack = "asp-events"', 'topic = "arn:aws:sns:us-east-1:123456789012:other"'))
        self.assert_fails(SUBSCRIPTIONS_FILE, "arn:aws:sns:us-east-1:123456789012:other", "--stack")

    def test_no_configuration_names_the_topic(self) -> None:
        configurations = self.alexa.resources[CONFIGURATIONS]
        self.addCleanup(configurations.update, dict(configurations))
        configurations.clear()
        other = self.configure("arn:aws:sns:us-east-1:123456789012:other")
        self.addCleanup(configurations.pop, other)
        self.assert_fails(CONFIGURATION, self.arn("EventsTopic"), "aspctl apply", skipped=[SUBSCRIBED])

    def test_two_configurations_name_the_topic(self) -> None:
        other = self.configure(self.arn("EventsTopic"))
        self.addCleanup(self.alexa.resources[CONFIGURATIONS].pop, other)
        self.assert_warns(CONFIGURATION, self.configuration, other, "aspctl delete")

    def test_a_subscription_is_missing(self) -> None:
        subscriptions = self.alexa.resources[SUBSCRIPTIONS]
        for id, subscription in list(subscriptions.items()):
            with self.subTest(subscription.body["eventType"]):
                del subscriptions[id]
                event = subscription.body["eventType"]
                missing = f"{event['namespace']}.{event['name']} for"
                self.assert_fails(SUBSCRIBED, "1 of 2 subscriptions missing", missing, "aspctl apply")
                subscriptions[id] = subscription

    def test_a_subscription_to_another_topic_does_not_count(self) -> None:
        subscriptions = self.alexa.resources[SUBSCRIPTIONS]
        self.addCleanup(subscriptions.update, dict(subscriptions))
        other = self.configure("arn:aws:sns:us-east-1:123456789012:other")
        self.addCleanup(self.alexa.resources[CONFIGURATIONS].pop, other)
        for subscription in list(subscriptions.values()):
            subscription = subscriptions[subscription.id]
            body = subscription.body | {"subscriptionConfigurationId": other}
            subscriptions[subscription.id] = type(subscription)(subscription.id, body)
        self.assert_fails(SUBSCRIBED, "2 of 2 subscriptions missing")

    def test_a_subscription_expires_soon(self) -> None:
        activity = "Alexa.Enterprise.Endpoint.Activity"
        id = self.subscribe(activity, "Voice", {}, subscriptionDurationInSeconds=3600)
        subscriptions = self.alexa.resources[SUBSCRIPTIONS]
        self.addCleanup(subscriptions.pop, id)
        subscriptions[id] = replace(subscriptions[id], expires_at=self.alexa.clock() + 800)
        # Subscriptions that the file does not name may expire.
        self.assertEqual(self.doctor()[0], 0)
        self.write(f'{FILE}\n[[subscription]]\nevents = ["{activity}.Voice"]\nentities = {{}}\n')
        self.assert_warns(SUBSCRIBED, f"1 expires soon: {id}", "Renew what expires", "aspctl apply --stack")
        subscriptions[id] = replace(subscriptions[id], expires_at=self.alexa.clock() + 1000)
        self.assertEqual(self.doctor()[0], 0)

    def test_a_subscription_exists_twice(self) -> None:
        id = self.subscribe("Alexa.Automation.Execution", "Completion", {"unit": UNIT})
        self.addCleanup(self.alexa.resources[SUBSCRIPTIONS].pop, id)
        self.assert_warns(SUBSCRIBED, "1 subscription exists more than once", "aspctl apply --prune --stack")

    def test_a_subscription_cannot_be_read(self) -> None:
        id = self.alexa.add(SUBSCRIPTIONS, {"subscriptionConfigurationId": self.configuration})
        self.addCleanup(self.alexa.resources[SUBSCRIPTIONS].pop, id)
        self.assert_warns(SUBSCRIBED, id, "aspctl get")

    # ── The events topic ──

    def set_attribute(self, topic: str, name: str, value: str) -> None:
        attribute, sns = {"TopicArn": self.arn(topic), "AttributeName": name}, self.client("sns")
        before = sns.get_topic_attributes(TopicArn=self.arn(topic))["Attributes"].get(name, "")
        self.addCleanup(sns.set_topic_attributes, **attribute, AttributeValue=before)
        sns.set_topic_attributes(**attribute, AttributeValue=value)

    def set_topic(self, name: str, value: str) -> None:
        self.set_attribute("EventsTopic", name, value)

    def policy(self) -> list[dict[str, Any]]:
        attributes = self.client("sns").get_topic_attributes(TopicArn=self.arn("EventsTopic"))["Attributes"]
        statements: list[dict[str, Any]] = json.loads(attributes["Policy"])["Statement"]
        return statements

    def set_policy(self, *statements: dict[str, Any]) -> None:
        self.set_topic("Policy", json.dumps({"Version": "2012-10-17", "Statement": statements}))

    def test_the_topic_is_gone(self) -> None:
        arn, sns = self.arn("EventsTopic"), self.client("sns")
        policy = sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"]
        sns.delete_topic(TopicArn=arn)
        self.addCleanup(self.subscribe_function)
        self.addCleanup(sns.set_topic_attributes, TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
        self.addCleanup(sns.create_topic, Name=self.name("EventsTopic"))
        self.assert_fails(TOPIC, "REVERT_DRIFT", skipped=[POLICY, ENCRYPTION, DELIVERY])

    def test_alexa_may_not_publish(self) -> None:
        self.set_policy(*[one for one in self.policy() if one["Sid"] != "grant-alexa-event-sns-publish"])
        before = self.policy()
        row = self.assert_fails(POLICY, "no statement grants sns:Publish", "--attribute-name Policy")
        self.assert_repairs(row)
        *kept, statement = self.policy()
        self.assertEqual(kept, before)
        self.assertEqual((statement["Principal"], statement["Resource"]), ({"AWS": [ROLE]}, self.arn("EventsTopic")))

    def test_alexa_is_denied_publishing(self) -> None:
        denial = {"Sid": "own-only", "Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": "*"}
        condition = {"StringNotEquals": {"aws:PrincipalAccount": "000000000000"}}
        self.set_policy(*self.policy(), denial | {"Condition": condition})
        self.assert_fails(POLICY, "statement own-only denies", "aws:PrincipalArn", ROLE)

    def test_a_policy_cannot_be_evaluated(self) -> None:
        denial = {"Sid": "organization", "Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": "*"}
        condition = {"StringNotEquals": {"aws:PrincipalOrgID": "o-example"}}
        self.set_policy(*self.policy(), denial | {"Condition": condition})
        self.assert_warns(POLICY, "organization", ROLE)

    def test_the_topic_uses_the_key_managed_by_aws(self) -> None:
        self.set_topic("KmsMasterKeyId", "alias/aws/sns")
        row = self.assert_fails(ENCRYPTION, "other accounts", "--attribute-name KmsMasterKeyId")
        self.assert_repairs(row)

    def key(self, *statements: dict[str, Any]) -> str:
        key = self.new_key(*statements)
        self.set_topic("KmsMasterKeyId", key)
        return key

    def test_the_topic_uses_a_key_that_alexa_may_not_use(self) -> None:
        key = self.key()
        self.assert_fails(ENCRYPTION, key, "kms:GenerateDataKey*", ROLE)

    def test_the_topic_uses_a_key_that_alexa_may_use(self) -> None:
        allowed = {"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": ["kms:GenerateDataKey*", "kms:Decrypt"]}
        key = self.key(allowed | {"Resource": "*"})
        self.assert_warns(ENCRYPTION, key, "does not document")

    def test_the_topic_uses_a_key_whose_policy_is_conditional(self) -> None:
        allowed = {"Sid": "via", "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"}
        key = self.key(allowed | {"Condition": {"StringEquals": {"kms:ViaService": "sns.us-east-1.amazonaws.com"}}})
        self.assert_warns(ENCRYPTION, "cannot determine whether", key, "statement via", ROLE)

    def test_the_key_of_the_topic_is_disabled(self) -> None:
        key = self.key()
        self.client("kms").disable_key(KeyId=key)
        self.assert_fails(ENCRYPTION, "not enabled", "aws kms enable-key")

    # ── The function ──

    def subscribe_function(self, topic: str = "EventsTopic") -> None:
        redrive = json.dumps({"deadLetterTargetArn": self.arn("EventsDeadLetterQueue")})
        self.client("sns").subscribe(
            TopicArn=self.arn(topic),
            Protocol="lambda",
            Endpoint=self.arn("AspEventsFunction"),
            Attributes={"RedrivePolicy": redrive},
        )

    def set_subscription(self, name: str, value: str, before: str, topic: str = "EventsTopic") -> None:
        attribute = {"SubscriptionArn": self.subscription(topic), "AttributeName": name}
        sns = self.client("sns")
        self.addCleanup(sns.set_subscription_attributes, **attribute, AttributeValue=before)
        sns.set_subscription_attributes(**attribute, AttributeValue=value)

    def test_the_function_is_not_subscribed(self) -> None:
        self.client("sns").unsubscribe(SubscriptionArn=self.subscription("EventsTopic"))
        self.addCleanup(self.subscribe_function)
        self.assert_repairs(self.assert_fails(DELIVERY, "aws sns subscribe", self.arn("AspEventsFunction")))

    def test_a_filter_policy_blocks_events(self) -> None:
        self.set_subscription("FilterPolicy", '{"kind": ["other"]}', before="{}")
        row = self.assert_fails(DELIVERY, '{"kind": ["other"]}', "--attribute-name FilterPolicy")
        self.assert_repairs(row)

    def test_the_subscription_has_no_dead_letter_queue(self) -> None:
        before = json.dumps({"deadLetterTargetArn": self.arn("EventsDeadLetterQueue")})
        self.set_subscription("RedrivePolicy", "{}", before=before)
        queue = self.arn("EventsDeadLetterQueue")
        self.assert_repairs(self.assert_fails(DELIVERY, "lost", "--attribute-name RedrivePolicy", queue))

    def test_the_function_is_throttled_to_zero(self) -> None:
        function = {"FunctionName": self.name("AspEventsFunction")}
        self.addCleanup(self.client("lambda").delete_function_concurrency, **function)
        self.client("lambda").put_function_concurrency(**function, ReservedConcurrentExecutions=0)
        row = self.assert_fails(FUNCTION, "is disabled", "aws lambda delete-function-concurrency")
        self.assert_repairs(row)

    def set_variables(self, variables: dict[str, str]) -> None:
        function, awslambda = {"FunctionName": self.name("AspEventsFunction")}, self.client("lambda")
        awslambda.update_function_configuration(**function, Environment={"Variables": variables})
        # During an update AWS runs the previous version; MiniStack reports Pending.
        while awslambda.get_function_configuration(**function)["State"] == "Pending":
            time.sleep(0.05)

    def test_the_function_publishes_elsewhere(self) -> None:
        function = self.client("lambda").get_function_configuration(FunctionName=self.name("AspEventsFunction"))
        variables = function["Environment"]["Variables"]
        self.addCleanup(self.set_variables, variables)
        self.set_variables(variables | {"RETRY_TOPIC_ARN": self.arn("ReadinessTopic")})
        self.assert_fails(FUNCTION, "RETRY_TOPIC_ARN is", self.arn("RetryTopic"), "REVERT_DRIFT")

    def test_the_function_is_gone(self) -> None:
        awslambda, name = self.client("lambda"), self.name("AspEventsFunction")
        function = awslambda.get_function_configuration(FunctionName=name)
        taken = (
            "FunctionName Description Runtime Role Handler Timeout MemorySize Architectures "
            "LoggingConfig"
        ).split()
        again = {key: function[key] for key in taken} | {"Code": {"S3Bucket": BUCKET, "S3Key": KEY}}
        awslambda.delete_function(FunctionName=name)
        self.addCleanup(self.set_variables, function["Environment"]["Variables"])
        self.addCleanup(self.permit_sns)
        self.addCleanup(lambda: awslambda.put_function_event_invoke_config(**self.destination()))
        self.addCleanup(awslambda.create_function, **again)
        self.assert_fails(FUNCTION, f"{name} does not exist", "REVERT_DRIFT", skipped=[INVOCATION, DESTINATION])

    def permit_sns(self) -> None:
        self.client("lambda").add_permission(
            FunctionName=self.name("AspEventsFunction"),
            StatementId="sns",
            Action="lambda:InvokeFunction",
            Principal="sns.amazonaws.com",
            SourceArn=self.arn("EventsTopic"),
        )

    def test_sns_may_not_invoke_the_function(self) -> None:
        function = {"FunctionName": self.name("AspEventsFunction")}
        awslambda = self.client("lambda")
        (statement,) = json.loads(awslambda.get_policy(**function)["Policy"])["Statement"]
        awslambda.remove_permission(**function, StatementId=statement["Sid"])
        self.addCleanup(self.permit_sns)
        row = self.assert_fails(INVOCATION, "aws lambda add-permission", self.arn("EventsTopic"))
        self.assert_repairs(row)
        awslambda.remove_permission(**function, StatementId="alexa-events")

    def test_the_function_has_no_on_failure_destination(self) -> None:
        awslambda = self.client("lambda")
        awslambda.delete_function_event_invoke_config(
            FunctionName=self.name("AspEventsFunction"), Qualifier="$LATEST"
        )
        self.addCleanup(awslambda.put_function_event_invoke_config, **self.destination())
        # There is nothing to update any more.
        row = self.assert_fails(DESTINATION, "lost", "put-function-event-invoke-config", self.arn("OnFailureQueue"))
        self.assert_repairs(row)

    def log_group(self) -> str:
        return self.arn("AspEventsLogGroup").removesuffix(":*").partition(":log-group:")[2]

    def log(self, *lines: str, age: float = 0) -> None:
        logs = self.client("logs")
        stream = {"logGroupName": self.log_group(), "logStreamName": f"test/{time.time_ns()}"}
        logs.create_log_stream(**stream)
        self.addCleanup(logs.delete_log_stream, **stream)
        at = int((time.time() - age) * 1000)
        logs.put_log_events(**stream, logEvents=[{"timestamp": at, "message": line} for line in lines])

    def test_the_function_had_errors(self) -> None:
        error = {"level": "ERROR", "message": "failed, and a repeat cannot cure it", "error": "AuthorizationError"}
        report = {"type": "platform.report", "record": {"status": "timeout"}}
        self.log(json.dumps(error), json.dumps(report), json.dumps({"level": "WARN", "message": "failed"}))
        self.assert_fails(ERRORS, "2 in the last 1h", "AuthorizationError", f"aws logs tail {self.log_group()}")

    def test_old_errors_do_not_count(self) -> None:
        self.log(json.dumps({"level": "ERROR", "message": "old"}), age=2000)
        self.assert_fails(ERRORS, "1 in the last 1h")
        self.assertEqual(self.doctor("--since", "30m")[0], 0)

    def test_the_log_is_gone(self) -> None:
        group = {"logGroupName": self.log_group()}
        self.client("logs").delete_log_group(**group)
        self.addCleanup(self.client("logs").create_log_group, **group)
        self.assert_fails(ERRORS, self.log_group(), "REVERT_DRIFT")

    # ── Kept messages ──

    def test_a_queue_holds_messages(self) -> None:
        queues = {
            "EventsDeadLetterQueue": "events-dlq",
            "OnFailureQueue": "on-failure",
            "IngestionDeadLetterQueue": "ingestion-dlq",
            "RetryDeadLetterQueue": "retry-dlq",
            "ReadinessDeadLetterQueue": "readiness-dlq",
            "ReportDeadLetterQueue": "report-dlq",
            "QuarantineDeadLetterQueue": "quarantine-dlq",
            "QuarantineQueue": "quarantine",
        }
        sqs = self.client("sqs")
        for queue in queues:
            url = self.stack.queue_url(f"{queue}Arn")
            self.addCleanup(sqs.purge_queue, QueueUrl=url)
            sqs.send_message(QueueUrl=url, MessageBody="kept")
        status, rows = self.doctor()
        self.assertEqual(status, 1)
        self.assertEqual({row["link"] for row in rows if row["state"] != "ok"}, {DEAD_LETTERS, QUARANTINE})
        kept = [(row["detail"], row["advice"]) for row in rows if row["state"] == "failed"]
        self.assertEqual(len(kept), len(queues))
        for (queue, source), (detail, advice) in zip(queues.items(), kept, strict=True):
            self.assertIn(f"1 message in {queue}", detail)
            self.assertIn(f"aspctl replay {source} --dry-run", advice)
            self.assertEqual("aspctl quarantine list" in advice, source == "quarantine")

    def test_an_invisible_message_counts(self) -> None:
        url, sqs = self.stack.queue_url("QuarantineQueueArn"), self.client("sqs")
        self.addCleanup(sqs.purge_queue, QueueUrl=url)
        sqs.send_message(QueueUrl=url, MessageBody="kept")
        self.assertEqual(len(sqs.receive_message(QueueUrl=url)["Messages"]), 1)
        self.assert_fails(QUARANTINE, "1 message in QuarantineQueue")

    def test_a_signal_topic_has_no_queue(self) -> None:
        sns = self.client("sns")
        for kind in ("Retry", "Readiness", "Report", "Quarantine"):
            topic, queue = self.arn(f"{kind}Topic"), self.arn(f"{kind}Queue")
            sns.unsubscribe(SubscriptionArn=self.subscription(f"{kind}Topic"))
            redrive = json.dumps({"deadLetterTargetArn": self.arn(f"{kind}DeadLetterQueue")})
            attributes = {"RawMessageDelivery": "true", "RedrivePolicy": redrive}
            self.addCleanup(sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes=attributes)
        status, rows = self.doctor()
        self.assertEqual(status, 1)
        broken = [row for row in rows if row["state"] != "ok"]
        failed = [(row["link"], parse(row["commands"][0]).parameters["Endpoint"]) for row in broken]
        queues = [self.arn(f"{kind}Queue") for kind in ("Retry", "Readiness", "Report", "Quarantine")]
        self.assertEqual(failed, [(SIGNALS, queue) for queue in queues])

    def test_a_signal_topic_filters_what_it_sends_to_its_queue(self) -> None:
        redrive = json.dumps({"deadLetterTargetArn": self.arn("ReadinessDeadLetterQueue")})
        for name, value, before, said in [
            ("FilterPolicy", '{"unitId": ["u"]}', "{}", '{"unitId": ["u"]}'),
            ("RawMessageDelivery", "false", "true", "in the SNS envelope"),
            ("RedrivePolicy", "{}", redrive, "lost"),
        ]:
            with self.subTest(name):
                self.set_subscription(name, value, before, topic="ReadinessTopic")
                self.assert_fails(SIGNALS, said, "ReadinessQueue", f"--attribute-name {name}")
                self.doCleanups()

    def set_queue_policy(self, queue: str, policy: str) -> None:
        url, sqs = self.stack.queue_url(f"{queue}Arn"), self.client("sqs")
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]
        self.addCleanup(sqs.set_queue_attributes, QueueUrl=url, Attributes={"Policy": attributes["Policy"]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})

    def assert_needs_policy(self, link: str, queue: str, topic: str) -> None:
        """Checks that the doctor finds a missing permission, and that its advice repairs it."""
        self.set_queue_policy(queue, "")
        self.assert_repairs(self.assert_fails(link, "no statement grants", self.arn(queue), self.arn(topic)))
        self.doCleanups()

    def test_a_queue_policy_refuses_its_topic(self) -> None:
        for kind in ("Retry", "Readiness", "Quarantine"):
            for queue in ("Queue", "DeadLetterQueue"):
                with self.subTest(f"{kind}{queue}"):
                    self.assert_needs_policy(SIGNALS, f"{kind}{queue}", f"{kind}Topic")
        self.assert_needs_policy(DELIVERY, "EventsDeadLetterQueue", "EventsTopic")

    # ── The alarms and the ledger ──

    def alarm(self) -> dict[str, Any]:
        """An alarm as a request of PutMetricAlarm."""
        described = self.client("cloudwatch").describe_alarms(AlarmNames=[self.alarm_name("FunctionErrorsAlarm")])
        taken = (
            "AlarmName AlarmDescription ActionsEnabled OKActions AlarmActions MetricName Namespace "
            "Statistic Dimensions Period EvaluationPeriods Threshold ComparisonOperator "
            "TreatMissingData"
        ).split()
        return {name: value for name, value in described["MetricAlarms"][0].items() if name in taken}

    def test_an_alarm_is_gone(self) -> None:
        alarm, cloudwatch = self.alarm(), self.client("cloudwatch")
        cloudwatch.delete_alarms(AlarmNames=[alarm["AlarmName"]])
        self.addCleanup(cloudwatch.put_metric_alarm, **alarm)
        self.assert_fails(ALARMS, "missing: FunctionErrorsAlarm", "make deploy", "REVERT_DRIFT")

    def test_an_alarm_is_disabled(self) -> None:
        names, cloudwatch = [self.alarm_name("FunctionErrorsAlarm")], self.client("cloudwatch")
        self.addCleanup(cloudwatch.enable_alarm_actions, AlarmNames=names)
        cloudwatch.disable_alarm_actions(AlarmNames=names)
        row = self.assert_fails(ALARMS, f"aws cloudwatch enable-alarm-actions --alarm-names {names[0]}")
        self.assert_repairs(row)

    def test_an_alarm_has_no_action(self) -> None:
        alarm, cloudwatch = self.alarm(), self.client("cloudwatch")
        self.addCleanup(cloudwatch.put_metric_alarm, **alarm)
        cloudwatch.put_metric_alarm(**alarm | {"AlarmActions": [self.arn("RetryTopic")]})
        self.assert_fails(ALARMS, f"not notifying TicketTopic: {alarm['AlarmName']}", "REVERT_DRIFT")

    def test_an_alarm_is_in_alarm(self) -> None:
        alarm, cloudwatch = {"AlarmName": self.alarm_name("FunctionErrorsAlarm")}, self.client("cloudwatch")
        self.addCleanup(cloudwatch.set_alarm_state, **alarm, StateValue="OK", StateReason="over")
        cloudwatch.set_alarm_state(**alarm, StateValue="ALARM", StateReason="The function failed.")
        told = f"TICKET: {alarm['AlarmName']} is in ALARM: The function failed"
        self.assert_fails(ALARMS, told, "describe-alarms", "docs/operations.md#functionerrorsalarm")
        page = {"AlarmName": self.alarm_name("FunctionThrottlesAlarm")}
        self.addCleanup(cloudwatch.set_alarm_state, **page, StateValue="OK", StateReason="over")
        cloudwatch.set_alarm_state(**page, StateValue="ALARM", StateReason="It was throttled.")
        status, rows = self.doctor()
        self.assertEqual({row["link"] for row in rows if row["state"] != "ok"}, {ALARMS})
        told = [row["detail"].partition(":")[0] for row in rows if row["link"] == ALARMS]
        self.assertCountEqual(told, ["PAGE", "TICKET"])

    def test_the_heartbeat_is_disabled(self) -> None:
        scheduler = self.client("scheduler")
        [listed] = scheduler.list_schedules()["Schedules"]
        schedule = scheduler.get_schedule(Name=listed["Name"])
        taken = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target", "State")
        schedule = {name: schedule[name] for name in taken}
        self.addCleanup(scheduler.update_schedule, **schedule)
        scheduler.update_schedule(**schedule | {"State": "DISABLED"})
        problem = f"the schedule {schedule['Name']} is disabled"
        self.assert_fails(HEARTBEAT, problem, "Heartbeat=No", "REVERT_DRIFT")
        scheduler.update_schedule(**schedule | {"Target": schedule["Target"] | {"Arn": self.arn("RetryTopic")}})
        self.assert_fails(HEARTBEAT, f"sends greetings to {self.arn('RetryTopic')}", "REVERT_DRIFT")

    def test_the_heartbeat_is_gone(self) -> None:
        scheduler = self.client("scheduler")
        [listed] = scheduler.list_schedules()["Schedules"]
        schedule = scheduler.get_schedule(Name=listed["Name"])
        taken = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target", "State")
        self.addCleanup(scheduler.create_schedule, **{name: schedule[name] for name in taken})
        scheduler.delete_schedule(Name=listed["Name"])
        self.assert_fails(HEARTBEAT, listed["Name"], "REVERT_DRIFT")

    def test_an_alarm_topic_has_no_subscriber(self) -> None:
        sns = self.client("sns")
        for topic, kind in (("AlarmTopic", "pages"), ("TicketTopic", "tickets")):
            with self.subTest(topic):
                sns.unsubscribe(SubscriptionArn=self.subscription(topic))
                again = {"TopicArn": self.arn(topic), "Protocol": "email", "Endpoint": "alarms@example.com"}
                self.addCleanup(sns.subscribe, **again)
                self.assert_fails(SUBSCRIBERS, f"nobody is notified of {kind}", "AlarmEmail", "confirm")
                self.doCleanups()

    def test_cloudwatch_may_not_publish_to_an_alarm_topic(self) -> None:
        for topic, kind in (("AlarmTopic", "pages"), ("TicketTopic", "tickets")):
            with self.subTest(topic):
                self.set_attribute(topic, "Policy", '{"Statement": []}')
                problem = f"no statement grants CloudWatch permission to publish {kind} to"
                row = self.assert_fails(ALARM_TOPICS, problem, "--attribute-name Policy", self.arn(topic))
                self.assert_repairs(row)
                self.doCleanups()

    def test_cloudwatch_may_not_use_the_key_of_an_alarm_topic(self) -> None:
        self.set_attribute("TicketTopic", "KmsMasterKeyId", "alias/aws/sns")
        self.assert_fails(ALARM_TOPICS, "CloudWatch cannot use", "--attribute-name KmsMasterKeyId")
        key = self.new_key()
        self.set_attribute("TicketTopic", "KmsMasterKeyId", key)
        self.assert_fails(ALARM_TOPICS, key, "does not grant kms:GenerateDataKey", "cloudwatch.amazonaws.com")
        allowed = {"Effect": "Allow", "Principal": {"Service": "cloudwatch.amazonaws.com"}, "Resource": "*"}
        self.set_attribute("TicketTopic", "KmsMasterKeyId", self.new_key(allowed | {"Action": "kms:*"}))
        self.assertEqual(self.doctor()[0], 0)

    def test_the_metrics_are_in_the_namespace_of_earlier_versions(self) -> None:
        earlier = rb"\1<ParameterValue>AlexaSmartProperties</ParameterValue>"
        value = rb"(<ParameterKey>MetricNamespace</ParameterKey>\s*)<ParameterValue(?: ?/>|></ParameterValue>)"

        def keep_value(operation: str, ask: Callable[[], Answer]) -> Answer:
            answer = ask()
            if operation != "DescribeStacks" or answer.status != 200:  # there is no renewal
                return answer
            body, count = re.subn(value, earlier, answer.body)
            self.assertEqual(count, 1, answer.body)
            return answer._replace(body=body)

        with proxy(self.stack.endpoint, keep_value) as relay:
            override = 'set MetricNamespace="" in parameter_overrides'
            own = "AlexaSmartProperties/asp-events"
            self.assert_warns(STACK, "default of earlier versions", override, own, AWS_ENDPOINT_URL=relay.endpoint)

    def test_the_ledger_is_gone(self) -> None:
        dynamodb, table = self.client("dynamodb"), {"TableName": self.name("LedgerTable")}
        dynamodb.delete_table(**table)
        self.addCleanup(lambda: dynamodb.update_time_to_live(**self.time_to_live(True)))
        self.addCleanup(
            dynamodb.create_table,
            **table,
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.assert_fails(LEDGER, table["TableName"], "REVERT_DRIFT")

    def test_the_ledger_has_no_time_to_live(self) -> None:
        dynamodb = self.client("dynamodb")
        self.addCleanup(dynamodb.update_time_to_live, **self.time_to_live(True))
        dynamodb.update_time_to_live(**self.time_to_live(False))
        self.assert_repairs(self.assert_fails(LEDGER, "aws dynamodb update-time-to-live", "expiresAt"))

    # ── The stack's key ──

    def new_stack_key(self) -> str:
        """The ARN of a key with the policy that every new key has."""
        return str(self.client("kms").describe_key(KeyId=self.new_key())["KeyMetadata"]["Arn"])

    @contextmanager
    def stack_key(self, arn: str, **answers: Answer) -> Iterator[dict[str, str]]:
        """The environment of aspctl in which the parameter KmsKeyArn names this key."""
        parameter = f"<member><ParameterKey>KmsKeyArn</ParameterKey><ParameterValue>{arn}</ParameterValue></member>"
        end = b"</Parameters>"

        def add_parameter(operation: str, ask: Callable[[], Answer]) -> Answer:
            if operation in answers:
                return answers[operation]
            answer = ask()
            if operation != "DescribeStacks" or answer.status != 200:  # there is no renewal
                return answer
            self.assertEqual(answer.body.count(end), 1, answer.body)
            return answer._replace(body=answer.body.replace(end, parameter.encode() + end))

        with proxy(self.stack.endpoint, add_parameter) as relay:
            yield {"AWS_ENDPOINT_URL": relay.endpoint}

    def test_the_key_of_the_stack_lacks_statements(self) -> None:
        key, kms = self.new_stack_key(), self.client("kms")
        with self.stack_key(key) as env:
            status, rows = self.doctor(**env)
            broken = [row for row in rows if row["state"] != "ok"]
            self.assertEqual({(row["link"], row["state"]) for row in broken}, {(STACK_KEY, "failed")}, rows)
            self.assertEqual(status, 1)
            users = (
                "SNS on behalf of RetryTopic, ReadinessTopic, ReportTopic and QuarantineTopic",
                "CloudWatch for pages and tickets",
                "CloudWatch Logs for the function's log group",
            )
            for row, user in zip(broken, users, strict=True):
                self.assertRegex(row["detail"], f"^the key {key} does not grant kms:.* to {user}$")
            # A policy is set as a whole: the command of each finding mends all of them.
            self.assertEqual(len({command for row in broken for command in row["commands"]}), 1)
            parse(broken[0]["commands"][0]).run(self.stack)
            policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
            granted = policy["Statement"][1]["Condition"]["ArnLike"]["aws:SourceArn"]
            topics = ("RetryTopic", "ReadinessTopic", "ReportTopic", "QuarantineTopic")
            self.assertEqual(granted, [self.arn(topic) for topic in topics])
            status, rows = self.doctor(**env)
            self.assertEqual([row for row in rows if row["state"] != "ok"], [])
            self.assertEqual(status, 0)

    def test_the_key_of_the_stack_denies_something_to_the_role(self) -> None:
        key = self.new_stack_key()
        everybody = {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}
        role = {"ArnEquals": {"aws:PrincipalArn": self.arn("AspEventsFunctionRole")}}
        via = {"StringLike": {"kms:ViaService": "dynamodb.*"}}
        denial = everybody | {"Sid": "no-ledger", "Effect": "Deny", "Condition": role | via}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody, denial]})
        self.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=policy)
        with self.stack_key(key) as env:
            denied = "denies kms:Decrypt (statement no-ledger) to the function's role through DynamoDB"
            self.assert_fails(STACK_KEY, denied, "aws kms get-key-policy", **env)

    def test_the_key_of_the_stack_is_disabled(self) -> None:
        key, kms = self.new_stack_key(), self.client("kms")
        kms.disable_key(KeyId=key)
        # The alarm topics use it too, but one link is enough to report it.
        self.set_attribute("TicketTopic", "KmsMasterKeyId", key)
        with self.stack_key(key) as env:
            self.assert_fails(STACK_KEY, "its state is Disabled", f"aws kms enable-key --key-id {key}", **env)
            kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
            self.assert_fails(STACK_KEY, "its state is PendingDeletion", "aws kms cancel-key-deletion", **env)

    def test_the_key_of_the_stack_does_not_exist_here(self) -> None:
        key = self.new_stack_key()
        with self.stack_key(f"{key}1") as env:
            self.assert_fails(STACK_KEY, f"{key}1", "Deploy with the ARN of an existing key in KmsKeyArn", **env)
        with self.stack_key(key.replace("us-east-1", "eu-west-1")) as env:
            self.assert_fails(STACK_KEY, "is in another region", "a key of us-east-1 in KmsKeyArn", **env)

    def test_the_key_of_the_stack_cannot_be_read(self) -> None:
        key = self.new_stack_key()
        for operation in ("DescribeKey", "GetKeyPolicy"):
            with self.subTest(operation), self.stack_key(key, **{operation: JSON_DENIED}) as env:
                unknown = f"cannot tell whether the policy of the key {key}, which KmsKeyArn names, allows"
                self.assert_warns(STACK_KEY, unknown, f"kms:{operation} on {key}", "Ask the owner of the key", **env)


    # ── The test event ──

    def rehearse(self, kind: str, *args: str, **env: str) -> tuple[int, Row]:
        """Runs the doctor with a test event; its exit status and the last row."""
        result = self.run_doctor("--output", "json", "--send", kind, *args, **env)
        report = json.loads(result.out)
        self.assert_documented(report)
        rows = rows_of(report)
        self.assertEqual([row["link"] for row in rows], [*ALL, "synthetic event"])
        return result.status, rows[-1]

    def assert_rehearsed(self, kind: str, effect: str) -> None:
        status, row = self.rehearse(kind)
        self.assertEqual((status, row["state"]), (0, "ok"), row)
        self.assertRegex(row["detail"], f"^aspctl-[0-9a-f]{{32}}: {effect}.* \\(after ")

    def test_the_test_event_has_its_effect(self) -> None:
        self.assert_rehearsed("subscription-activation", "readiness signal published")
        self.assert_rehearsed("role-revocation", "readiness signal published")
        self.assert_rehearsed("automation-failure", "retry trigger published")
        self.assert_rehearsed("automation-success", "complete in the ledger")
        self.assertEqual(self.client("sqs").list_queues(QueueNamePrefix="aspctl-").get("QueueUrls", []), [])

    def test_an_interrupted_test_event_leaves_no_queue(self) -> None:
        asked, go_on = threading.Event(), threading.Event()

        def hang() -> Answer | None:
            asked.set()
            go_on.wait(60)
            return None

        with proxy(self.stack.endpoint, Publish=hang) as relay:
            process = start("doctor", "--send", env=self.environment() | {"AWS_ENDPOINT_URL": relay.endpoint})
            self.addCleanup(process.kill)
            self.assertTrue(asked.wait(60))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            go_on.set()
        self.assertEqual(process.returncode, 130)
        self.assertRegex(out, "(?m)^✗ FAILED +synthetic event\n    • SYNTHETIC_EVENT_FAILED: interrupted. The temporary queue was removed$")
        self.assertIn(f"error: interrupted. {len(ALL) + 1} links checked\n", err)
        self.assertEqual(self.client("sqs").list_queues(QueueNamePrefix="aspctl-").get("QueueUrls", []), [])

    def test_the_test_skill_failure_is_counted_outside_of_live(self) -> None:
        # MiniStack shows a metric at once, where CloudWatch takes a minute or two, and its alarms
        # ignore dimensions.
        alarm = {"AlarmName": self.alarm_name("LiveSkillFailureAlarm"), "StateReason": "over", "StateValue": "OK"}
        self.addCleanup(self.client("cloudwatch").set_alarm_state, **alarm)
        watch = Watch(self.stack)
        self.assert_rehearsed("skill-failure", "counted in the metric SkillInteractionFailure with the stage development")
        self.assertEqual((watch.total(SkillStage="development"), watch.total(SkillStage="live")), (1, 0))

    def test_the_test_event_has_no_effect(self) -> None:
        published = (
            b"<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult>"
            b"</PublishResponse>"
        )
        with proxy(self.stack.endpoint, Publish=lambda: Answer(200, published)) as relay:
            for kind, effect in {
                "device-setup": "readiness signal published",
                "automation-success": "complete in the ledger",
                "skill-failure": "counted in the metric",
            }.items():
                status, row = self.rehearse(kind, "--timeout", "300ms", AWS_ENDPOINT_URL=relay.endpoint)
                self.assertEqual((status, row["state"]), (1, "failed"), row)
                self.assertRegex(row["detail"], f"not seen within 300ms: {effect}")
                self.assertIn("OnFailureQueue", row["advice"])
                self.assertEqual("try --timeout 3m" in row["advice"], kind == "skill-failure")


class Buffered(DoctorTest):
    parameters: ClassVar[dict[str, str]] = DoctorTest.parameters | {"Ingestion": "Buffered"}

    def test_everything_is_ok(self) -> None:
        status, rows = self.doctor()
        self.assertEqual([row for row in rows if row["state"] != "ok"], [])
        self.assertEqual(status, 0)

    def test_the_queue_policy_refuses_the_topic(self) -> None:
        url, sqs = self.stack.queue_url("IngestionQueueArn"), self.client("sqs")
        policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
        self.addCleanup(sqs.set_queue_attributes, QueueUrl=url, Attributes={"Policy": policy})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
        self.assert_fails(DELIVERY, "no statement grants", url.rpartition("/")[2], self.arn("EventsTopic"))

    def test_the_event_source_mapping_is_disabled(self) -> None:
        awslambda = self.client("lambda")
        (mapping,) = awslambda.list_event_source_mappings()["EventSourceMappings"]
        self.addCleanup(awslambda.update_event_source_mapping, UUID=mapping["UUID"], Enabled=True)
        awslambda.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        enable = f"aws lambda update-event-source-mapping --uuid {mapping['UUID']} --enabled"
        self.assert_repairs(self.assert_fails(INVOCATION, enable))

    def test_the_queue_is_not_subscribed(self) -> None:
        sns, topic, queue = self.client("sns"), self.arn("EventsTopic"), self.arn("IngestionQueue")
        (subscription,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
        redrive = json.dumps({"deadLetterTargetArn": self.arn("EventsDeadLetterQueue")})
        self.addCleanup(
            sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RedrivePolicy": redrive}
        )
        self.assert_fails(DELIVERY, "aws sns subscribe", queue)


if __name__ == "__main__":
    unittest.main()
