"""What apply and destroy do when Alexa creates something else than what was requested.

    ASPCTL=target/debug/aspctl python -m unittest -v test_changes
"""

from __future__ import annotations

import json
import signal
import time
import unittest
from collections.abc import Callable

from alexa import SUBSCRIPTIONS, Reply, Request
from matrix import FEW, LONGEST, PROPERTY, ROOMS, Behaviour, Entry, World, room, world
from tool import Result, run, start

CREATION = f"POST /v1/eventMessenger/{SUBSCRIPTIONS}"
LIST = f"GET /v1/eventMessenger/{SUBSCRIPTIONS}"


class Creations(unittest.TestCase):
    def world(self, **attributes: object) -> World:
        return self.enterContext(world(Behaviour("", attributes, is_reachable=False)))

    def test_what_is_listed_as_other_events_is_told_each_time(self) -> None:
        one = self.world(echoes={"further skill"}, honours_tokens=False)
        one.write(FEW)
        for _ in range(2):
            one.more += len(FEW)  # neither run can know those of the earlier one
            run = one.run("apply", ends="stops", reason="lists it as .*skill")
            self.assertIn("aspctl delete", run.err)
            self.assertIn("subscriptions.toml, line", run.out)
        self.assertEqual(one.faults, [])

    def test_what_alexa_had_before_is_not_counted_as_created(self) -> None:
        one = self.world(echoes={"further skill"})
        one.write(FEW[:1])
        one.run("apply", ends="stops", reason="lists it as")
        run = one.run("apply")
        self.assertIn("Done: 0 created, 1 unchanged, 0 deleted.", run.out)
        self.assertEqual(one.faults, [])

    def test_what_a_creation_returned_is_not_deleted(self) -> None:
        one = self.world(echoes={"further skill"})
        one.write(FEW[:1])
        one.run("apply", ends="stops", reason="lists it as")
        before = one.ids()
        run = one.run("apply", "--prune", "--yes")
        self.assertIn("Done: 0 created, 1 unchanged, 0 deleted.", run.out)
        self.assertEqual(one.ids(), before)
        self.assertEqual(one.faults, [])

    def test_what_was_listed_before_is_not_taken_for_a_replacement(self) -> None:
        one = self.world()
        one.write([room(ROOMS[0], "V1")])
        one.run("apply")
        before = one.ids()
        one.alexa.phantom_units = {ROOMS[0]}
        one.write([room(ROOMS[0], "V2")])
        one.run("apply", ends="stops", reason="does not list it")
        self.assertEqual(one.ids(), before)

    def test_what_another_creation_returned_is_not_taken_for_this_one(self) -> None:
        one = self.world()
        unit = {"type": "Unit", "id": ROOMS[0], "parent": {"type": "Unit", "id": PROPERTY}}
        lines = (
            f'entities = {{ unit = {{ type = "Unit", id = "{ROOMS[0]}", '
            f'parent = {{ type = "Unit", id = "{PROPERTY}" }} }} }}'
        )
        below = Entry(FEW[0].event, lines, {"unit": unit})
        one.write((FEW[0], below))
        one.alexa.fail_next(1, 201, path=CREATION, body={"id": "nowhere"})
        one.run("apply")
        self.assertEqual(one.faults, [])

    def test_an_inactive_subscription_that_alexa_returns_again_is_told(self) -> None:
        one = self.world()
        one.write(FEW[:1])
        one.run("apply")
        [inactive] = one.subscriptions()
        one.alexa.states[inactive.id] = {"status": "DISABLED"}
        one.alexa.fail_next(1, 201, path=CREATION, body={"id": inactive.id})
        one.run("apply", ends="stops", reason="DISABLED")
        one.run("apply")
        self.assertNotIn(inactive.id, one.ids())
        self.assertEqual(one.faults, [])

    def test_a_filter_that_knows_only_some_types_adds_nothing(self) -> None:
        one = self.world(withheld_events={"Assignment"}, honours_tokens=False)
        one.write(FEW)
        for _ in range(2):
            one.run("apply")
        self.assertEqual(one.faults, [])

    def test_what_is_listed_under_another_id_than_was_returned_is_found(self) -> None:
        one = self.world(honours_tokens=False)
        one.write(FEW[:1])
        one.alexa.fail_next(1, 201, path=CREATION, body={"id": "alias"}, applied=True)
        one.run("apply")
        self.assertEqual(len(one.subscriptions()), 1)
        self.assertEqual(one.faults, [])

    def test_the_last_look_relies_on_no_filter(self) -> None:
        one = self.world(withheld_units={ROOMS[1]}, honours_tokens=False)
        one.write(FEW[:1])
        one.run("apply")
        one.write((FEW[0], room(ROOMS[1])))
        one.run("apply")
        self.assertEqual(one.faults, [])


