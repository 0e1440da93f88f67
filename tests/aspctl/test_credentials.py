"""Where aspctl reads its credentials, and that it never shows them."""

from __future__ import annotations

import dataclasses

from alexa import Alexa, Credentials, Request
from test_subscriptions import AlexaTest
from tool import run

VARIABLES = ("LWA_CLIENT_ID", "LWA_CLIENT_SECRET", "LWA_REFRESH_TOKEN")


class Sources(AlexaTest):
    def without_variables(self, *args: str) -> tuple[int, str]:
        env = {name: value for name, value in self.environment.items() if name not in VARIABLES}
        result = run(*args, env=env)
        return result.status, result.err

    def file(self, mode: int = 0o600, form: str = "{}") -> str:
        own = self.alexa.credentials
        path = self.folder / "credentials.toml"
        names = {"client_id": own.client_id, "client_secret": own.client_secret, "refresh_token": own.refresh_token}
        path.write_text(form.format("\n".join(f'{name} = "{value}"' for name, value in names.items())))
        path.chmod(mode)
        return str(path)

    def test_missing_variables_are_named(self) -> None:
        status, error = self.without_variables("list")
        self.assertEqual(status, 1)
        self.assertIn("LWA_CLIENT_ID, LWA_CLIENT_SECRET, LWA_REFRESH_TOKEN are not set", error)
        self.assertEqual(self.alexa.requests, [])

    def test_a_file_that_only_its_owner_can_read(self) -> None:
        self.assertEqual(self.without_variables("list", "--credentials-file", self.file())[0], 0)

    def test_a_file_that_others_can_read_is_refused(self) -> None:
        for mode in (0o640, 0o604, 0o660):
            with self.subTest(mode=oct(mode)):
                status, error = self.without_variables("list", "--credentials-file", self.file(mode))
                self.assertEqual(status, 1)
                self.assertIn("chmod 600", error)
        self.assertEqual(self.alexa.requests, [])

    def test_a_malformed_file_is_not_quoted(self) -> None:
        own = self.alexa.credentials
        for form in ("{}\noops", 'nested = 1\n"{}"', "[[other]]\n{}", "client_id = 5"):
            with self.subTest(form=form):
                status, error = self.without_variables("-vv", "list", "--credentials-file", self.file(form=form))
                self.assertEqual(status, 1)
                self.assertIn("credentials.toml: line", error)
                for secret in (own.client_secret, own.refresh_token):
                    self.assertNotIn(secret, error)

    def test_a_missing_file(self) -> None:
        status, error = self.without_variables("list", "--credentials-file", str(self.folder / "nowhere"))
        self.assertEqual(status, 1)
        self.assertIn("--credentials-file (ASPCTL_CREDENTIALS_FILE)", error)


class Tokens(AlexaTest):
    def test_one_token_serves_a_whole_run(self) -> None:
        self.ok("apply")
        self.assertGreater(len(self.called("GET", "POST")), 10)
        self.assertEqual(self.alexa.token_calls, 1)

    def test_a_new_refresh_token_is_reported_but_not_shown(self) -> None:
        self.alexa.rotates_refresh_token = True
        warning = self.ok("list").err
        self.assertIn("returned a different refresh token", warning)
        self.assertNotIn("Atzr|", warning)
        self.assertEqual(self.ok("--quiet", "list").err, "")

    def test_redirects_get_neither_tokens_nor_credentials(self) -> None:
        for path, status in (("GET /v1", 302), ("GET /v1", 307), ("POST /auth", 307)):
            with self.subTest(path=path, status=status), Alexa() as other:
                self.alexa.fail_next(1, status, path=path, location=other.url + path.split()[1])
                self.assertIn(f"{status}", self.refused("list"))
                self.assertEqual(other.requests, [])

    def test_the_exchange_is_a_form(self) -> None:
        self.ok("list")
        [exchange] = [r for r in self.alexa.requests if r.path == "/auth/o2/token"]
        own = self.alexa.credentials
        wanted = {"grant_type": "refresh_token", "refresh_token": own.refresh_token}
        self.assertEqual(exchange.form, wanted | {"client_id": own.client_id, "client_secret": own.client_secret})
        self.assertIsNone(exchange.authorization)

    def test_permanent_errors_are_not_retried(self) -> None:
        own = self.alexa.credentials
        for credentials, code in (
            (dataclasses.replace(own, refresh_token="Atzr|another"), "invalid_grant"),
            (dataclasses.replace(own, client_secret="another"), "invalid_client"),
        ):
            with self.subTest(code=code):
                environment = self.environment
                before = self.alexa.token_calls
                self.alexa.credentials = credentials
                result = run("apply", env=environment)
                self.alexa.credentials = own
                self.assertEqual(result.status, 1)
                self.assertIn(f"({code})", result.err)
                self.assertNotIn("It may work", result.err)
                self.assertEqual(self.alexa.token_calls - before, 1)

    def test_a_throttled_login_is_retried(self) -> None:
        self.alexa.fail_next(3, 503, path="POST /auth")
        self.ok("list")
        self.assertEqual(len([r for r in self.alexa.requests if r.path == "/auth/o2/token"]), 4)

    def test_a_login_that_stays_throttled_is_reported(self) -> None:
        self.alexa.fail_next(100, 503, path="POST /auth")
        self.assertIn("POST to Login with Amazon returned 503", self.refused("list"))
        self.assertEqual(len(self.alexa.requests), 7, "six repeats")

    def test_a_refused_token_is_reported(self) -> None:
        self.alexa.after = lambda _: self.alexa.expire_tokens()
        error = self.refused("list")
        self.assertIn("returned 401", error)
        self.assertIn("grant the client API access", error)
        self.assertEqual(self.alexa.token_calls, 2, "one more try with a new token")

    def test_a_missing_scope_is_reported(self) -> None:
        self.alexa.scopes = set()
        self.assertIn("alexa::enterprise:management", self.refused("list"))


class Secrets(AlexaTest):
    def test_no_output_contains_a_secret(self) -> None:
        tokens: set[str] = set()

        def collect(request: Request) -> None:
            if request.authorization:
                tokens.add(request.authorization.removeprefix("Bearer "))

        def refuse(times: int) -> None:
            self.alexa.fail_next(times, 500, path="GET /v1")

        self.alexa.before = collect
        own = self.alexa.credentials
        self.alexa.rotates_refresh_token = True
        for args in (["apply"], ["plan"], ["list", "--output", "json"], ["destroy", "--yes"]):
            for failing in (0, 1, 100):
                refuse(failing)
                result = run("-vvv", *args, env=self.environment)
                shown = result.out + result.err
                self.assertIn("/v1/eventMessenger", shown, "something is logged")
                for secret in {own.client_secret, own.refresh_token, *tokens}:
                    self.assertNotIn(secret, shown)
                    self.assertNotIn(secret[:20], shown.replace(own.client_id, ""))
                self.alexa.fail_next(0, 500)
                self.alexa._faults.clear()  # faults that this run did not use up
        self.assertGreater(len(tokens), 5)
        self.assertEqual(own, Credentials())

    def test_tokens_are_not_sent_without_tls(self) -> None:
        for option in ("--alexa-url", "--lwa-url"):
            error = self.refused("list", option, "http://api.amazon.example/")
            self.assertIn("without TLS", error)
        self.assertEqual(self.alexa.requests, [])
