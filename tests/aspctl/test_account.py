"""Which AWS account aspctl works on, and how it gets there."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import unittest
from pathlib import Path

from aws_stand_in import (
    ACCOUNT,
    TOPIC_ACCOUNT,
    Call,
    aws_stand_in,
    certificate_authority,
    forward_proxy,
)
from tool import OWN, Result, run, start

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "s"}
CREDENTIAL_PROCESS = json.dumps(
    {"Version": 1, "AccessKeyId": "AKIAPROCESS", "SecretAccessKey": "s"}
)
CONFIG = f"""
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = s
[profile other]
region = eu-west-1
aws_access_key_id = AKIAOTHER
aws_secret_access_key = s
[profile role]
role_arn = arn:aws:iam::{ACCOUNT}:role/r
source_profile = other
[profile mfa]
role_arn = arn:aws:iam::{ACCOUNT}:role/r
source_profile = other
mfa_serial = arn:aws:iam::{ACCOUNT}:mfa/m
[profile process]
credential_process = echo '{CREDENTIAL_PROCESS}'
[profile login]
login_session = arn:aws:iam::{ACCOUNT}:user/u
[profile sso]
sso_session = s
sso_account_id = {ACCOUNT}
sso_role_name = r
[profile region-only]
region = eu-west-1
[sso-session s]
sso_region = us-east-1
sso_start_url = https://example.com/start
"""


class AccountTest(unittest.TestCase):
    scheme = "http"

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / ".aws/sso/cache").mkdir(parents=True)
        self.config = self.folder / ".aws/config"
        self.config.write_text(CONFIG)
        self.aws = self.enterContext(aws_stand_in())
        self.env = {
            "HOME": str(self.folder),
            "AWS_ENDPOINT_URL": self.aws.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            **{name: "" for name in OWN if name.upper().endswith("_PROXY")},
        }

    def send(self, *args: str, **env: str) -> Result:
        return run("send", "skill-failure", *args, env=self.env | env)

    def sent(self, *args: str, **env: str) -> Result:
        result = self.send(*args, **env)
        self.assertEqual(result.status, 0, result.err)
        return result

    def refused(self, *args: str, **env: str) -> str:
        result = self.send(*args, **env)
        self.assertEqual((result.status, result.out), (1, ""), result.err)
        return result.err


class ProfileTest(AccountTest):
    def test_the_option_takes_precedence_over_keys_in_the_environment(self) -> None:
        self.sent("--profile", "other", **KEYS)
        self.assertEqual({call.access_key for call in self.aws.calls}, {"AKIAOTHER"})

    def test_the_variable_does_not(self) -> None:
        self.sent(AWS_PROFILE="other", **KEYS)
        self.assertEqual({call.access_key for call in self.aws.calls}, {"AKIAENVIRONMENT"})

    def test_without_keys_the_variable_selects(self) -> None:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            with self.subTest(name):
                self.aws.calls.clear()
                self.sent(**{name: "other"})
                self.assertEqual(self.aws.keys["Publish"], "AKIAOTHER")

    def test_without_a_selection_it_is_the_default_profile(self) -> None:
        self.sent()
        self.assertEqual(self.aws.keys["Publish"], "AKIADEFAULT")

    def test_an_unknown_profile_is_an_error(self) -> None:
        for place, args, env in (
            ("--profile", ["--profile", "nobody"], KEYS),
            ("AWS_PROFILE", [], {"AWS_PROFILE": "nobody"}),
            ("AWS_PROFILE", [], {"AWS_PROFILE": "nobody"} | KEYS),
        ):
            with self.subTest(place, env=env):
                error = self.refused(*args, **env)
                self.assertIn(f"{place}: there is no profile nobody in ~/.aws/config", error)
                self.assertIn("or ~/.aws/credentials", error)
                self.assertIn("Name one of these: default, login, mfa, other,", error)
        self.assertEqual(self.aws.calls, [])

    def test_the_files_can_be_elsewhere(self) -> None:
        elsewhere = self.folder / "elsewhere"
        self.config.rename(elsewhere)
        self.sent("--profile", "other", AWS_CONFIG_FILE=str(elsewhere))
        error = self.refused("--profile", "nobody", AWS_CONFIG_FILE=str(elsewhere))
        self.assertIn(f"no profile nobody in {elsewhere}", error)

    def test_files_that_cannot_be_parsed_are_an_error_without_their_content(self) -> None:
        self.config.write_text("[default\naws_secret_access_key = hidden\n")
        error = self.refused()
        self.assertIn("AWS profiles: cannot be read", error)
        self.assertIn("line 1", error)
        self.assertNotIn("hidden", error)

    def test_the_region_comes_from_the_first_that_sets_it(self) -> None:
        sources = [
            (["--region", "ap-south-1"], {}, "ap-south-1"),
            ([], {"AWS_REGION": "us-west-1"}, "us-west-1"),
            ([], {"AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2"),
            ([], {}, "eu-west-1"),
        ]
        for index, (args, _, region) in enumerate(sources):
            with self.subTest(region):
                self.aws.calls.clear()
                env = {"AWS_REGION": ""}
                for _, variables, _ in reversed(sources[index:]):
                    env |= variables
                self.sent("--profile", "other", *args, **env)
                self.assertEqual({call.region for call in self.aws.calls}, {region})

    def test_a_role_is_assumed_with_its_source_profile(self) -> None:
        self.sent("--profile", "role", **KEYS)
        self.assertEqual(self.aws.calls[0], Call("AssumeRole", "AKIAOTHER", "us-east-1"))
        self.assertEqual(self.aws.keys["Publish"], "AKIAROLE")

    def test_a_refused_role_is_told(self) -> None:
        self.aws.before = lambda operation: 403 if operation == "AssumeRole" else None
        error = self.refused("--profile", "role")
        self.assertIn("AccessDenied", error)
        self.assertIn("or name another profile with --profile", error)

    def test_a_process_provides_credentials(self) -> None:
        self.sent("--profile", "process", **KEYS)
        self.assertEqual(self.aws.keys["Publish"], "AKIAPROCESS")

    def log_in(self, expires_at: str) -> None:
        name = hashlib.sha1(b"s").hexdigest()
        token = {
            "accessToken": "sso-token",
            "expiresAt": expires_at,
            "region": "us-east-1",
            "startUrl": "https://example.com/start",
        }
        (self.folder / f".aws/sso/cache/{name}.json").write_text(json.dumps(token))

    def test_a_login_with_sso_provides_credentials(self) -> None:
        self.log_in("2199-01-01T00:00:00Z")
        self.sent("--profile", "sso", **KEYS)
        self.assertEqual(self.aws.keys["Publish"], "AKIASSO")

    def test_an_expired_login_with_sso_is_told(self) -> None:
        self.log_in("2020-01-01T00:00:00Z")
        error = self.refused("--profile", "sso")
        self.assertIn("Log in (aws sso login", error)
        self.assertNotIn("sso-token", error)

    def test_what_the_sdk_cannot_do_is_told_with_a_way_out(self) -> None:
        for profile, problem in (("mfa", "needs an MFA code"), ("login", "is one of `aws login`")):
            for args, env, place in (
                (["--profile", profile], KEYS, "--profile"),
                ([], {"AWS_PROFILE": profile}, "AWS_PROFILE"),
            ):
                with self.subTest(profile, place=place):
                    error = self.refused(*args, **env)
                    self.assertIn(f"error: {place}: ", error)
                    self.assertIn(problem, error)
                    export = f"aws configure export-credentials --profile {profile}"
                    self.assertIn(f'`eval "$({export} --format env)"`', error)
                    self.assertEqual("omit --profile" in error, place == "--profile")
            self.sent(AWS_PROFILE=profile, **KEYS)

    def test_a_profile_without_credentials_is_told(self) -> None:
        error = self.refused("--profile", "region-only", **KEYS)
        self.assertIn("the profile region-only has no credentials", error)
        self.assertEqual(self.aws.calls, [])


class AccountLineTest(AccountTest):
    def test_account_region_and_stack_are_shown_before_anything_is_sent(self) -> None:
        shown = f"AWS account {ACCOUNT}, region us-east-1, stack asp-events\n"
        result = self.sent()
        self.assertTrue(result.err.startswith(shown), result.err)
        self.assertEqual([call.operation for call in self.aws.calls][-1], "Publish")
        self.assertEqual(self.sent("--quiet").err, "")

    def test_a_caller_who_may_not_ask_sees_the_account_of_the_topic(self) -> None:
        self.aws.before = lambda operation: 403 if operation == "GetCallerIdentity" else None
        self.assertIn(f"AWS account {TOPIC_ACCOUNT}, region", self.sent().err)

    def test_a_replay_shows_them_too(self) -> None:
        event = run("send", "skill-failure", "--print").out
        result = run("replay", "--file", "-", "--yes", env=self.env, stdin=event)
        self.assertEqual(result.status, 0, result.err)
        shown = f"AWS account {ACCOUNT}, region us-east-1, stack asp-events\n"
        self.assertTrue(result.err.startswith(shown), result.err)
        self.assertEqual([call.operation for call in self.aws.calls][-1], "PublishBatch")


class ProxyTest(AccountTest):
    HOST = "aws.stand-in.invalid"

    def test_plain_http_goes_through_its_proxy(self) -> None:
        target = f"http://{self.HOST}"
        for name in ("HTTP_PROXY", "http_proxy"):
            with self.subTest(name), forward_proxy(self.aws) as proxy:
                self.sent(AWS_ENDPOINT_URL=target, **{name: proxy.url})
                self.assertEqual(set(proxy.targets), {target})

    def test_a_role_is_assumed_through_the_proxy(self) -> None:
        with forward_proxy(self.aws) as proxy:
            env = {"AWS_ENDPOINT_URL": f"http://{self.HOST}", "HTTP_PROXY": proxy.url}
            self.sent("--profile", "role", **env)
            self.assertEqual(len(proxy.targets), len(self.aws.calls))
            self.assertIn("AssumeRole", self.aws.keys)

    def test_exempt_hosts_are_called_directly(self) -> None:
        for name in ("NO_PROXY", "no_proxy"):
            with self.subTest(name), forward_proxy(self.aws) as proxy:
                env = {"AWS_ENDPOINT_URL": f"http://{self.HOST}", "HTTP_PROXY": proxy.url}
                self.assertIn("dns error", self.refused(**env, **{name: "stand-in.invalid"}))
                self.assertEqual(proxy.targets, [])

    def test_this_machine_is_called_directly(self) -> None:
        with forward_proxy(self.aws) as proxy:
            self.sent(HTTP_PROXY=proxy.url, HTTPS_PROXY=proxy.url)
            self.assertEqual(proxy.targets, [])

    def test_a_password_of_the_proxy_is_sent_and_not_shown(self) -> None:
        with forward_proxy(self.aws) as proxy:
            url = proxy.url.replace("//", "//me:secret@")
            env = {"AWS_ENDPOINT_URL": f"http://{self.HOST}", "HTTP_PROXY": url}
            self.sent(**env)
            self.assertEqual(proxy.authorizations, {"Basic bWU6c2VjcmV0"})
        self.assertNotIn("secret", self.refused(**env))
        self.assertNotIn("secret", self.refused(**env | {"HTTP_PROXY": "ftp://me:secret@p"}))


class TlsTest(AccountTest):
    HOST = "aws.stand-in.invalid"

    def setUp(self) -> None:
        super().setUp()
        tls, self.bundle = certificate_authority(self.folder, self.HOST)
        self.aws = self.enterContext(aws_stand_in(tls))
        self.proxy = self.enterContext(forward_proxy(self.aws))
        self.env["AWS_ENDPOINT_URL"] = f"https://{self.HOST}"

    def test_tls_goes_through_a_tunnel_of_the_proxy(self) -> None:
        for name in ("HTTPS_PROXY", "https_proxy"):
            with self.subTest(name):
                self.proxy.targets.clear()
                self.sent(AWS_CA_BUNDLE=str(self.bundle), **{name: self.proxy.url})
                self.assertEqual(set(self.proxy.targets), {f"CONNECT {self.HOST}:443"})

    def test_a_profile_can_name_the_bundle(self) -> None:
        with self.config.open("a") as config:
            config.write(f"[profile inspected]\nca_bundle = {self.bundle}\n")
        self.sent(AWS_PROFILE="inspected", HTTPS_PROXY=self.proxy.url, **KEYS)

    def test_an_unknown_authority_is_told(self) -> None:
        error = self.refused(HTTPS_PROXY=self.proxy.url)
        self.assertIn("UnknownIssuer", error)
        self.assertIn("set AWS_CA_BUNDLE", error)
        self.assertEqual(self.aws.calls, [])

    def test_an_unusable_bundle_is_told(self) -> None:
        for path, problem in (
            (self.config, "no usable certificate"),
            ("nowhere", "cannot be read"),
        ):
            with self.subTest(problem):
                error = self.refused(AWS_CA_BUNDLE=str(path), HTTPS_PROXY=self.proxy.url)
                self.assertIn(f"AWS_CA_BUNDLE: {path}", error)
                self.assertIn(problem, error)


class WaitingTest(AccountTest):
    def test_a_call_without_an_answer_is_told(self) -> None:
        answers, tries = threading.Event(), []

        def before(operation: str) -> int | None:
            if operation == "Publish":
                tries.append(operation)
                if len(tries) == 1:
                    return 503
                answers.wait(60)
            return None

        self.aws.before = before
        with start("send", "skill-failure", env=self.env) as process:
            assert process.stderr and process.stdout
            for line in process.stderr:
                if line.startswith("waiting for SNS Publish: "):
                    break
            answers.set()
            self.assertIn("retrying after a response 503 (try 2 of 3, at most ", line)
            self.assertIn("aspctl-", process.stdout.read())
            self.assertEqual(process.stderr.read(), "", "one line is enough")

    def test_credentials_that_take_long_are_told(self) -> None:
        fifo = self.folder / "credentials"
        os.mkfifo(fifo)
        with self.config.open("a") as config:
            config.write(f"[profile slow]\ncredential_process = cat {fifo}\n")
        with start("send", "skill-failure", "--profile", "slow", env=self.env) as process:
            assert process.stderr and process.stdout
            line = process.stderr.readline()
            fifo.write_text(CREDENTIAL_PROCESS)
            self.assertTrue(
                line.startswith("waiting for CloudFormation DescribeStacks: no credentials yet ("),
                line,
            )
            self.assertIn("aspctl-", process.stdout.read())
            process.stderr.read()
        self.assertEqual(self.aws.keys["Publish"], "AKIAPROCESS")

    def test_refused_connections_and_unknown_hosts_are_told(self) -> None:
        for endpoint, cause in (
            ("http://127.0.0.1:1", "Connection refused"),
            ("http://aws.stand-in.invalid", "dns error"),
        ):
            with self.subTest(endpoint):
                error = self.refused(AWS_ENDPOINT_URL=endpoint)
                self.assertIn(cause, error)
                self.assertIn("Check the network, HTTPS_PROXY, the region", error)


if __name__ == "__main__":
    unittest.main()
