"""The stand-in for Alexa behaves as the documented API does, and injects faults on demand.

python -m unittest discover tests/stack -p test_alexa.py
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
import unittest
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from alexa import (
    AN_HOUR_LATER,
    CONFIGURATIONS,
    CONSENT_PATH,
    DETAILED_REFUSAL,
    EXAMPLE_ORGANIZATION,
    EXAMPLE_PROPERTY,
    MANAGEMENT,
    NO_UNIT,
    PORTAL,
    PROFILE,
    REDIRECT,
    RETURN_URL,
    SUBSCRIPTIONS,
    TOKEN_PATH,
    UNAUTHORIZED_CLIENT,
    UNTIL_A_DATE,
    Alexa,
    Drop,
    Endpoint,
    Request,
)
from echoes import ECHOES, OWNER_ID

EM = "/v1/eventMessenger"
TOPIC = "arn:aws:sns:us-east-1:123456789012:asp-events"
OTHER_TOPIC = "arn:aws:sns:us-east-1:123456789012:other"
COMPLETION = {"namespace": "Alexa.Automation.Execution", "name": "Completion"}
ROOM = {"unit": {"type": "Unit", "id": "amzn1.alexa.unit.did.ROOM"}}
CHILD = {"unit": {"parent": {"type": "Unit", "id": "amzn1.alexa.unit.did.HOTEL"}}}
OWNER = {"owner": "~caller"}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """A client with a keep-alive connection. Requests carry a token unless told otherwise."""

    def __init__(self, alexa: Alexa) -> None:
        self.alexa, self.token = alexa, ""
        self.connection = http.client.HTTPConnection(urlsplit(alexa.url).netloc, timeout=5)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        if isinstance(body, dict | list):
            body, headers = json.dumps(body), {"Content-Type": "application/json", **headers}
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        return Answer(response.status, dict(response.headers.items()), response.read().decode())

    def log_in(self, **changes: str) -> Answer:
        known = self.alexa.credentials
        form = {
            "grant_type": "refresh_token",
            "refresh_token": known.refresh_token,
            "client_id": known.client_id,
        }
        text = urlencode({**form, "client_secret": known.client_secret, **changes})
        kind = {
            "Content-Type": "application/x-www-form-urlencoded;charset=UTF-8",
            "Authorization": "",
        }
        answer = self.send("POST", TOKEN_PATH, text, **kind)
        if answer.status == 200:
            self.token = answer.json["access_token"]
        return answer

    def configure(self, *topics: str, **more: Any) -> Answer:
        channels = [{"type": "SNS", "id": topic} for topic in topics or (TOPIC,)]
        return self.send("POST", f"{EM}/{CONFIGURATIONS}", {"deliveryChannels": channels, **more})

    def subscribe(self, configuration: str, **more: Any) -> Answer:
        body = {
            "subscriptionConfigurationId": configuration,
            "eventType": COMPLETION,
            "entities": ROOM,
            **more,
        }
        return self.send("POST", f"{EM}/{SUBSCRIPTIONS}", body)

    def list(self, kind: str, **query: str) -> Answer:
        return self.send("GET", f"{EM}/{kind}?{urlencode({**OWNER, **query}, safe='~')}")


class Sns:
    def __init__(self) -> None:
        self.published: list[tuple[str, Any]] = []

    def publish(self, TopicArn: str, Message: str) -> None:
        self.published.append((TopicArn, json.loads(Message)))


class AlexaTest(unittest.TestCase):
    def setUp(self) -> None:
        self.alexa = self.enterContext(Alexa())
        self.client = Client(self.alexa)
        self.addCleanup(self.client.connection.close)
        self.client.log_in()

    def refused(self, answer: Answer, status: int) -> None:
        self.assertEqual(status, answer.status, answer.text)
        [[key, text]] = answer.json.items()
        self.assertIn(key, ("message", "description"))
        self.assertTrue(text)

    def configured(self) -> str:
        return str(self.client.configure().json["id"])

    def subscribed(self, **more: Any) -> str:
        return str(self.client.subscribe(self.configured(), **more).json["id"])


class ConsentTest(AlexaTest):
    verifier = "a" * 43

    def consent(self, **changes: str) -> Answer:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        query = {
            "client_id": self.alexa.credentials.client_id,
            "redirect_uri": RETURN_URL,
            "response_type": "code",
            "scope": f"{MANAGEMENT} {PROFILE}",
            "state": "s+/",
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        return self.client.send("GET", f"{CONSENT_PATH}?{urlencode(query | changes)}")

    def sent_back(self, **changes: str) -> dict[str, str]:
        """What the browser carries back."""
        answer = self.consent(**changes)
        self.assertEqual(302, answer.status, answer.text)
        address, _, query = answer.headers["Location"].partition("?")
        self.assertEqual(RETURN_URL, address)
        return dict(parse_qsl(query))

    def redeem(self, code: str, **changes: str) -> Answer:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": RETURN_URL}
        return self.client.log_in(**form | {"code_verifier": self.verifier} | changes)

    def test_a_code_gives_tokens_once(self) -> None:
        back = self.sent_back()
        self.assertEqual("s+/", back["state"])
        answer = self.redeem(back["code"])
        self.assertEqual(200, answer.status, answer.text)
        self.assertEqual(self.alexa.credentials.refresh_token, answer.json["refresh_token"])
        self.assertNotIn("scope", answer.json)
        answer = self.redeem(back["code"])
        self.assertEqual((400, "invalid_grant"), (answer.status, answer.json["error"]))

    def test_a_code_is_bound_to_its_request(self) -> None:
        other = {"code_verifier": "b" * 43}, {"redirect_uri": f"{RETURN_URL}/"}
        for changes in other:
            answer = self.redeem(self.sent_back()["code"], **changes)
            self.assertEqual((400, "invalid_grant"), (answer.status, answer.json["error"]))
        code = self.sent_back()["code"]
        self.alexa.advance(self.alexa.code_seconds + 1)
        self.assertEqual(400, self.redeem(code).status)

    def test_a_return_url_is_compared_exactly(self) -> None:
        for changes in (
            {"redirect_uri": f"{RETURN_URL}/"},
            {"redirect_uri": "http://localhost:9090/cb"},
            {"client_id": "another"},
        ):
            self.assertEqual(400, self.consent(**changes).status)

    def test_a_refusal_goes_back(self) -> None:
        self.alexa.consent = "declined"
        self.assertEqual("access_denied", self.sent_back()["error"])
        self.alexa.consent = {"error": "invalid_scope"}
        self.assertEqual({"error": "invalid_scope", "state": "s+/"}, self.sent_back())

    def test_scopes_are_shown_as_told(self) -> None:
        self.alexa.shown_scope = "reordered"
        answer = self.redeem(self.sent_back()["code"])
        self.assertEqual(f"{PROFILE} {MANAGEMENT}", answer.json["scope"])
        self.alexa.grants_refresh_tokens = False
        self.assertNotIn("refresh_token", self.redeem(self.sent_back()["code"]).json)


class HierarchyTest(AlexaTest):
    def test_units_are_listed_page_by_page(self) -> None:
        self.alexa.add_examples()
        self.alexa.page_size = 3
        query = f"parentId={EXAMPLE_ORGANIZATION}&queryDepth=all&expand=all"
        first = self.client.send("GET", f"/v2/units?{query}").json
        self.assertEqual(3, len(first["results"]))
        self.assertEqual("Grand Hotel", first["results"][0]["name"]["value"]["text"])
        token = quote(first["paginationContext"]["nextToken"])
        second = self.client.send("GET", f"/v2/units?{query}&nextToken={token}").json
        self.assertEqual((1, {}), (len(second["results"]), second["paginationContext"]))
        one = self.client.send("GET", f"/v2/units?parentId={EXAMPLE_ORGANIZATION}").json["results"]
        self.assertEqual([EXAMPLE_PROPERTY], [unit["id"] for unit in one])
        self.refused(self.client.send("GET", "/v2/units?parentId=nobody"), 404)

    def test_devices_are_those_of_a_unit(self) -> None:
        self.alexa.add_examples()
        room = "amzn1.alexa.unit.did.EXAMPLEROOM101"
        for id in (room, self.alexa.units.other(room)):
            found = self.client.send("GET", f"/v2/endpoints?associatedUnits.id={id}").json
            self.assertEqual(1, len(found["results"]))
        self.refused(self.client.send("GET", "/v2/endpoints"), 400)


class LoginTest(AlexaTest):
    def test_refresh_token_gives_access_token(self) -> None:
        self.alexa.expires_in = 900
        answer = self.client.log_in()
        issued = answer.json
        self.assertEqual(
            (200, "bearer", 900), (answer.status, issued["token_type"], issued["expires_in"])
        )
        self.assertEqual(self.alexa.credentials.refresh_token, issued["refresh_token"])
        self.assertRegex(issued["access_token"], r"^Atza\|.{345,}$")
        self.assertEqual(2, self.alexa.token_calls)

    def test_refresh_token_may_rotate(self) -> None:
        self.alexa.rotates_refresh_token = True
        rotated = self.client.log_in().json["refresh_token"]
        self.assertNotEqual(self.alexa.credentials.refresh_token, rotated)
        self.assertEqual(
            [200, 200],
            [self.client.log_in(refresh_token=rotated).status, self.client.log_in().status],
        )

    def test_oauth_errors(self) -> None:
        for changes, status, error in (
            ({"refresh_token": "Atzr|unknown"}, 400, "invalid_grant"),
            ({"client_id": "amzn1.application-oa2-client.other"}, 401, "invalid_client"),
            ({"client_secret": "wrong"}, 401, "invalid_client"),
            ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ):
            answer = self.client.log_in(**changes)
            self.assertEqual((status, error), (answer.status, answer.json["error"]))
            self.assertEqual(answer.headers["X-Amzn-RequestId"], answer.json["request_id"])
        self.alexa.credentials = replace(self.alexa.credentials, refresh_token="Atzr|revoked")
        self.assertEqual(200, self.client.log_in().status)

    def test_body_must_be_a_form(self) -> None:
        body = {
            "grant_type": "refresh_token",
            "refresh_token": self.alexa.credentials.refresh_token,
        }
        answer = self.client.send("POST", TOKEN_PATH, body)
        self.assertEqual((400, "invalid_request"), (answer.status, answer.json["error"]))

    def test_lifetimes_may_be_texts_or_fractions(self) -> None:
        for lifetime in ("3600", 3600.5, "3600.0"):
            self.alexa.expires_in = lifetime
            self.assertEqual(lifetime, self.client.log_in().json["expires_in"])
            self.assertEqual(200, self.client.list(SUBSCRIPTIONS).status)

    def test_profile_may_hold_more(self) -> None:
        self.alexa.person = {"email": "someone@example.com", "name": "Someone"}
        shown = self.client.send("GET", "/user/profile").json
        self.assertEqual({"user_id", "email", "name"}, shown.keys())

    def test_profile(self) -> None:
        answer = self.client.send("GET", "/user/profile")
        self.assertEqual((200, {"user_id": self.alexa.user_id}), (answer.status, answer.json))
        self.alexa.scopes.remove(PROFILE)
        self.assertEqual(403, self.client.send("GET", "/user/profile").status)
        self.alexa.profile_refusal = 401
        self.assertEqual(
            "insufficient_scope", self.client.send("GET", "/user/profile").json["error"]
        )
        self.alexa.expire_tokens()
        self.assertEqual("invalid_token", self.client.send("GET", "/user/profile").json["error"])

    def test_api_needs_token_and_scope(self) -> None:
        paths = (
            f"{EM}/{SUBSCRIPTIONS}",
            f"{EM}/none",
            "/v2/endpoints/x/features/connectivity",
            "/v2/automations/x",
        )
        keys = set()
        for path in paths:
            for authorization in (
                "",
                "Bearer ",
                "Bearer Atza|unknown",
                f"Basic {self.client.token}",
            ):
                answer = self.client.send("GET", path, Authorization=authorization)
                self.refused(answer, 401)
                keys |= answer.json.keys()
        self.assertEqual({"message", "description"}, keys)
        self.alexa.scopes = {PROFILE}
        self.refused(self.client.list(SUBSCRIPTIONS), 403)

    def test_tokens_expire(self) -> None:
        self.assertEqual(200, self.client.list(SUBSCRIPTIONS).status)
        self.alexa.advance(3600)
        self.refused(self.client.list(SUBSCRIPTIONS), 401)
        self.client.log_in()
        self.assertEqual(200, self.client.list(SUBSCRIPTIONS).status)
        self.alexa.expire_tokens()
        self.refused(self.client.list(SUBSCRIPTIONS), 401)


class MessengerTest(AlexaTest):
    def test_create_get_and_delete(self) -> None:
        made = self.client.configure(idempotencyToken="t1")
        id = made.json["id"]
        self.assertEqual((201, id), (made.status, made.headers["Location"]))
        self.assertRegex(id, r"^amzn1\.alexa\.aem\.subscription\.configuration\.\w+$")
        shown = self.client.send("GET", f"{EM}/{CONFIGURATIONS}/{id}").json
        self.assertEqual({"id": id, "deliveryChannels": [{"type": "SNS", "id": TOPIC}]}, shown)

        made = self.client.subscribe(id, eventHeaderVersion="V2")
        subscription = made.json["id"]
        self.assertEqual((201, subscription), (made.status, made.headers["Location"]))
        self.assertRegex(subscription, r"^amzn1\.alexa\.aem\.subscription\.\d+$")
        self.assertEqual(
            "V2",
            self.client.send("GET", f"{EM}/{SUBSCRIPTIONS}/{subscription}").json[
                "eventHeaderVersion"
            ],
        )
        self.assertEqual(
            [id, subscription], [r.id for r in self.alexa.configurations + self.alexa.subscriptions]
        )

        self.refused(self.client.send("DELETE", f"{EM}/{CONFIGURATIONS}/{id}"), 409)
        first = self.client.send("DELETE", f"{EM}/{SUBSCRIPTIONS}/{subscription}")
        second = self.client.send("DELETE", f"{EM}/{CONFIGURATIONS}/{id}")
        self.assertEqual(
            [(200, "{}"), (204, "")], [(first.status, first.text), (second.status, second.text)]
        )
        self.assertNotIn("Content-Length", second.headers)
        for method in ("DELETE", "GET"):
            self.refused(self.client.send(method, f"{EM}/{CONFIGURATIONS}/{id}"), 404)
        self.refused(self.client.send("PATCH", f"{EM}/{CONFIGURATIONS}/{id}", {}), 404)
        self.assertEqual([], self.alexa.configurations + self.alexa.subscriptions)

    def test_configuration_is_checked(self) -> None:
        good = {"type": "SNS", "id": TOPIC}
        fifo, malformed = {**good, "id": f"{TOPIC}.fifo"}, {**good, "id": "asp-events"}
        other = {**good, "type": "SQS"}
        wrong: tuple[Any, ...] = (
            None,
            [],
            "x",
            [{}],
            [other],
            [fifo],
            [malformed],
            [good, malformed],
        )
        for channels in wrong:
            self.refused(
                self.client.send("POST", f"{EM}/{CONFIGURATIONS}", {"deliveryChannels": channels}),
                400,
            )
        bodies: tuple[Any, ...] = ([], "not JSON", None)
        for body in bodies:
            self.refused(self.client.send("POST", f"{EM}/{CONFIGURATIONS}", body), 400)
        self.assertEqual(201, self.client.configure(TOPIC, OTHER_TOPIC).status)

    def test_subscription_is_checked(self) -> None:
        id = self.configured()
        for wrong in (
            {"eventType": None},
            {"eventType": {"namespace": "Alexa.Automation.Execution"}},
            {"entities": None},
            {"entities": {"unit": "amzn1.alexa.unit.did.ROOM"}},
            {"subscriptionConfigurationId": None},
            {"subscriptionDurationInSeconds": 0},
            {"idempotencyToken": 7},
        ):
            self.refused(self.client.subscribe(id, **wrong), 400)
        self.assertEqual(201, self.client.subscribe(id, entities={}).status)
        self.refused(self.client.subscribe("unknown"), 404)
        self.alexa.unknown_configuration = 400
        self.refused(self.client.subscribe("unknown"), 400)

    def test_idempotency_token_returns_the_first_id_even_if_deleted(self) -> None:
        first = self.client.configure(idempotencyToken="1234567890")
        again = self.client.configure(OTHER_TOPIC, idempotencyToken="1234567890")
        self.assertEqual((201, first.json["id"]), (again.status, again.json["id"]))
        self.client.send("DELETE", f"{EM}/{CONFIGURATIONS}/{first.json['id']}")
        again = self.client.configure(idempotencyToken="1234567890")
        self.assertEqual(
            (201, first.json["id"], []), (again.status, again.json["id"], self.alexa.configurations)
        )
        self.alexa.honours_tokens = False
        self.assertNotEqual(
            first.json["id"], self.client.configure(idempotencyToken="1234567890").json["id"]
        )
        self.assertEqual(1, len(self.alexa.configurations))

    def test_subscriptions_have_their_own_tokens(self) -> None:
        id = self.client.configure(idempotencyToken="t").json["id"]
        first = self.client.subscribe(id, idempotencyToken="t").json["id"]
        self.assertNotEqual(id, first)
        self.assertEqual(first, self.client.subscribe(id, idempotencyToken="t").json["id"])

    def test_pages(self) -> None:
        wanted = [self.alexa.add(CONFIGURATIONS, {"deliveryChannels": []}) for _ in range(25)]
        ends = []
        for size, pages in (("10", 3), ("7", 4), ("1", 25)):
            context: dict[str, Any] = {}
            found, count = [], 0
            while True:
                more = {"nextToken": context["nextToken"]} if context else {}
                answer = self.client.list(CONFIGURATIONS, maxResults=size, **more).json
                found += [item["id"] for item in answer["results"]]
                context, count = answer["paginationContext"], count + 1
                if not context.get("nextToken"):
                    break
                self.assertLessEqual(set("+/="), set(context["nextToken"]))
            ends.append(context)
            self.assertEqual((wanted, pages), (found, count))
        self.assertEqual([{}, {"nextToken": None}, {}], ends)
        self.alexa.last_token = "null"
        self.assertEqual([{"nextToken": None}] * 2, [self.last_page(), self.last_page()])
        self.alexa.last_token = "absent"
        self.assertEqual([{}, {}], [self.last_page(), self.last_page()])

    def last_page(self) -> Any:
        return self.client.list(SUBSCRIPTIONS).json["paginationContext"]

    def test_page_tokens_are_checked(self) -> None:
        for _ in range(3):
            self.alexa.add(CONFIGURATIONS, {"deliveryChannels": []})
        self.alexa.page_size = 2
        token = self.client.list(CONFIGURATIONS).json["paginationContext"]["nextToken"]
        self.assertEqual(1, len(self.client.list(CONFIGURATIONS, nextToken=token).json["results"]))
        self.refused(self.client.list(SUBSCRIPTIONS, nextToken=token), 400)
        self.refused(self.client.list(CONFIGURATIONS, nextToken="other"), 400)
        self.refused(
            self.client.send("GET", f"{EM}/{CONFIGURATIONS}?owner=~caller&nextToken={token}"), 400
        )
        for wrong in ("0", "11", "100", "-1", "x", ""):
            self.refused(self.client.list(CONFIGURATIONS, maxResults=wrong), 400)

    def test_pages_stay_stable_while_items_are_deleted(self) -> None:
        ids = [self.alexa.add(CONFIGURATIONS, {"deliveryChannels": []}) for _ in range(4)]
        first = self.client.list(CONFIGURATIONS, maxResults="2").json
        for id in ids[:2]:
            self.client.send("DELETE", f"{EM}/{CONFIGURATIONS}/{id}")
        rest = self.client.list(CONFIGURATIONS, maxResults="2", **first["paginationContext"]).json[
            "results"
        ]
        self.assertEqual(ids[2:], [item["id"] for item in rest])

    def test_filters(self) -> None:
        id = self.configured()
        room = self.client.subscribe(id).json["id"]
        child = self.client.subscribe(
            id, eventType={"namespace": "N", "name": "M"}, entities=CHILD
        ).json["id"]
        unit, parent = "entities.unit.", "entities.unit.parent."
        for query, found in (
            ({}, [room, child]),
            ({f"{unit}id": "amzn1.alexa.unit.did.ROOM", f"{unit}type": "Unit"}, [room]),
            ({f"{unit}id": "amzn1.alexa.unit.did.HOTEL", f"{unit}type": "Unit"}, []),
            ({f"{parent}id": "amzn1.alexa.unit.did.HOTEL", f"{parent}type": "Unit"}, [child]),
            ({"eventType.namespace": "N", "eventType.name": "M"}, [child]),
            ({"eventType.namespace": "N", "eventType.name": "Completion"}, []),
        ):
            answer = self.client.list(SUBSCRIPTIONS, **query)
            self.assertEqual(found, [item["id"] for item in answer.json["results"]], query)
        for wrong in (
            {"owner": "amzn1.account.OTHER"},
            {f"{unit}id": "x"},
            {f"{unit}type": "Unit"},
            {f"{unit}id": "x", f"{unit}type": "Room"},
            {f"{parent}id": "x"},
            {f"{parent}type": "Unit"},
            {"eventType.namespace": "N"},
            {"eventType.name": "M"},
            {"unit": "x"},
        ):
            self.refused(self.client.list(SUBSCRIPTIONS, **wrong), 400)
        self.refused(
            self.client.list(CONFIGURATIONS, **{"eventType.namespace": "N", "eventType.name": "M"}),
            400,
        )
        self.refused(self.client.send("GET", f"{EM}/{CONFIGURATIONS}"), 400)
        by_unit = urlencode({f"{unit}id": "x", f"{unit}type": "Unit"})
        self.assertEqual(200, self.client.send("GET", f"{EM}/{SUBSCRIPTIONS}?{by_unit}").status)

    def test_shapes_of_items(self) -> None:
        id = self.configured()
        full = {"id": id, "deliveryChannels": [{"type": "SNS", "id": TOPIC}]}
        for shape, item in (
            ("full", full),
            ("bare", {"id": id}),
            ("nested", {"subscriptionConfiguration": full}),
        ):
            self.alexa.item_shape = shape  # type: ignore[assignment]
            self.assertEqual([item], self.client.list(CONFIGURATIONS).json["results"])
        subscription = self.client.subscribe(id).json["id"]
        [item] = self.client.list(SUBSCRIPTIONS).json["results"]
        self.assertEqual(subscription, item["subscription"]["id"])

    def test_subscriptions_expire(self) -> None:
        self.alexa.clock = lambda: 1_000_000_000.0
        self.client.log_in()
        id = self.subscribed(subscriptionDurationInSeconds=60)
        [item] = self.client.list(SUBSCRIPTIONS).json["results"]
        self.assertEqual("2001-09-09T01:47:40.000Z", item["expiresAt"])
        self.alexa.shows_expiry = False
        self.assertNotIn("expiresAt", self.client.send("GET", f"{EM}/{SUBSCRIPTIONS}/{id}").json)
        self.alexa.advance(59)
        self.assertEqual(1, len(self.alexa.subscriptions))
        self.alexa.advance(1)
        self.assertEqual([], self.client.list(SUBSCRIPTIONS).json["results"])
        self.refused(self.client.send("DELETE", f"{EM}/{SUBSCRIPTIONS}/{id}"), 404)
        [configuration] = self.alexa.configurations
        self.assertEqual(
            200, self.client.send("DELETE", f"{EM}/{CONFIGURATIONS}/{configuration.id}").status
        )


class TokenTest(AlexaTest):
    """Idempotency tokens, as Amazon may treat them."""

    def remade(self) -> tuple[str, str, int]:
        """The ids of a request before and after its subscription is deleted, and what is left."""
        id = self.configured()
        ids = []
        for _ in range(2):
            ids.append(str(self.client.subscribe(id, idempotencyToken="t").json["id"]))
            count = len(self.alexa.subscriptions)
            self.client.send("DELETE", f"{EM}/{SUBSCRIPTIONS}/{ids[-1]}")
        return ids[0], ids[1], count

    def test_a_token_may_end_with_its_subscription(self) -> None:
        first, second, count = self.remade()
        self.assertEqual((first, 0), (second, count), "the id of a deleted one")
        self.alexa.tokens_outlive = False
        first, second, count = self.remade()
        self.assertEqual((True, 1), (first != second, count))

    def test_an_id_may_derive_from_the_token(self) -> None:
        self.alexa.ids_of_tokens = True
        first, second, count = self.remade()
        self.assertEqual((first, 1), (second, count), "the same id lives again")
        id = self.configured()
        for _ in range(2):
            self.client.subscribe(id, idempotencyToken="t")
        self.client.subscribe(id, idempotencyToken="u")
        listed = self.client.list(SUBSCRIPTIONS).json["results"]
        self.assertEqual(2, len({item["id"] for item in listed}))
        self.assertEqual(2, len(listed))

    def test_a_token_of_another_request_may_be_refused(self) -> None:
        self.alexa.token_conflict = 409
        id = self.configured()
        for _ in range(2):
            self.assertEqual(201, self.client.subscribe(id, idempotencyToken="t").status)
        self.refused(self.client.subscribe(id, idempotencyToken="t", entities=CHILD), 409)

    def test_tokens_may_be_refused(self) -> None:
        self.alexa.refuses_tokens = {SUBSCRIPTIONS}
        id = self.client.configure(idempotencyToken="t").json["id"]
        self.refused(self.client.subscribe(id, idempotencyToken="t"), 400)
        self.assertEqual(201, self.client.subscribe(id).status)
        self.alexa.refuses_tokens = {CONFIGURATIONS}
        self.refused(self.client.configure(idempotencyToken="u"), 400)


class CreationTest(AlexaTest):
    """Creations, as Amazon may answer or refuse them."""

    def test_forms_of_ids(self) -> None:
        for form, pattern in (
            ("documented", r"amzn1\.alexa\.aem\.subscription\.(configuration\.)?\d+"),
            ("other prefix", r"amzn1\.alexa\.events\.v2\.(configuration|sub)\.\d+"),
            ("uuid", r"[0-9a-f]{8}-[0-9a-f-]{27}"),
        ):
            self.alexa.id_form = form  # type: ignore[assignment]
            configuration = self.configured()
            id = self.client.subscribe(configuration).json["id"]
            for one in (configuration, id):
                self.assertRegex(one, f"^{pattern}$")
            self.assertEqual(200, self.client.send("GET", f"{EM}/{SUBSCRIPTIONS}/{id}").status)

    def test_locations(self) -> None:
        for form, before in (
            ("id", ""),
            ("path", f"{EM}/{CONFIGURATIONS}/"),
            ("url", f"{self.alexa.url}{EM}/{CONFIGURATIONS}/"),
        ):
            self.alexa.location = form  # type: ignore[assignment]
            made = self.client.configure()
            self.assertEqual(before + made.json["id"], made.headers["Location"])
        self.alexa.location = "absent"
        self.assertNotIn("Location", self.client.configure().headers)

    def test_bodies(self) -> None:
        id = self.configured()
        self.alexa.created_body = "empty"
        made = self.client.subscribe(id)
        self.assertEqual((201, ""), (made.status, made.text))
        self.alexa.created_body = "other"
        self.assertEqual({"message": "Created"}, self.client.subscribe(id).json)
        self.alexa.created_body = "whole"
        self.assertEqual(ROOM, self.client.subscribe(id).json["entities"])

    def test_refusals(self) -> None:
        id, room = self.configured(), ROOM["unit"]["id"]
        self.alexa.refused_units = {room: 409}
        self.refused(self.client.subscribe(id), 409)
        other = {"unit": {"type": "Unit", "id": self.alexa.units.other(room)}}
        self.refused(self.client.subscribe(id, entities=other), 409)
        self.assertEqual(201, self.client.subscribe(id, entities=CHILD).status)
        user = {"user": {"type": "User", "id": "amzn1.account.X"}}
        self.assertEqual(201, self.client.subscribe(id, entities=user).status)
        self.alexa.setup_entities = "unit"
        self.refused(self.client.subscribe(id, entities=user), 400)
        self.assertEqual(201, self.client.subscribe(id, entities={}).status)
        self.alexa.limit, self.alexa.limit_status = 3, 403
        self.refused(self.client.subscribe(id, entities=CHILD), 403)

    def test_duplicates_may_be_refused(self) -> None:
        self.alexa.refuses_duplicates = 409
        id = self.configured()
        self.assertEqual(201, self.client.subscribe(id, idempotencyToken="t").status)
        self.refused(self.client.subscribe(id, eventHeaderVersion="V2"), 409)
        self.assertEqual(201, self.client.subscribe(id, idempotencyToken="t").status)
        self.assertEqual(201, self.client.subscribe(id, entities=CHILD).status)

    def test_a_creation_may_come_to_nothing(self) -> None:
        self.alexa.phantom_units = {ROOM["unit"]["id"]}
        id = self.subscribed()
        self.refused(self.client.send("GET", f"{EM}/{SUBSCRIPTIONS}/{id}"), 404)
        self.assertEqual([], self.client.list(SUBSCRIPTIONS).json["results"])


class ReadTest(AlexaTest):
    """Lists and single reads, as Amazon may answer them."""

    def listed(self, kind: str = SUBSCRIPTIONS, **query: str) -> list[str]:
        """The ids of a list, all pages of it."""
        ids: list[str] = []
        more: dict[str, str] = {}
        while True:
            answer = self.client.list(kind, **query, **more).json
            ids += [item["id"] for item in answer["results"]]
            if not answer["paginationContext"].get("nextToken"):
                return ids
            more = {"nextToken": answer["paginationContext"]["nextToken"]}

    def status(self, id: str) -> int:
        return self.client.send("GET", f"{EM}/{SUBSCRIPTIONS}/{id}").status

    def test_reads_lag_behind_creations_and_deletions(self) -> None:
        self.alexa.lag = 3600
        id = self.subscribed()
        self.assertEqual(([], 404), (self.listed(), self.status(id)))
        self.alexa.single_reads_lag = False
        self.assertEqual(([], 200), (self.listed(), self.status(id)))
        self.alexa.lag = 0
        self.assertEqual([id], self.listed())
        self.alexa.lag = 3600
        self.client.send("DELETE", f"{EM}/{SUBSCRIPTIONS}/{id}")
        self.refused(self.client.send("DELETE", f"{EM}/{SUBSCRIPTIONS}/{id}"), 404)
        self.alexa.single_reads_lag = True
        self.alexa._created_at.clear()  # as if it had been created long ago
        self.assertEqual(([id], 200), (self.listed(), self.status(id)))
        self.alexa.lag = 0
        self.assertEqual(([], 404), (self.listed(), self.status(id)))

    def test_deletions_may_lag_alone(self) -> None:
        self.alexa.deletion_lag = 3600
        id = self.subscribed()
        self.client.send("DELETE", f"{EM}/{SUBSCRIPTIONS}/{id}")
        self.assertEqual(([id], 200), (self.listed(), self.status(id)))
        self.refused(self.client.send("DELETE", f"{EM}/{SUBSCRIPTIONS}/{id}"), 404)
        self.alexa.deletion_lag = 0
        self.assertEqual(([], 404), (self.listed(), self.status(id)))

    def test_every_second_read_may_lag(self) -> None:
        self.alexa.lag, self.alexa.lags = 3600, "alternate"
        id = self.subscribed()
        self.assertEqual([[id], [], [id], []], [self.listed() for _ in range(4)])

    def test_a_lag_ends(self) -> None:
        self.alexa.lag = 0.02
        id = self.subscribed()
        while not self.listed():
            time.sleep(0.005)
        self.assertEqual([id], self.listed())

    def test_checks_may_lag(self) -> None:
        self.alexa.lag, self.alexa.checks_lag = 3600, True
        id = self.configured()
        self.refused(self.client.subscribe(id), 404)
        self.alexa.lag = 0
        subscription = self.client.subscribe(id).json["id"]
        self.alexa._created_at.clear()
        self.alexa.lag = 3600
        self.client.send("DELETE", f"{EM}/{SUBSCRIPTIONS}/{subscription}")
        self.refused(self.client.send("DELETE", f"{EM}/{CONFIGURATIONS}/{id}"), 409)

    def test_filters_may_be_refused_ignored_or_withhold_all(self) -> None:
        id = self.configured()
        room = self.client.subscribe(id).json["id"]
        child = self.client.subscribe(id, entities=CHILD).json["id"]
        unit = {"entities.unit.id": ROOM["unit"]["id"], "entities.unit.type": "Unit"}
        event = {"eventType.namespace": "N", "eventType.name": "M"}
        self.assertEqual(([room], []), (self.listed(**unit), self.listed(**event)))
        self.alexa.filters = {"event": "ignored"}
        self.assertEqual(([room], [room, child]), (self.listed(**unit), self.listed(**event)))
        self.alexa.filters = {"unit": "ignored", "event": "refused"}
        self.assertEqual([room, child], self.listed(**unit))
        self.refused(self.client.list(SUBSCRIPTIONS, **event), 400)
        self.alexa.filters = {"unit": "withholds all"}
        self.assertEqual(([], [room, child]), (self.listed(**unit), self.listed()))
        self.alexa.filters = {}
        other = self.alexa.units.other(ROOM["unit"]["id"])
        self.assertEqual([room], self.listed(**unit | {"entities.unit.id": other}))

    def test_the_size_of_a_page_may_be_refused(self) -> None:
        self.alexa.refuses_max_results = {SUBSCRIPTIONS}
        self.refused(self.client.list(SUBSCRIPTIONS, maxResults="10"), 400)
        self.assertEqual(200, self.client.list(SUBSCRIPTIONS).status)
        self.assertEqual(200, self.client.list(CONFIGURATIONS, maxResults="10").status)

    def test_pages_may_be_empty(self) -> None:
        ids = [self.alexa.add(CONFIGURATIONS, {"deliveryChannels": []}) for _ in self.alexa.environment]
        self.alexa.sparse_pages = True
        before = len(self.alexa.requests)
        self.assertEqual(ids, self.listed(CONFIGURATIONS, maxResults="2"))
        self.assertEqual(6, len(self.alexa.requests) - before)

    def test_lists_without_results(self) -> None:
        for shape, results in (("empty", {"results": []}), ("null", {"results": None})):
            self.alexa.no_results = shape  # type: ignore[assignment]
            answer = self.client.list(SUBSCRIPTIONS).json
            self.assertEqual(results, {name: answer[name] for name in ("results",)})
        self.alexa.no_results = "absent"
        self.assertEqual({"paginationContext"}, self.client.list(SUBSCRIPTIONS).json.keys())

    def test_endless_lists(self) -> None:
        ids = [self.alexa.add(CONFIGURATIONS, {"deliveryChannels": []}) for _ in range(3)]
        for mode, tokens, strangers in (
            ("same token", 2, 0),
            ("same page", 5, 0),
            ("empty pages", 5, 0),
            ("strangers", 5, 7),
        ):
            self.alexa.endless = {CONFIGURATIONS: mode}  # type: ignore[dict-item]
            seen, found = [], []
            more: dict[str, str] = {}
            for _ in range(5):
                answer = self.client.list(CONFIGURATIONS, maxResults="2", **more).json
                more = answer["paginationContext"]
                seen.append(more["nextToken"])
                found += [item["id"] for item in answer["results"]]
            self.assertEqual(tokens, len(set(seen)), mode)
            self.assertEqual(ids, found[:3])
            repeated = found[3:] if mode.startswith("same") else []
            self.assertEqual(set(repeated), {ids[2]} if repeated else set())
            self.assertEqual(strangers, len(set(found) - set(ids)), mode)

    def shown(self, *echoes: str, entities: Any = ROOM) -> Any:
        self.alexa.echoes = set(echoes)
        id = self.subscribed(entities=entities)
        return self.client.send("GET", f"{EM}/{SUBSCRIPTIONS}/{id}").json

    def test_echoes(self) -> None:
        room = ROOM["unit"]["id"]
        other = self.alexa.units.other(room)
        resource = {"resource": {"type": "Resource", "resourceType": "Unit", "resourceId": room}}
        unit = self.shown("unit.parent")["entities"]["unit"]
        self.assertEqual((room, "Unit"), (unit["id"], unit["parent"]["type"]))
        self.assertIn("name", self.shown("names")["entities"]["unit"])
        self.assertEqual(OWNER_ID, self.shown("owner")["entities"]["owner"]["id"])
        shown = self.shown("resource.id", entities=resource)["entities"]["resource"]
        self.assertEqual((room, room), (shown["id"], shown["resourceId"]))
        shown = self.shown("resource.id only", entities=resource)["entities"]["resource"]
        self.assertEqual((room, False), (shown["id"], "resourceId" in shown))
        self.assertEqual(other, self.shown("other unit ids")["entities"]["unit"]["id"])
        self.assertEqual({"unit": {"id": room}}, self.shown("no types")["entities"])
        self.assertIsNone(self.shown("nulls")["entities"]["skill"])
        self.assertEqual([ROOM["unit"]], self.shown("array")["entities"])
        self.assertEqual([ROOM], self.shown("array by key")["entities"])
        self.assertEqual("V1", self.shown("default version")["eventHeaderVersion"])
        self.assertIn("createdTime", self.shown("more fields"))
        type_name = self.shown("event type as text")["eventType"]
        self.assertEqual("Alexa.Automation.Execution.Completion", type_name)
        for name in ("skill", "group", "user", "resource"):
            self.assertIn(name, self.shown(f"further {name}")["entities"])
        self.assertIn("id", self.shown("further unit", entities=CHILD)["entities"]["unit"])

    def test_echoes_together(self) -> None:
        shown = self.shown(*ECHOES.keys() - {"array by key"}, entities=ROOM)
        self.assertLessEqual({"owner", "Skill"}, {item["type"] for item in shown["entities"]})
        self.assertEqual(ROOM, self.alexa.subscriptions[0].body["entities"], "no echo is kept")

    def test_delivery_channels_may_show_more(self) -> None:
        self.alexa.channel = {"status": "ACTIVE"}
        id = self.configured()
        [channel] = self.client.send("GET", f"{EM}/{CONFIGURATIONS}/{id}").json["deliveryChannels"]
        self.assertEqual({"type": "SNS", "id": TOPIC, "status": "ACTIVE"}, channel)

    def test_states(self) -> None:
        self.alexa.state = {"status": "ACTIVE"}
        id = self.subscribed()
        self.alexa.states[id] = {"status": "DISABLED", "enabled": False}
        [item] = self.client.list(SUBSCRIPTIONS).json["results"]
        self.assertEqual(("DISABLED", False), (item["status"], item["enabled"]))
        self.assertEqual("ACTIVE", self.shown()["status"])

    def test_units_have_two_ids(self) -> None:
        one = ROOM["unit"]["id"]
        other = self.alexa.units.other(one)
        self.assertEqual(one, self.alexa.units.other(other))
        units = [self.client.send("GET", f"/v2/units/{id}").json for id in (one, other)]
        self.assertEqual(units[0], units[1])
        self.assertEqual({"id", "name", "parentId"}, units[0].keys())
        self.alexa.unit_answer = "as asked"
        units = [self.client.send("GET", f"/v2/units/{id}").json["id"] for id in (one, other)]
        self.assertEqual([one, other], units)
        self.alexa.unit_statuses = {one: 404}
        for id, status in ((one, 404), (other, 404), ("amzn1.alexa.unit.did.X", 200)):
            self.assertEqual(status, self.client.send("GET", f"/v2/units/{id}").status)
        self.alexa.unit_answer = 403
        self.refused(self.client.send("GET", "/v2/units/amzn1.alexa.unit.did.X"), 403)


class DeletionTest(AlexaTest):
    def test_statuses(self) -> None:
        for status, shown in ((200, 200), (204, 204), (404, 404)):
            self.alexa.deleted_status = status
            id = self.subscribed()
            answer = self.client.send("DELETE", f"{EM}/{SUBSCRIPTIONS}/{id}")
            self.assertEqual((shown, []), (answer.status, self.alexa.subscriptions))

    def test_refusals(self) -> None:
        id = self.subscribed()
        self.alexa.undeletable = {id: 403}
        self.refused(self.client.send("DELETE", f"{EM}/{SUBSCRIPTIONS}/{id}"), 403)
        self.assertEqual(1, len(self.alexa.subscriptions))


class DeviceTest(AlexaTest):
    def setUp(self) -> None:
        super().setUp()
        self.alexa.endpoints["e1"] = Endpoint("e1")

    def associate(self, id: str, body: Any) -> Answer:
        return self.client.send("PUT", f"/v2/endpoints/{id}/associatedUnits", body)

    def reachability(self, id: str) -> Any:
        answer = self.client.send("GET", f"/v2/endpoints/{id}/features/connectivity")
        return answer.json["properties"][0]["value"]["value"]

    def test_association(self) -> None:
        unit = [{"id": "u1"}]
        for wrong in ({"id": "u1"}, {"associatedUnits": unit}, [], unit * 2, ["u1"], "u1"):
            self.refused(self.associate("e1", wrong), 400)
        self.refused(self.associate("e2", unit), 404)
        answer = self.associate("e1", unit)
        new = answer.json["endpointId"]
        self.assertEqual(
            (200, ["u1"]), (answer.status, [e.unit for e in self.alexa.endpoints.values()])
        )
        self.refused(self.associate("e1", unit), 404)
        self.assertEqual("UNREACHABLE", self.reachability(new))
        self.refused(self.associate(new, unit), 409)
        self.alexa.advance(60)
        self.assertEqual("OK", self.reachability(new))
        self.assertEqual(200, self.associate(new, [{"id": NO_UNIT}]).status)
        self.assertEqual([None], [e.unit for e in self.alexa.endpoints.values()])

    def test_answers_of_an_association(self) -> None:
        self.alexa.renames_endpoints, self.alexa.reboot_seconds = False, 0
        self.assertEqual({"endpointId": "e1"}, self.associate("e1", [{"id": "u1"}]).json)
        self.alexa.association_answer = "array"
        self.assertEqual([{"endpointId": "e1"}], self.associate("e1", [{"id": "u1"}]).json)
        self.alexa.association_answer = "empty"
        answer = self.associate("e1", [{"id": "u1"}])
        self.assertEqual(
            (200, "", "0"), (answer.status, answer.text, answer.headers["Content-Length"])
        )

    def test_refusals_of_an_association(self) -> None:
        self.alexa.inactive_units.add("u1")
        self.refused(self.associate("e1", [{"id": "u1"}]), 409)
        self.alexa.endpoints["e1"].online, self.alexa.offline_status = False, 400
        self.refused(self.associate("e1", [{"id": "u2"}]), 400)
        self.assertEqual("UNREACHABLE", self.reachability("e1"))
        self.refused(self.client.send("GET", "/v2/endpoints/e2/features/connectivity"), 404)

    def test_automations(self) -> None:
        self.alexa.automations["a1"] = {}
        data = {"triggerTime": "2030-01-01T00:00:00"}
        good = {"automation": {"data": data}}
        answer = self.client.send("PUT", "/v2/automations/a1", good)
        self.assertEqual((200, data), (answer.status, self.alexa.automations["a1"]))
        more = {"automation": {"data": data, "templateId": "t"}}
        wrong: tuple[Any, ...] = (
            data,
            {},
            [],
            {"automation": {}},
            {"automation": data},
            {**good, "friendlyName": {}},
            more,
        )
        for body in wrong:
            self.refused(self.client.send("PUT", "/v2/automations/a1", body), 400)
        self.refused(self.client.send("PUT", "/v2/automations/foreign", good), 404)
        for verb in ("run", "execute"):
            self.refused(self.client.send("POST", f"/v2/automations/a1/{verb}", {}), 404)


class FaultTest(AlexaTest):
    def test_fails_n_times_and_then_succeeds(self) -> None:
        self.alexa.fail_next(2, 429, retry_after=1)
        self.alexa.fail_next(1, 429)
        self.alexa.fail_next(1, 503, body="<html>busy</html>")
        self.alexa.fail_next(1, 500, body="")
        self.alexa.fail_next(1, 500, body={"error": "x"})
        answers = [self.client.list(SUBSCRIPTIONS) for _ in range(7)]
        self.assertEqual([429, 429, 429, 503, 500, 500, 200], [answer.status for answer in answers])
        self.assertEqual(
            ["1", "1", None], [answer.headers.get("Retry-After") for answer in answers[:3]]
        )
        self.refused(answers[0], 429)
        self.assertEqual(
            ["<html>busy</html>", "", '{"error": "x"}'], [answer.text for answer in answers[3:6]]
        )
        self.assertEqual(7, len({answer.headers["X-Amzn-RequestId"] for answer in answers}))
        self.assertEqual(
            [answer.status for answer in answers],
            [request.status for request in self.alexa.requests[1:]],
        )

    def test_fails_for_a_path(self) -> None:
        self.alexa.fail_next(1, 500, path=TOKEN_PATH)
        self.alexa.fail_next(1, 503, path=f"POST {EM}/{CONFIGURATIONS}")
        self.assertEqual(
            [200, 200], [self.client.list(kind).status for kind in (CONFIGURATIONS, SUBSCRIPTIONS)]
        )
        self.assertEqual(
            [503, 201], [self.client.configure().status, self.client.configure().status]
        )
        self.assertEqual([500, 200], [self.client.log_in().status, self.client.log_in().status])

    def test_fails_after_taking_effect(self) -> None:
        self.alexa.fail_next(1, 500)
        self.alexa.fail_next(1, 500, applied=True)
        self.assertEqual(
            [500, 500], [self.client.configure().status, self.client.configure().status]
        )
        self.assertEqual(1, len(self.alexa.configurations))

    def test_storm(self) -> None:
        self.alexa.storm(2)
        answers = [self.client.list(SUBSCRIPTIONS) for _ in range(8)]
        self.assertEqual(
            [200, 429, 200, 503, 200, 429, 200, 500], [answer.status for answer in answers]
        )
        self.assertEqual(
            ("0", None),
            (answers[1].headers.get("Retry-After"), answers[5].headers.get("Retry-After")),
        )
        self.alexa.storm(0)
        self.assertEqual([200, 200], [self.client.list(SUBSCRIPTIONS).status for _ in range(2)])

    def test_drops_the_answer(self) -> None:
        self.alexa.drop_answer_of(2, path="POST")
        self.assertEqual(
            [201, 200], [self.client.configure().status, self.client.list(CONFIGURATIONS).status]
        )
        with self.assertRaises(http.client.RemoteDisconnected):
            self.client.configure()
        self.assertEqual(
            (2, None), (len(self.alexa.configurations), self.alexa.requests[-1].status)
        )
        self.assertEqual(201, self.client.configure().status)

    def test_hooks(self) -> None:
        seen: list[tuple[str, int, int | None, int]] = []

        def note(when: str, request: Request) -> None:
            seen.append((when, request.number, request.status, len(self.alexa.configurations)))

        self.alexa.before = lambda request: note("before", request)
        self.alexa.after = lambda request: note("after", request)
        self.client.configure()
        self.assertEqual([("before", 2, None, 0), ("after", 2, None, 1)], seen)

    def test_hooks_may_drop_the_connection(self) -> None:
        def drop(_: Request) -> None:
            raise Drop

        self.alexa.before = drop
        with self.assertRaises(http.client.RemoteDisconnected):
            self.client.configure()
        self.assertEqual([], self.alexa.configurations)
        self.alexa.before, self.alexa.after = None, drop
        with self.assertRaises(http.client.RemoteDisconnected):
            self.client.configure()
        self.assertEqual(1, len(self.alexa.configurations))

    def test_errors_in_hooks_are_raised(self) -> None:
        def fail(_: Request) -> None:
            raise ValueError("the test is wrong")

        with self.assertRaisesRegex(RuntimeError, "the test is wrong"), Alexa() as alexa:
            alexa.before = fail
            client = Client(alexa)
            self.addCleanup(client.connection.close)
            self.assertEqual(500, client.log_in().status)

    def test_constant_answers(self) -> None:
        list_path = f"{EM}/{SUBSCRIPTIONS}"
        self.alexa.always = {f"GET {list_path}": PORTAL}
        answer = self.client.list(SUBSCRIPTIONS)
        self.assertEqual((200, "text/html"), (answer.status, answer.headers["Content-Type"]))
        self.assertEqual(201, self.client.configure().status, "other requests are served")
        for reply, header, value in (
            (REDIRECT, "Location", "https://login.example.com/"),
            (AN_HOUR_LATER, "Retry-After", "3600"),
            (UNTIL_A_DATE, "Retry-After", UNTIL_A_DATE.headers["Retry-After"]),
            (DETAILED_REFUSAL, "Location", None),
        ):
            self.alexa.always = {list_path: reply}
            answer = self.client.list(SUBSCRIPTIONS)
            self.assertEqual(
                (reply.status, value), (answer.status, answer.headers.get(header)), reply
            )
        self.alexa.always = {TOKEN_PATH: UNAUTHORIZED_CLIENT}
        answer = self.client.log_in()
        self.assertEqual((400, "unauthorized_client"), (answer.status, answer.json["error"]))

    def test_errors_may_echo_secrets(self) -> None:
        self.alexa.echoes_secrets = True
        self.assertIn(self.client.token, self.client.list("none").text)
        secret = self.alexa.credentials.client_secret
        self.assertIn(secret, self.client.log_in(grant_type="password").text)
        self.assertEqual(200, self.client.list(SUBSCRIPTIONS).status)

    def test_the_date_may_be_off(self) -> None:
        for offset in (0, 7200, -7200):
            self.alexa.date_offset = offset
            date = parsedate_to_datetime(self.client.list(SUBSCRIPTIONS).headers["Date"])
            self.assertAlmostEqual(time.time() + offset, date.timestamp(), delta=60)
        self.alexa.date_offset = None
        self.assertNotIn("Date", self.client.list(SUBSCRIPTIONS).headers)

    def test_too_many_requests_at_the_same_time(self) -> None:
        self.alexa.most_at_once = 1
        others: list[int] = []

        def meanwhile(request: Request) -> None:
            if request.method == "POST":
                client = Client(self.alexa)
                client.token = self.client.token
                others.append(client.list(SUBSCRIPTIONS).status)
                client.connection.close()

        self.alexa.before = meanwhile
        self.assertEqual(201, self.client.configure().status)
        self.assertEqual([429], others, "two were under way")
        self.assertEqual(200, self.client.list(SUBSCRIPTIONS).status)
        self.assertEqual({"GET": 1, "POST": 1}, self.alexa.peaks)

    def test_nothing_listens_at_the_refused_url(self) -> None:
        connection = http.client.HTTPConnection(urlsplit(self.alexa.refused_url()).netloc)
        with self.assertRaises(ConnectionRefusedError):
            connection.request("GET", "/")

    def test_delay(self) -> None:
        self.alexa.delay = 0.1
        began = time.monotonic()
        self.client.list(SUBSCRIPTIONS)
        self.assertGreaterEqual(time.monotonic() - began, 0.1)


class PublishTest(AlexaTest):
    def event(self, type: dict[str, str], **entities: Any) -> Any:
        return {
            "header": {"version": "2.0", "eventType": type, "entities": entities},
            "payload": {},
        }

    def published(self, wanted: Any, entities: Any, type: dict[str, str] = COMPLETION) -> bool:
        """Whether an event about these entities reaches a subscription to the wanted ones."""
        self.alexa.resources[SUBSCRIPTIONS].clear()
        self.subscribed(entities=wanted)
        return bool(self.alexa.publish(self.event(type, **entities), Sns()))

    def test_matching(self) -> None:
        room, skill = ROOM["unit"], {"type": "Skill", "id": "s1"}
        hotel = {"type": "Unit", "id": "amzn1.alexa.unit.did.HOTEL"}
        resource, user = {"type": "Resource", "resourceId": "u1"}, {"type": "User", "id": "me"}
        for wanted, entities, matches in (
            (ROOM, ROOM, True),
            (ROOM, {"unit": {**room, "parent": hotel}}, True),
            ({"unit": {**room, "parent": hotel}}, ROOM, True),
            (ROOM, {"unit": hotel}, False),
            (ROOM, {}, False),
            (CHILD, {"unit": {**room, "parent": hotel}}, True),
            (CHILD, {"unit": {**room, "parent": room}}, False),
            (CHILD, {"unit": hotel}, False),
            ({**ROOM, "skill": skill}, {**ROOM, "skill": skill}, True),
            ({**ROOM, "skill": skill}, {**ROOM, "skill": {**skill, "id": "s2"}}, False),
            (ROOM, {**ROOM, "skill": skill}, True),
            ({"resource": {**resource, "resourceType": "Unit"}}, {"resource": resource}, True),
            ({"resource": resource}, {"resource": {**resource, "resourceId": "u2"}}, False),
            ({"user": user}, {"user": user, "endpoint": {"id": "e1"}}, True),
            ({"user": user}, {"user": {**user, "id": "you"}}, False),
            ({"user": user}, {"user": {"id": "me"}}, False),
            ({}, ROOM, True),
        ):
            self.assertEqual(matches, self.published(wanted, entities), (wanted, entities))
        self.assertFalse(self.published(ROOM, ROOM, {**COMPLETION, "name": "Other"}))

    def test_each_topic_once(self) -> None:
        both, one = self.client.configure(TOPIC, OTHER_TOPIC).json["id"], self.configured()
        for id in (both, one, one):
            self.client.subscribe(id)
        sns, event = Sns(), self.event(COMPLETION, **ROOM)
        self.assertEqual([TOPIC, OTHER_TOPIC], self.alexa.publish(event, sns))
        self.assertEqual([(TOPIC, event), (OTHER_TOPIC, event)], sns.published)

    def test_expired_subscriptions_get_nothing(self) -> None:
        self.subscribed(subscriptionDurationInSeconds=1)
        self.alexa.advance(1)
        self.assertEqual([], self.alexa.publish(self.event(COMPLETION, **ROOM), Sns()))
        self.assertEqual([], self.alexa.publish({}, Sns()))

    def test_greeting(self) -> None:
        sns = self.alexa.greets = Sns()
        for _ in range(2):
            self.client.configure(TOPIC, idempotencyToken="t")
        self.assertEqual([(TOPIC, {})], sns.published)


class ServerTest(AlexaTest):
    def test_log_of_requests(self) -> None:
        self.client.send("POST", f"{EM}/{SUBSCRIPTIONS}?a=b%2Bc&d=", {"x": 1})
        login, request = self.alexa.requests
        self.assertEqual(
            ("POST", TOKEN_PATH, {}, None), (login.method, login.path, login.query, login.json)
        )
        self.assertEqual(self.alexa.credentials.refresh_token, login.form["refresh_token"])
        self.assertEqual(
            ({"a": "b+c", "d": ""}, {"x": 1}, {}), (request.query, request.json, request.form)
        )
        self.assertEqual(
            (2, 400, f"Bearer {self.client.token}"),
            (request.number, request.status, request.authorization),
        )
        self.assertLessEqual(login.at, request.at)

    def test_concurrent_requests(self) -> None:
        def work() -> None:
            client = Client(self.alexa)
            client.token = self.client.token
            for _ in range(5):
                client.configure()
            client.connection.close()

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(40, len(self.alexa.configurations))
        self.assertEqual(
            list(range(1, 42)), sorted(request.number for request in self.alexa.requests)
        )

    def test_closes_at_once_and_silently(self) -> None:
        with redirect_stderr(io.StringIO()) as stderr:
            alexa = Alexa()
            client, gone = Client(alexa), Client(alexa)
            client.log_in()
            alexa.after = lambda _: gone.connection.sock.close()  # as when the client is killed
            gone.connection.putrequest("GET", "/")
            gone.connection.endheaders()
            while alexa.requests[-1].status is None or len(alexa.requests) < 2:
                time.sleep(0.001)
            alexa.after = None
            began = time.monotonic()
            alexa.close()
            self.assertLess(time.monotonic() - began, 0.5)
            with self.assertRaises((http.client.RemoteDisconnected, ConnectionError)):
                client.log_in()
        client.connection.close()
        self.assertEqual("", stderr.getvalue())

    def test_program(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("alexa.py")), "--port", "0"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout and process.stderr
            lines = [process.stdout.readline() for _ in self.alexa.environment]
            shell = "".join(lines) + "env | grep -E '^(ASPCTL|LWA)_'"
            said = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
            variables = dict(line.split("=", 1) for line in said.stdout.splitlines())
            self.assertEqual(self.alexa.environment.keys(), variables.keys())
            self.assertEqual(self.alexa.credentials.refresh_token, variables["LWA_REFRESH_TOKEN"])
            self.assertTrue(re.fullmatch(r"http://127\.0\.0\.1:\d+", variables["ASPCTL_ALEXA_URL"]))
            url = urlsplit(variables["ASPCTL_LWA_URL"])
            connection = http.client.HTTPConnection(url.netloc, timeout=5)
            connection.request("POST", url.path)
            self.assertEqual(400, connection.getresponse().status)
            connection.close()
            process.send_signal(signal.SIGTERM)
            self.assertEqual((0, ""), (process.wait(5), process.stderr.read()))


if __name__ == "__main__":
    unittest.main()
