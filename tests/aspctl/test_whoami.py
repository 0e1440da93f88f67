"""`aspctl whoami`: each part on its own, and what is missing."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any

from alexa import DETAILED_REFUSAL, MANAGEMENT, PORTAL, PROFILE, Alexa
from aws_stand_in import ACCOUNT, aws_stand_in
from jsonschema import Draft202012Validator
from tool import Result, output_schema, run


class WhoamiTest(unittest.TestCase):
    def setUp(self) -> None:
        self.alexa = self.enterContext(Alexa())
        self.aws = self.enterContext(aws_stand_in())
        self.env = self.alexa.environment | {
            "ASPCTL_ALEXA_BACKOFF": "1ms",
            "AWS_ENDPOINT_URL": self.aws.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": self.enterContext(tempfile.TemporaryDirectory()),
            "NO_PROXY": "127.0.0.1",
        }

    def whoami(self, *args: str, **env: str) -> Result:
        result = run("whoami", *args, env=self.env | env)
        shown, own = result.out + result.err, self.alexa.credentials
        for secret in (own.client_secret, own.refresh_token, *self.alexa.issued_tokens):
            self.assertNotIn(secret, shown)
        return result

    def parts(self, **env: str) -> tuple[int, Any, dict[str, str]]:
        """The exit status, the answer, and the problems by the names of the missing parts."""
        result = self.whoami("--output", "json", **env)
        answer = result.json
        missing = {one["part"]: f"{one['problem']}. {one['advice']}" for one in answer["missing"]}
        return result.status, answer, missing

    def test_everything(self) -> None:
        result = self.whoami()
        self.assertEqual(result.status, 0, result.out + result.err)
        for pattern in (
            "Credentials +the variables LWA_…",
            f"Client +{self.alexa.credentials.client_id}",
            r"Token +valid for (59m|1h)",
            f"Scopes +{MANAGEMENT}, {PROFILE} \\(by what works",
            f"Account +{self.alexa.user_id}, which is the customer",
            "Alexa +answers",
            f"AWS account +{ACCOUNT}",
            "Region +us-east-1",
            r"Stack +asp-events \(CREATE_COMPLETE\)",
        ):
            self.assertRegex(result.out, f"(?m)^{pattern}")
        self.assertNotIn("missing", result.out)

    def test_for_scripts(self) -> None:
        status, answer, missing = self.parts()
        self.assertEqual((status, missing), (0, {}))
        self.assertEqual(answer["alexa"]["account"], self.alexa.user_id)
        self.assertEqual(answer["alexa"]["scopes"], [MANAGEMENT, PROFILE])
        self.assertLessEqual(answer["alexa"]["tokenSecondsLeft"], 3600)
        self.assertEqual(answer["aws"]["account"], ACCOUNT)
        self.assertEqual(answer["aws"]["stack"], "asp-events")

    def test_scopes_that_login_with_amazon_tells(self) -> None:
        self.alexa.shown_scope = "reordered"
        _, answer, _ = self.parts()
        self.assertEqual(answer["alexa"]["scopes"], [PROFILE, MANAGEMENT])
        self.assertEqual(answer["alexa"]["scopesFrom"], "Login with Amazon")

    def test_without_the_scope_of_the_profile(self) -> None:
        for status in (401, 403):
            with self.subTest(status):
                self.alexa.scopes, self.alexa.profile_refusal = {MANAGEMENT}, status
                status, answer, missing = self.parts()
                self.assertEqual(status, 1)
                self.assertEqual(list(missing), ["account"])
                self.assertIn(f"lacks the scope {PROFILE}", missing["account"])
                self.assertIn("aspctl login", missing["account"])
                self.assertEqual(answer["alexa"]["scopes"], [MANAGEMENT])

    def test_without_api_access(self) -> None:
        self.alexa.always["GET /v1"] = DETAILED_REFUSAL
        status, answer, missing = self.parts()
        self.assertEqual((status, list(missing)), (1, ["access to Alexa"]))
        self.assertIn("NOT_ALLOW_LISTED", missing["access to Alexa"])
        self.assertIn("API access", missing["access to Alexa"])
        self.assertEqual(answer["alexa"]["account"], self.alexa.user_id)
        self.assertFalse(answer["alexa"]["hasAccess"])

    def test_a_profile_without_an_id(self) -> None:
        self.alexa.always["GET /user"] = PORTAL
        _, _, missing = self.parts()
        self.assertIn("an HTML page", missing["account"])

    def test_a_rejected_refresh_token(self) -> None:
        status, answer, missing = self.parts(LWA_REFRESH_TOKEN="Atzr|of-somebody-else")
        self.assertEqual((status, list(missing)), (1, ["token"]))
        self.assertIn("(invalid_grant)", missing["token"])
        self.assertEqual(answer["alexa"]["clientId"], self.alexa.credentials.client_id)
        self.assertEqual(answer["aws"]["account"], ACCOUNT)

    def test_without_credentials_for_alexa(self) -> None:
        result = self.whoami(LWA_CLIENT_SECRET="")
        self.assertEqual(result.status, 1)
        self.assertRegex(result.out, "(?m)^missing +Login with Amazon credentials: LWA_CLIENT_SECRET is not set$")
        self.assertRegex(result.out, "(?m)^Credentials +the variables LWA_…$")
        self.assertRegex(result.out, f"AWS account +{ACCOUNT}")
        self.assertIn("hint: Set LWA_CLIENT_ID", result.err)

    def test_without_any_credentials_for_alexa(self) -> None:
        none = dict.fromkeys(("LWA_CLIENT_ID", "LWA_CLIENT_SECRET", "LWA_REFRESH_TOKEN"), "")
        result = self.whoami(**none)
        self.assertEqual(result.status, 1)
        self.assertRegex(result.out, "(?m)^missing +Login with Amazon: no credentials are given$")
        self.assertEqual((result.out + result.err).lower().count("credentials are"), 1, result.out)
        self.assertNotIn("LWA_", result.out)
        for way in ("aspctl login --credentials-file FILE", "LWA_REFRESH_TOKEN", "--credentials-secret"):
            self.assertEqual(result.err.count(way), 1, result.err)
        self.assertRegex(result.out, f"AWS account +{ACCOUNT}")
        status, answer, missing = self.parts(**none)
        self.assertEqual((status, list(missing)), (1, ["Login with Amazon"]))
        self.assertEqual((answer["credentials"], answer["alexa"]), (None, None))
        Draft202012Validator(output_schema("whoami")).validate(answer)

    def test_without_a_region(self) -> None:
        status, answer, missing = self.parts(AWS_REGION="")
        self.assertEqual((status, list(missing), answer["aws"]), (1, ["AWS"], None))
        self.assertIn("--region", missing["AWS"])
        self.assertEqual(answer["alexa"]["account"], self.alexa.user_id)

    def test_without_a_permission(self) -> None:
        for operation, part in (("GetCallerIdentity", "AWS account"), ("DescribeStacks", "stack")):
            with self.subTest(operation):
                self.aws.before = lambda called, denied=operation: 403 if called == denied else None
                status, answer, missing = self.parts()
                self.assertEqual((status, list(missing)), (1, [part]))
                self.assertIn(operation, missing[part])
                self.assertEqual(answer["aws"]["region"], "us-east-1")

    def test_the_source_of_the_credentials_is_named(self) -> None:
        own = self.alexa.credentials
        file = Path(self.env["HOME"], "lwa.toml")
        file.write_text(
            f'client_id = "{own.client_id}"\nclient_secret = "{own.client_secret}"\n'
            f'refresh_token = "{own.refresh_token}"\n'
        )
        file.chmod(0o600)
        result = self.whoami("--credentials-file", str(file))
        self.assertEqual(result.status, 0, result.out)
        self.assertIn(f"the file {file}", result.out)


if __name__ == "__main__":
    unittest.main()