class Deletions(unittest.TestCase):
    def test_half_of_the_topics_subscriptions_may_go(self) -> None:
        rooms = [room(f"amzn1.alexa.unit.did.EXAMPLE{number}") for number in range(14)]
        with world(Behaviour("")) as one:
            one.write(rooms)
            one.run("apply")
            one.write(rooms[:6])
            one.run("apply", "--prune", "--yes", ends="stops", reason=r"8 of .* 14 .* 50%")
            self.assertEqual(len(one.subscriptions()), 14)
            one.write(rooms[:7])
            one.run("apply", "--prune", "--yes")
            self.assertEqual(one.faults, [])


class Plans(unittest.TestCase):
    def test_json_has_what_alexa_added_and_what_is_held_back(self) -> None:
        attributes = {"echoes": {"unit.parent"}, "unit_answer": 403}
        with world(Behaviour("", attributes)) as one:
            one.write(FEW)
            one.run("apply")
            others = {one.plant(room(unit)) for unit in ROOMS[1:3]}
            one.write((*FEW, room(ROOMS[3])))
            plan = json.loads(run("plan", "--output", "json", env=one.environment).out)
            [addition] = plan["additions"]
            [kept] = [item for item in plan["unchanged"] if item["id"] == addition["id"]]
            parent = kept["entities"]["unit"]["parent"]["id"]
            self.assertEqual(addition["shown"], [{"path": "unit.parent.id", "value": parent}])
            self.assertEqual({item["id"] for item in plan["heldBack"]}, others)
            self.assertIn(plan["undecided"][0]["mayBe"]["id"], others)


class Interruptions(unittest.TestCase):
    """Ctrl-C while a run changes something."""

    def interrupted(self, one: World, is_moment: Callable[[Request], bool]) -> Result:
        """Runs apply. The first request of that kind is answered, and then a signal arrives."""
        process = start("apply", env=one.environment)

        def strike(request: Request) -> None:
            if is_moment(request):
                one.alexa.after = None
                process.send_signal(signal.SIGINT)
                time.sleep(0.2)  # it has no answer yet

        one.alexa.after = strike
        out, err = process.communicate(timeout=LONGEST)
        return Result(process.returncode, out, err)

    def test_a_look_that_must_wait_is_cut_short(self) -> None:
        with world(Behaviour("")) as one:
            one.write(FEW)

            def throttle(request: Request) -> None:
                if is_creation(request):
                    one.alexa.always[LIST] = Reply(429, "", {"Retry-After": "100"})

            one.alexa.before = throttle

            def is_throttled(request: Request) -> bool:
                return f"{request.method} {request.path}" in one.alexa.always

            result = self.interrupted(one, is_throttled)
            self.assertEqual(result.status, 130, result.err)
            self.assertIn("3 created", result.err)
            self.assertEqual(len(one.subscriptions()), 3)

    def test_what_was_not_looked_for_is_not_said_to_be_missing(self) -> None:
        with world(Behaviour("")) as one:
            one.write([room(unit) for unit in ROOMS])

            def is_third(request: Request) -> bool:
                return is_creation(request) and sum(map(is_creation, one.alexa.requests)) > 2

            result = self.interrupted(one, is_third)
            self.assertEqual(result.status, 130, result.err)
            self.assertRegex(result.err, r"interrupted\. [1-6] created, 0 deleted, \d change")
            self.assertNotIn("does not list", result.out)


def is_creation(request: Request) -> bool:
    return f"{request.method} {request.path}" == CREATION


if __name__ == "__main__":
    unittest.main()
