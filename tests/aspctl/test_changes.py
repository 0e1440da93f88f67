"""What apply and destroy do when Alexa creates something else than what was requested.

    ASPCTL=target/debug/aspctl python -m unittest -v test_changes
"""

from __future__ import annotations

import unittest

from alexa import SUBSCRIPTIONS
from matrix import FEW, Behaviour, World, world

CREATION = f"POST /v1/eventMessenger/{SUBSCRIPTIONS}"


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


if __name__ == "__main__":
    unittest.main()
