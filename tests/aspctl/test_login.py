"""`aspctl login`: from the browser to the stored credentials, and everything that can go wrong.

The browser is a script that fetches the address and follows redirects, as a browser would.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import termios
import tomllib
import unittest
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from alexa import CONSENT_PATH, MANAGEMENT, PORTAL, PROFILE, TOKEN_PATH, Alexa, Credentials
from aws_stand_in import aws_stand_in
from tool import ASPCTL, OWN, Result, run

BROWSER = f"""#!{sys.executable}
import sys
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

try:
    build_opener(ProxyHandler({{}})).open(sys.argv[1]).read()
except HTTPError:
    pass  # a page all the same
"""
CODE = re.compile(r"ANnotARealCode\d+")


class LoginTest(unittest.TestCase):
    def setUp(self) -> None:
        self.alexa = self.enterContext(Alexa())
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.browser = self.script("browser", BROWSER)
        self.file = self.folder / "credentials.toml"
        self.port = free_port()
        self.return_url = f"http://127.0.0.1:{self.port}/cb"
        self.alexa.allowed_return_urls = {self.return_url}
        own = self.alexa.credentials
        self.env = {
            "ASPCTL_ALEXA_URL": self.alexa.url,
            "ASPCTL_LWA_URL": self.alexa.lwa_url,
            "ASPCTL_AUTHORIZATION_URL": self.alexa.url + CONSENT_PATH,
            "ASPCTL_ALEXA_BACKOFF": "1ms",
            "ASPCTL_CREDENTIALS_FILE": str(self.file),
            "LWA_CLIENT_ID": own.client_id,
            "LWA_CLIENT_SECRET": own.client_secret,
            "BROWSER": str(self.browser),
            "HOME": str(self.folder),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def script(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o700)
        return path

    def login(self, *args: str, **env: str) -> Result:
        return run("login", "--port", str(self.port), *args, env=self.env | env)

    def ok(self, *args: str, **env: str) -> Result:
        result = self.login(*args, **env)
        self.assertEqual(result.status, 0, result.err)
        self.assert_no_secret(result)
        return result

    def refused(self, *args: str, **env: str) -> str:
        """The errors of a login that fails, and that stores nothing."""
        before = self.stored()
        result = self.login(*args, **env)
        self.assertEqual(result.status, 1, result.out + result.err)
        self.assert_no_secret(result)
        self.assertEqual(self.stored(), before)
        return result.err

    def stored(self) -> bytes | None:
        return self.file.read_bytes() if self.file.exists() else None

    def assert_no_secret(self, result: Result) -> None:
        shown = result.out + result.err
        own = Credentials()
        for secret in (own.client_secret, own.refresh_token, *self.alexa.issued_tokens):
            self.assertNotIn(secret, shown)
        self.assertNotRegex(shown, CODE)
        for request in self.alexa.requests:
            for name in ("code_verifier", "code"):
                if value := request.form.get(name):
                    self.assertNotIn(value, shown)

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """Starts a login, of which the test plays the browser and the user."""
        process = subprocess.Popen(
            [ASPCTL, "login", "--port", str(self.port), *args],
            env=OWN | self.env | {"BROWSER": "/bin/true"} | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def address(self, process: subprocess.Popen[str]) -> str:
        """The address that a login asks to open: it listens by then."""
        assert process.stdout
        line = process.stdout.readline().strip()
        self.assertTrue(line.startswith(self.alexa.url), line)
        return line

    def ended(self, process: subprocess.Popen[str]) -> Result:
        out, err = process.communicate(timeout=60)
        result = Result(process.returncode, out, err)
        self.assert_no_secret(result)
        return result


class WithBrowser(LoginTest):
    def test_the_credentials_are_stored_and_work(self) -> None:
        result = self.ok()
        own = self.alexa.credentials
        self.assertEqual(
            tomllib.loads(self.file.read_text()),
            {
                "client_id": own.client_id,
                "client_secret": own.client_secret,
                "refresh_token": own.refresh_token,
            },
        )
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertIn(f"Stored the credentials in {self.file}", result.out)
        leftovers = {path.name for path in self.folder.iterdir()}
        self.assertEqual(leftovers, {"browser", "credentials.toml"})
        env = {name: value for name, value in self.env.items() if not name.startswith("LWA_")}
        self.assertEqual(run("list", env=env).status, 0)

    def test_it_says_what_to_enter_where_before_the_browser_opens(self) -> None:
        error = self.ok().err
        for text in (
            f"{self.return_url} under Allowed Return URLs, exactly so",
            "loginwithamazon/console",
            "Grant API Access",
            "alexasmartproperties/newconsole/administration",
            f"{MANAGEMENT}, {PROFILE}",
        ):
            self.assertIn(text, error)

    def test_the_default_return_url_is_that_of_amazons_tools(self) -> None:
        self.assertIn("[default: 9090]", run("login", "--help").out)

    def test_the_request_has_a_state_and_pkce(self) -> None:
        self.ok()
        [page] = [r for r in self.alexa.requests if r.path == CONSENT_PATH]
        self.assertEqual(page.query["scope"], f"{MANAGEMENT} {PROFILE}")
        self.assertEqual(page.query["code_challenge_method"], "S256")
        self.assertGreaterEqual(len(page.query["state"]), 16)
        [exchange] = [r for r in self.alexa.requests if r.path == TOKEN_PATH]
        self.assertEqual(exchange.form["grant_type"], "authorization_code")
        self.assertEqual(exchange.form["redirect_uri"], self.return_url)
        self.assertGreaterEqual(len(exchange.form["code_verifier"]), 43)
        self.assertIsNone(exchange.authorization)

    def test_the_browser_does_not_get_the_secrets(self) -> None:
        seen = self.folder / "seen"
        spy = self.script("spy", f'#!/bin/sh\nenv > "{seen}"\nexec "{self.browser}" "$1"\n')
        self.ok(BROWSER=str(spy))
        self.assertNotIn(self.alexa.credentials.client_secret, seen.read_text())

    def test_declined(self) -> None:
        self.alexa.consent = "declined"
        error = self.refused()
        self.assertIn("consent was declined", error)
        self.assertIn("hint: Run the command again", error)

    def test_errors_of_the_consent_page(self) -> None:
        for code, hint in (
            ("invalid_scope", "Consent Privacy Notice URL"),
            ("unauthorized_client", "Allowed Return URLs"),
            ("server_error", "in a few minutes"),
            ("another_error", "settings of the security profile"),
        ):
            with self.subTest(code):
                self.alexa.consent = {"error": code, "error_description": "Amazon's words."}
                error = self.refused()
                self.assertIn(f"({code}): Amazon's words", error)
                self.assertIn(hint, error)

    def test_a_return_url_that_is_not_allowed_ends_with_the_time_out(self) -> None:
        self.alexa.allowed_return_urls = {self.return_url + "/"}
        error = self.refused("--timeout", "2s")
        self.assertIn(f"no answer came to {self.return_url} within 2s", error)
        self.assertIn("Allowed Return URLs, which must be equal to the last character", error)

    def test_the_port_is_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", self.port)):
            error = self.refused()
        self.assertIn(f"port {self.port} of this machine is in use", error)
        self.assertIn("--no-browser", error)
        self.assertEqual(self.alexa.requests, [])

    def test_a_browser_that_fails_is_no_end(self) -> None:
        for browser in ("/bin/false", str(self.folder / "no-such-browser")):
            with self.subTest(browser):
                # Nothing of the machine's own may open.
                process = self.start("--yes", BROWSER=browser, PATH="")
                address = self.address(process)
                assert process.stderr
                line = ""
                while "could not be opened" not in line:
                    line = process.stderr.readline()
                    self.assertTrue(line, "the note is there")
                urlopen(address).read()
                self.assertEqual(self.ended(process).status, 0)

    def test_other_requests_do_not_end_it(self) -> None:
        process = self.start()
        address = self.address(process)
        with socket.create_connection(("127.0.0.1", self.port)):  # opened in advance
            for path in ("/favicon.ico", "/", "/cb", "/cb?state=x", "/cb?code=forged&state=other"):
                with self.subTest(path), self.assertRaises(HTTPError):
                    urlopen(f"http://127.0.0.1:{self.port}{path}")
            page = urlopen(address)
        self.assertIn("Continue in the terminal", page.read().decode())
        self.assertEqual(page.headers["Cache-Control"], "no-store")
        result = self.ended(process)
        self.assertEqual(result.status, 0, result.err)
        self.assertIn("Ignored an answer: the answer does not belong to this login", result.err)

    def test_an_answer_with_another_state_is_not_taken(self) -> None:
        self.alexa.answers_with_state = "of-another-login"
        process = self.start()
        address = self.address(process)
        with self.assertRaises(HTTPError) as refused:
            urlopen(address)
        self.assertIn("belongs to another login", refused.exception.read().decode())
        process.terminate()
        result = self.ended(process)
        self.assertEqual(result.status, 130)
        self.assertIn("its state is another one", result.err)
        self.assertNotIn(TOKEN_PATH, [request.path for request in self.alexa.requests])

    def test_ctrl_c_leaves_nothing(self) -> None:
        process = self.start()
        self.address(process)
        process.terminate()
        self.assertEqual(self.ended(process).status, 130)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["browser"])


class Exchange(LoginTest):
    def test_an_expired_code(self) -> None:
        self.alexa.code_seconds = -1
        error = self.refused()
        self.assertIn("rejected the code (invalid_grant)", error)
        self.assertIn("expires after a few minutes", error)

    def test_a_wrong_client_secret(self) -> None:
        error = self.refused(LWA_CLIENT_SECRET="another-secret-of-a-client")
        self.assertIn("(invalid_client)", error)

    def test_other_errors_of_login_with_amazon(self) -> None:
        for code, status in (("unauthorized_client", 400), ("invalid_request", 400), ("x", 401)):
            with self.subTest(code):
                body = {"error": code, "error_description": "Amazon's words."}
                self.alexa.fail_next(1, status, path="POST /auth", body=body)
                self.assertIn(f"({code}): Amazon's words", self.refused())

    def test_an_error_that_echoes_the_request_shows_no_secret(self) -> None:
        self.alexa.echoes_secrets, self.alexa.code_seconds = True, -1
        self.assertIn("[hidden]", self.refused("-vv"))

    def test_no_refresh_token(self) -> None:
        self.alexa.grants_refresh_tokens = False
        error = self.refused()
        self.assertIn("returned no refresh token", error)
        self.assertIn("Nothing was stored", error)

    def test_a_page_instead_of_an_answer(self) -> None:
        self.alexa.always["POST /auth"] = PORTAL
        error = self.refused()
        self.assertIn('not JSON but an HTML page, "Sign in to Wi-Fi"', error)

    def test_a_redirect_is_not_followed(self) -> None:
        with Alexa() as other:
            self.alexa.fail_next(1, 307, path="POST /auth", location=other.url + TOKEN_PATH)
            self.assertIn("Redirects are not followed", self.refused())
            self.assertEqual(other.requests, [])

    def test_a_busy_login_is_tried_again(self) -> None:
        self.alexa.fail_next(1, 429, retry_after=0, path="POST /auth")
        self.alexa.fail_next(1, 503, path="POST /auth", body="<html>Unavailable</html>")
        self.ok()
        self.assertEqual(self.alexa.token_calls, 3)

    def test_a_login_that_stays_busy_is_reported(self) -> None:
        self.alexa.fail_next(1, 429, retry_after=3600, path="POST /auth")
        self.assertIn("no attempt is allowed before", self.refused())

    def test_a_lost_answer_is_a_used_code(self) -> None:
        self.alexa.drop_answer_of(1, path="POST /auth")
        self.assertIn("A code can be used once", self.refused())

    def test_a_lifetime_of_any_form(self) -> None:
        for lifetime in ("3600", 899.5):
            self.alexa.expires_in = lifetime
            self.ok("--yes")

    def test_scopes_are_shown_in_any_order(self) -> None:
        self.assertIn("does not say which it granted", self.ok().out)
        self.alexa.shown_scope = "reordered"
        result = self.ok("--yes")
        self.assertIn(f"Scopes: {PROFILE}, {MANAGEMENT}", result.out)
        self.assertNotIn("not granted", result.err)

    def test_a_scope_that_was_not_granted_is_a_warning(self) -> None:
        self.alexa.shown_scope = PROFILE
        self.assertIn(f"{MANAGEMENT} was asked for and not granted", self.ok().err)

    def test_other_scopes(self) -> None:
        self.ok("--scope", MANAGEMENT, "--scope", "profile")
        [page] = [r for r in self.alexa.requests if r.path == CONSENT_PATH]
        self.assertEqual(page.query["scope"], f"{MANAGEMENT} profile")

    def test_nothing_is_sent_without_tls(self) -> None:
        for variable in ("ASPCTL_AUTHORIZATION_URL", "ASPCTL_LWA_URL"):
            error = self.refused(**{variable: "http://amazon.example/"})
            self.assertIn("without TLS", error)
            self.assertIn(variable, error)


class WithoutBrowser(LoginTest):
    def paste(self, change: str = "{}", *args: str) -> Result:
        """Pastes the address to which the browser is sent, changed."""
        process = self.start("--no-browser", *args)
        address = self.address(process)
        with self.assertRaises(OSError) as sent:  # nothing listens
            urlopen(address)
        self.assertIsInstance(sent.exception, OSError)
        [*_, page] = [r for r in self.alexa.requests if r.path == CONSENT_PATH]
        code = list(self.alexa._codes)[-1]
        back = f"{self.return_url}?code={code}&scope=x&state={page.query['state']}"
        out, err = process.communicate(change.format(back) + "\n", timeout=60)
        result = Result(process.returncode, out, err)
        self.assert_no_secret(result)
        return result

    def test_the_whole_address_is_pasted(self) -> None:
        for change in ("{}", "  {}#top \r"):
            with self.subTest(change):
                result = self.paste(change, "--yes")
                self.assertEqual(result.status, 0, result.err)
                self.assertIn("Stored the credentials", result.out)

    def test_a_code_alone_is_refused(self) -> None:
        for pasted in ("ANnotARealCode0001", "", "http://127.0.0.1:9090/cb"):
            with self.subTest(pasted):
                result = self.paste(pasted)
                self.assertEqual(result.status, 1)
                self.assertIn("Copy the whole address", result.err)

    def test_another_state_is_refused(self) -> None:
        result = self.paste("{}x")
        self.assertEqual(result.status, 1)
        self.assertIn("its state is another one", result.err)
        self.assertIsNone(self.stored())

    def test_quiet_still_prints_the_address(self) -> None:
        result = self.paste("{}", "--quiet")
        self.assertEqual((result.status, result.err), (0, "The address (not shown): "))


class Client(LoginTest):
    def test_the_client_of_an_earlier_login(self) -> None:
        self.ok()
        env = {"LWA_CLIENT_ID": "", "LWA_CLIENT_SECRET": ""}
        self.ok("--yes", **env)
        error = self.refused("--yes", "--client-id", "another", **env)
        self.assertIn("Client secret: none is given", error)
        self.assertIn("LWA_CLIENT_SECRET", error)

    def test_a_file_with_the_client_alone(self) -> None:
        own = self.alexa.credentials
        self.file.write_text(
            f'client_id = "{own.client_id}"\nclient_secret = "{own.client_secret}"\n'
        )
        self.file.chmod(0o600)
        self.ok(LWA_CLIENT_ID="", LWA_CLIENT_SECRET="")

    def test_prompts_on_a_terminal_do_not_echo_the_secret(self) -> None:
        user, terminal = pty.openpty()
        self.addCleanup(os.close, user)
        env = {name: value for name, value in self.env.items() if not name.startswith("LWA_")}
        process = subprocess.Popen(
            [ASPCTL, "login", "--port", str(self.port)],
            env=OWN | env,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        self.addCleanup(process.kill)
        os.close(terminal)
        own = self.alexa.credentials
        written = ""
        for prompt, answer in (
            ("Client ID: ", own.client_id),
            ("Client secret: ", own.client_secret),
            ("Stored the credentials", ""),
        ):
            while prompt not in written:
                written += os.read(user, 65536).decode()
            if answer:
                os.write(user, f"{answer}\n".encode())
        with suppress(OSError):  # Linux: the other end is closed
            while more := os.read(user, 65536):
                written += more.decode()
        self.assertEqual(process.wait(), 0, written)
        self.assert_no_secret(Result(0, written, ""))


    def test_ctrl_c_at_the_prompt_lets_the_terminal_echo_again(self) -> None:
        user, terminal = pty.openpty()
        self.addCleanup(os.close, user)
        self.addCleanup(os.close, terminal)
        env = {name: value for name, value in self.env.items() if name != "LWA_CLIENT_SECRET"}
        process = subprocess.Popen(
            [ASPCTL, "login"], env=OWN | env, stdin=terminal, stdout=terminal, stderr=terminal
        )
        self.addCleanup(process.kill)

        def echoes() -> bool:
            return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)

        self.assertTrue(echoes())
        written = ""
        while "Client secret: " not in written:
            written += os.read(user, 65536).decode()
        self.assertFalse(echoes())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(), 130)
        self.assertTrue(echoes())


class Store(LoginTest):
    def test_a_place_must_be_named(self) -> None:
        error = self.refused(ASPCTL_CREDENTIALS_FILE="")
        self.assertIn("neither a file nor a secret is named", error)
        self.assertEqual(self.alexa.requests, [])

    def test_a_folder_that_is_not_there_costs_no_consent(self) -> None:
        error = self.refused("--credentials-file", str(self.folder / "nowhere/credentials"))
        self.assertIn("cannot be written", error)
        self.assertIn(f"hint: Create its folder first: mkdir -p {self.folder}/nowhere\n", error)
        self.assertEqual(self.alexa.requests, [])

    def test_a_folder_is_no_file(self) -> None:
        error = self.refused("--credentials-file", str(self.folder))
        self.assertIn("it is a folder", error)

    def test_the_next_step_can_be_pasted(self) -> None:
        error = self.ok("--credentials-file", str(self.folder / "it's mine")).err
        [step] = re.findall("Next: (export .*); aspctl", error)
        shown = subprocess.run(
            ["sh", "-c", f'{step}; printf %s "$ASPCTL_CREDENTIALS_FILE"'],
            capture_output=True,
            text=True,
        )
        self.assertEqual(shown.stdout, str(self.folder / "it's mine"))

    def test_a_stored_token_is_replaced_after_a_question(self) -> None:
        self.ok()
        error = self.refused()
        self.assertIn("cannot prompt", error)
        self.assertEqual(len([r for r in self.alexa.requests if r.path == CONSENT_PATH]), 1)

    def test_a_file_of_others_is_refused(self) -> None:
        self.file.write_text('client_id = "c"\n')
        self.file.chmod(0o644)
        self.assertIn("chmod 600", self.refused())

    def test_another_file_is_not_overwritten(self) -> None:
        for text in ("client_secret = not-quoted-secret\n", "[[other]]\n= 1"):
            self.file.write_text(text)
            self.file.chmod(0o600)
            error = self.refused("--yes")
            self.assertIn("it is not a file with credentials", error)
            self.assertNotIn("not-quoted-secret", error)

    def test_a_link_stays_a_link(self) -> None:
        self.ok()
        link = self.folder / "link"
        link.symlink_to(self.file)
        self.ok("--yes", "--credentials-file", str(link))
        self.assertTrue(link.is_symlink())


class SecretsManager(LoginTest):
    def setUp(self) -> None:
        super().setUp()
        self.aws = self.enterContext(aws_stand_in())
        self.env |= {
            "ASPCTL_CREDENTIALS_FILE": "",
            "AWS_ENDPOINT_URL": self.aws.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        own = self.alexa.credentials
        self.whole = {
            "lwa-client-id": own.client_id,
            "lwa-client-secret": own.client_secret,
            "lwa-refresh-token": own.refresh_token,
        }

    def test_a_secret_is_created(self) -> None:
        result = self.ok("--credentials-secret", "alexa")
        self.assertIn("Stored the credentials in the secret alexa", result.out)
        self.assertEqual(json.loads(self.aws.secrets["alexa"]), self.whole)
        env = {name: value for name, value in self.env.items() if not name.startswith("LWA_")}
        self.assertEqual(run("list", "--credentials-secret", "alexa", env=env).status, 0)

    def test_a_secret_keeps_what_else_it_has(self) -> None:
        older = {"lwa-auth-scope": "x", "client_id": "old", "lwa-client-secret": "old-old-secret"}
        self.aws.secrets["alexa"] = json.dumps(older)
        self.ok("--credentials-secret", "alexa")
        stored = json.loads(self.aws.secrets["alexa"])
        self.assertEqual(stored, self.whole | {"lwa-auth-scope": "x"})

    def test_the_client_comes_from_the_secret(self) -> None:
        self.aws.secrets["alexa"] = json.dumps(self.whole)
        self.ok("--yes", "--credentials-secret", "alexa", LWA_CLIENT_ID="", LWA_CLIENT_SECRET="")

    def test_an_arn_is_not_created(self) -> None:
        arn = "arn:aws:secretsmanager:us-east-1:111111111111:secret:alexa-AbCdEf"
        error = self.refused("--credentials-secret", arn)
        self.assertIn("secretsmanager:GetSecretValue", error)
        self.assertEqual((self.aws.secrets, self.alexa.requests), ({}, []))

    def test_a_missing_permission_is_named(self) -> None:
        for denied, secret in (
            ("GetSecretValue", "alexa"),
            ("CreateSecret", "alexa"),
            ("PutSecretValue", "older"),
        ):
            with self.subTest(denied):
                self.aws.secrets = {"older": "{}"}
                self.aws.before = lambda operation, denied=denied: 400 if operation == denied else None
                error = self.refused("--credentials-secret", secret)
                self.assertIn(f"Allow secretsmanager:{denied}", error)

    def test_something_else_is_not_overwritten(self) -> None:
        for text in ("a-password-of-something", "[]", '{"client_secret": ["not-a-text"]}'):
            with self.subTest(text):
                self.aws.secrets["alexa"] = text
                error = self.refused("--credentials-secret", "alexa")
                self.assertIn("it is not a JSON object with credentials", error)
                self.assertNotIn(text, error)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


if __name__ == "__main__":
    unittest.main()
