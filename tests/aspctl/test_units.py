"""`aspctl units` and `devices`, their cache, and names beside ids in other commands."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tempfile
import unittest
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alexa import CONFIGURATIONS, PORTAL, SUBSCRIPTIONS, Alexa, Endpoint
from tool import ASPCTL, OWN, ROOT, Result, on_terminal, run

TOPIC = "arn:aws:sns:us-east-1:123456789012:asp-events"
UNIT = "amzn1.alexa.unit.did."
ORGANIZATION, PROPERTY = f"{UNIT}EXAMPLEORGANIZATION", f"{UNIT}EXAMPLEPROPERTY"
COMPLETION = "Alexa.Automation.Execution.Completion"
ROOMS = {f"{UNIT}EXAMPLEROOM{number}": f"Room {number}" for number in range(101, 126)}


class UnitsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.alexa = self.enterContext(Alexa())
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        canonical = self.alexa.units.canonical
        self.organization, self.property = canonical(ORGANIZATION), canonical(PROPERTY)
        self.rooms = {canonical(id): name for id, name in ROOMS.items()}
        self.alexa.hierarchy = {self.property: ("Grand Hotel", self.organization)}
        self.alexa.hierarchy |= {id: (name, self.property) for id, name in self.rooms.items()}
        self.cache = self.folder / ".cache/aspctl"
        self.env = self.alexa.environment | {
            "ASPCTL_ALEXA_BACKOFF": "1ms",
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": "",
            "NO_PROXY": "127.0.0.1",
        }

    def aspctl(self, *args: str, **env: str) -> Result:
        return run(*args, env=self.env | env)

    def ok(self, *args: str, **env: str) -> Result:
        result = self.aspctl(*args, **env)
        self.assertEqual(result.status, 0, result.err)
        return result

    def calls(self, path: str = "/v2/") -> int:
        return sum(request.path.startswith(path) for request in self.alexa.requests)


class Units(UnitsTest):
    def test_all_pages_are_read(self) -> None:
        result = self.ok("units", "--under", ORGANIZATION, "--output", "json")
        self.assertEqual(len(result.json["units"]), 1 + len(ROOMS))
        unit, id = result.json["units"][1], next(iter(self.rooms))
        raw = unit.pop("raw")
        self.assertEqual(unit, {"id": id, "name": "Room 101", "parentId": self.property})
        self.assertEqual((raw["id"], raw["parentId"]), (id, self.property))
        self.assertEqual(self.calls(), 3)

    def test_a_table_has_names_and_ids(self) -> None:
        lines = self.ok("units", "--under", PROPERTY).lines
        self.assertRegex(lines[0], "^NAME +ID$")
        self.assertEqual(lines[1].split(), ["Room", "101", next(iter(self.rooms))])
        self.assertEqual(len(lines), 1 + len(ROOMS))

    def test_the_tree(self) -> None:
        lines = self.ok("units", "--tree", ASPCTL_ORGANIZATION=ORGANIZATION).lines
        self.assertEqual(lines[0], f"Grand Hotel  {self.property}")
        self.assertEqual(lines[1], f"  Room 101  {next(iter(self.rooms))}")
        self.alexa.shows_parents = False
        lines = self.ok("units", "--tree", "--no-cache", "--under", ORGANIZATION).lines
        self.assertEqual(lines[1], f"Room 101  {next(iter(self.rooms))}")

    def test_a_search(self) -> None:
        found = self.ok("units", "--under", ORGANIZATION, "--search", "room 10", "-o", "json").json["units"]
        self.assertEqual([unit["name"] for unit in found], [f"Room 10{n}" for n in range(1, 10)])
        id = list(self.rooms)[-1]
        found = self.ok("units", "--under", ORGANIZATION, "--search", id[-20:].lower()).lines
        self.assertEqual(found[1].split()[-1], id)
        result = self.ok("units", "--under", ORGANIZATION, "--search", "Suite")
        self.assertIn("No units: none of 26 units", result.err)
        self.assertEqual(result.out, "")
        found = self.ok("units", "--under", ORGANIZATION, "--search", "Suite", "--output", "json")
        self.assertEqual(found.json["units"], [])

    def test_none(self) -> None:
        room = next(iter(ROOMS))
        for args in ((), ("--tree",)):
            result = self.ok("units", "--under", room, *args)
            self.assertEqual(result.out, "")
            self.assertIn(f"No units: Alexa shows none below {room}", result.err)

    def test_a_unit_without_a_name(self) -> None:
        self.alexa.hierarchy[self.property] = (None, self.organization)
        lines = self.ok("units", "--under", ORGANIZATION).lines
        self.assertEqual(lines[1].split(), ["?", self.property])

    def test_a_place_to_start_is_needed(self) -> None:
        result = self.aspctl("units")
        self.assertEqual(result.status, 64)
        self.assertIn("--under", result.err)

    def test_errors(self) -> None:
        result = self.aspctl("units", "--under", f"{UNIT}NOBODY")
        self.assertEqual(result.status, 1)
        self.assertIn("Alexa has no unit with this id for this customer", result.err)
        self.alexa.always["GET /v2"] = PORTAL
        result = self.aspctl("units", "--under", ORGANIZATION)
        self.assertIn("not JSON but an HTML page", result.err)
        self.assertFalse(self.cache.exists(), "a failure is not cached")

    def test_a_busy_alexa_is_asked_again(self) -> None:
        self.alexa.fail_next(2, 429, retry_after=0, path="GET /v2/units")
        self.ok("units", "--under", ORGANIZATION)

    def test_items_without_an_id_are_counted(self) -> None:
        answer = {"results": [{"name": "x"}, {"id": "u"}], "paginationContext": {}}
        self.alexa.fail_next(1, 200, path="GET /v2/units", body=answer)
        result = self.ok("units", "--under", ORGANIZATION)
        self.assertEqual(len(result.lines), 2)
        self.assertIn("1 unit without an id", result.err)


class Devices(UnitsTest):
    def test_the_devices_of_a_unit(self) -> None:
        room = next(iter(ROOMS))
        for number in range(101, 113):
            self.alexa.endpoints[f"amzn1.alexa.endpoint.{number}"] = Endpoint("", unit=room)
        self.alexa.endpoints["amzn1.alexa.endpoint.101"].online = False
        self.alexa.endpoints["amzn1.alexa.endpoint.999"] = Endpoint("", unit=PROPERTY)
        found = self.ok("devices", "--unit", room, "--output", "json").json["devices"]
        self.assertEqual(len(found), 12)
        raw = found[0].pop("raw")
        self.assertEqual((raw["id"], raw["serialNumber"]["value"]["text"]), (found[0]["id"], "G0101"))
        self.assertEqual(
            found[0],
            {
                "id": "amzn1.alexa.endpoint.101",
                "name": "Echo 101",
                "model": "Echo Show 8 (3rd Gen)",
                "serialNumber": "G0101",
                "reachability": "UNREACHABLE",
            },
        )
        lines = self.ok("devices", "--unit", room).lines
        self.assertRegex(lines[2], r"^Echo 102 +Echo Show 8 \(3rd Gen\) +G0102 +OK +amzn1")

    def test_none(self) -> None:
        result = self.ok("devices", "--unit", PROPERTY)
        self.assertEqual(result.out, "")
        self.assertIn(f"No devices: Alexa shows none of {PROPERTY}", result.err)
        found = self.ok("devices", "--unit", PROPERTY, "--output", "json")
        self.assertEqual(found.json["devices"], [])


class Cache(UnitsTest):
    def list(self, *args: str, **env: str) -> Result:
        return self.ok("units", "--under", PROPERTY, "--output", "json", *args, **env)

    def files(self) -> list[Path]:
        return sorted(self.cache.iterdir())

    def test_a_list_is_read_once(self) -> None:
        first = self.list()
        before = len(self.alexa.requests)
        second = self.list()
        self.assertEqual(len(self.alexa.requests), before)
        self.assertEqual(second.json, first.json)
        self.assertIn("--no-cache asks again", second.err)
        self.assertNotIn("--no-cache", first.err)

    def test_no_cache_asks_again(self) -> None:
        self.list()
        calls = self.calls()
        self.alexa.hierarchy[self.property] = ("Renamed", self.organization)
        self.list("--no-cache")
        self.assertEqual(self.calls(), 2 * calls)
        self.list()
        self.assertEqual(self.calls(), 2 * calls, "it is cached again")

    def test_another_question_is_another_list(self) -> None:
        self.list()
        self.ok("units", "--under", ORGANIZATION)
        self.assertEqual(len(self.files()), 2)
        self.list("--search", "105")
        self.assertEqual(len(self.files()), 2, "a search reads the whole list")

    def test_another_customer_does_not_see_it(self) -> None:
        self.list()
        self.alexa.rotates_refresh_token = True
        self.list("--no-cache")
        calls = self.calls()
        [other] = self.alexa._rotated
        self.list(LWA_REFRESH_TOKEN=other)
        self.assertGreater(self.calls(), calls)

    def test_it_is_private_and_names_nobody(self) -> None:
        self.list()
        self.assertEqual(stat.S_IMODE(self.cache.stat().st_mode), 0o700)
        own = self.alexa.credentials
        for file in self.files():
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
            for secret in (own.client_id, own.refresh_token, own.client_secret):
                self.assertNotIn(secret, file.name + file.read_text())

    def age(self, by: timedelta) -> None:
        for file in self.files():
            cached = json.loads(file.read_text())
            at = datetime.now(UTC) - by
            file.write_text(json.dumps(cached | {"readAt": at.isoformat()}))

    def test_it_is_kept_for_ten_minutes(self) -> None:
        self.list()
        calls = self.calls()
        self.age(timedelta(minutes=9))
        self.list()
        self.assertEqual(self.calls(), calls)
        for other in (timedelta(minutes=10), timedelta(minutes=-5)):
            self.age(other)
            self.list()
        self.assertEqual(self.calls(), 3 * calls)

    def test_a_broken_cache_is_none(self) -> None:
        self.list()
        for text in ("", "{", '{"version": 2}', "[]"):
            self.files()[0].write_text(text)
            self.list()
        self.assertIsNotNone(json.loads(self.files()[0].read_text())["items"])

    def test_without_a_folder_nothing_is_cached(self) -> None:
        self.list(HOME="")
        self.list(HOME="/dev/null")
        self.assertFalse(self.cache.exists())

    def test_the_folder_can_be_elsewhere(self) -> None:
        self.list(XDG_CACHE_HOME=str(self.folder / "x"))
        self.assertTrue(os.listdir(self.folder / "x/aspctl"))


class ByName(UnitsTest):
    def setUp(self) -> None:
        super().setUp()
        self.room = next(iter(self.rooms))
        self.alexa.endpoints["amzn1.alexa.endpoint.101"] = Endpoint("", unit=self.room)

    def devices(self, unit: str, **env: str) -> Result:
        return self.aspctl("devices", "--output", "json", "--unit", unit, **env)

    def test_a_name_of_a_list_that_is_kept(self) -> None:
        self.ok("units", "--under", PROPERTY)
        calls = self.calls("/v2/units")
        result = self.devices("room 101")
        self.assertEqual([one["name"] for one in result.json["devices"]], ["Echo 101"])
        self.assertIn(f"room 101 is {self.room}", result.err)
        self.assertEqual(self.calls("/v2/units"), calls)
        self.assertEqual(self.ok("units", "--under", PROPERTY, "--search", "x").status, 0)

    def test_a_narrow_list_says_each_name_once(self) -> None:
        self.ok("units", "--under", PROPERTY)
        entities = {"unit": {"type": "Unit", "id": self.room}}
        self.alexa.add(SUBSCRIPTIONS, {"entities": entities})
        lines = on_terminal(80, "list", env=self.env)
        self.assertIn(f"  unit {self.room} (Room 101)", lines)

    def test_a_name_of_the_organization(self) -> None:
        result = self.devices("Room 101", ASPCTL_ORGANIZATION=ORGANIZATION)
        self.assertEqual(len(result.json["devices"]), 1)
        self.assertEqual(len(self.ok("units", "--under", "Grand Hotel").lines), 1 + len(ROOMS))

    def test_a_name_that_nobody_has(self) -> None:
        for env in ({}, {"ASPCTL_ORGANIZATION": ORGANIZATION}):
            result = self.devices("Room 999", **env)
            self.assertEqual(result.status, 1)
            self.assertIn("the unit Room 999: no unit is known by this name", result.err)
        self.ok("devices", "--unit", "an-opaque-id")

    def test_a_name_of_several(self) -> None:
        self.alexa.hierarchy[self.property] = ("Room 101", self.organization)
        error = self.devices("Room 101", ASPCTL_ORGANIZATION=ORGANIZATION).err
        self.assertIn("several units have this name", error)
        self.assertIn(self.room, error)
        self.assertIn(self.property, error)

    def test_the_subscriptions_of_a_room(self) -> None:
        unit = {"type": "Unit", "id": self.room}
        configuration = self.alexa.add(
            CONFIGURATIONS, {"deliveryChannels": [{"type": "SNS", "id": TOPIC}]}
        )
        event = {"namespace": "Alexa.Automation.Execution", "name": "Completion"}
        self.alexa.add(
            SUBSCRIPTIONS,
            {
                "subscriptionConfigurationId": configuration,
                "eventType": event,
                "entities": {"unit": unit},
            },
        )
        env = {"ASPCTL_ORGANIZATION": ORGANIZATION}
        found = self.ok("list", "--unit", "Room 101", "--output", "json", **env).json["subscriptions"]
        self.assertEqual(len(found), 1)
        found = self.ok("list", "--unit", "Room 102", "--output", "json", **env).json["subscriptions"]
        self.assertEqual(found, [])

    def test_status_takes_a_name(self) -> None:
        # Without an account of AWS it gets as far as the region.
        env = {"AWS_REGION": "", "ASPCTL_ORGANIZATION": ORGANIZATION}
        result = self.aspctl("status", "--unit", "Room 101", **env)
        self.assertEqual(result.status, 1)
        self.assertIn(f"Room 101 is {self.room}", result.err)
        self.assertIn("AWS region", result.err)


    def test_send_takes_names(self) -> None:
        env = {"ASPCTL_ORGANIZATION": ORGANIZATION}
        names = ("--unit", "room 101", "--parent", "Grand Hotel")
        event = json.loads(self.aspctl("send", "skill-failure", "--print", *names, **env).out)
        parent = {"type": "Unit", "id": self.property}
        unit = {"type": "Unit", "id": self.room, "parent": parent}
        self.assertEqual(event["header"]["entities"]["unit"], unit)
        self.assertEqual(event["payload"]["unit"]["id"], self.room)
        unknown = self.aspctl("send", "skill-failure", "--print", "--unit", "Room 999", **env)
        self.assertEqual((unknown.status, unknown.out), (1, ""))

    def test_a_name_that_the_kept_list_lacks_is_asked_for(self) -> None:
        env = {"ASPCTL_ORGANIZATION": ORGANIZATION}
        self.ok("units", "--under", ORGANIZATION)
        new = self.alexa.units.canonical(f"{UNIT}EXAMPLEROOM200")
        self.alexa.hierarchy[new] = ("Room 200", self.property)
        found = self.aspctl("devices", "--unit", "Room 200", **env)
        self.assertIn(f"Room 200 is {new}", found.err)
        unknown = self.aspctl("devices", "--unit", "Room 999", **env)
        self.assertIn("aspctl units --tree shows all", unknown.err)
        # A word may be an id that is written in another way.
        unknown = self.aspctl("units", "--under", "nosuch", **env)
        self.assertIn("nosuch: no unit is known by this name; taken as an id", unknown.err)

    def test_devices_are_found_by_names_that_were_shown(self) -> None:
        no_region = {"AWS_REGION": ""}
        commands = (["send", "device-setup", "--print"], ["wait"], ["status"])
        for command in commands:
            refused = self.aspctl(*command, "--device", "Echo 101", **no_region)
            self.assertEqual((refused.status, refused.out), (1, ""), refused.err)
            self.assertIn("the device Echo 101: no device is known by this name", refused.err)
            self.assertIn("aspctl devices --unit UNIT", refused.err)
        [device] = self.ok("devices", "--unit", self.room, "--output", "json").json["devices"]
        for command in commands:
            found = self.aspctl(*command, "--device", device["name"].upper(), **no_region)
            self.assertIn(f"{device['name'].upper()} is {device['id']}", found.err)
        # A unit is no device.
        self.ok("units", "--under", PROPERTY)
        refused = self.aspctl("status", "--device", "Room 101", **no_region)
        self.assertIn("no device is known by this name", refused.err)

    def test_tail_and_replay_take_names(self) -> None:
        # Without an account of AWS they get as far as the region.
        env = {"AWS_REGION": "", "ASPCTL_ORGANIZATION": ORGANIZATION}
        for command in (["tail"], ["replay", "on-failure"]):
            result = self.aspctl(*command, "--unit", "Room 101", **env)
            self.assertIn(f"Room 101 is {self.room}", result.err)
            self.assertIn("AWS region", result.err)


class InFiles(UnitsTest):
    """Files name units by their names, and all units below one."""

    def setUp(self) -> None:
        super().setUp()
        self.env |= {"ASPCTL_ORGANIZATION": ORGANIZATION}
        self.file = self.folder / "subscriptions.toml"
        self.write(f'units_under = "{PROPERTY}"')

    def write(self, *fields: str, more: str = "") -> None:
        """Writes a file with an entry for each of the fields."""
        text = f'topic = "{TOPIC}"\n'
        for field in fields:
            text += f'[[subscription]]\nevents = ["{COMPLETION}"]\n{field}\n'
        self.file.write_text(text + more)

    def file_command(self, command: str, *args: str, **env: str) -> Result:
        return self.aspctl(command, "--file", str(self.file), *args, **env)

    def done(self, command: str, *args: str) -> Result:
        return self.ok(command, "--file", str(self.file), *args)

    def refused(self, command: str, *args: str, **env: str) -> str:
        """The error of a command that changes nothing."""
        before = [one.id for one in self.alexa.subscriptions]
        result = self.file_command(command, *args, **env)
        self.assertEqual(result.status, 1, result.out)
        self.assertEqual([one.id for one in self.alexa.subscriptions], before)
        return result.err

    def subscribed(self) -> list[str]:
        return [one.body["entities"]["unit"]["id"] for one in self.alexa.subscriptions]

    def test_all_units_below_a_property(self) -> None:
        plan = self.done("plan")
        place = f"{self.file}, line 4"
        self.assertIn(f"Below {PROPERTY}: {len(ROOMS)} units ({place})", plan.lines)
        self.assertIn(f"unit {next(iter(self.rooms))} (Room 101)", plan.out)
        self.assertIn(f"{len(ROOMS)} to create", plan.out)
        self.done("apply")
        self.assertCountEqual(self.subscribed(), self.rooms)
        self.assertIn(f"Nothing to do: {len(ROOMS)} subscriptions match", self.done("plan").out)
        plan = self.done("plan", "--output", "json").json
        [below] = plan["unitsUnder"]
        self.assertEqual((below["under"], below["origin"]), (PROPERTY, place))
        rooms = [{"id": id, "name": name} for id, name in self.rooms.items()]
        self.assertEqual(below["units"], rooms)

    def test_all_levels_count_and_the_unit_itself_does_not(self) -> None:
        self.write(f'units_under = "{ORGANIZATION}"')
        self.done("apply")
        self.assertCountEqual(self.subscribed(), [self.property, *self.rooms])

    def test_each_unit_with_each_skill(self) -> None:
        more = f'''[[subscription]]
events = ["Alexa.Skill.Interaction.Failure"]
units_under = "grand hotel"
skills = ["amzn1.ask.skill.example-1", "amzn1.ask.skill.example-2"]
'''
        self.write(more=more)
        self.assertIn(f"{2 * len(ROOMS)} to create", self.done("plan").out)

    def test_names_stand_for_units_parents_and_resources(self) -> None:
        more = '''[[subscription]]
events = ["Alexa.Enterprise.Subscription.Activation"]
parents = ["Grand Hotel"]
[[subscription]]
events = ["Alexa.Role.Management.Assignment"]
resources = ["grand hotel"]
'''
        self.write(f'units = ["room 101", "{list(self.rooms)[1]}"]', more=more)
        self.done("apply")
        entities = [one.body["entities"] for one in self.alexa.subscriptions]
        unit = [one["unit"]["id"] for one in entities if "id" in one.get("unit", {})]
        self.assertCountEqual(unit, list(self.rooms)[:2])
        self.assertIn({"unit": {"parent": {"type": "Unit", "id": self.property}}}, entities)
        [resource] = [one["resource"] for one in entities if "resource" in one]
        self.assertEqual(resource["resourceId"], self.property)

    def test_what_is_new_and_what_is_gone_is_drift(self) -> None:
        self.done("apply")
        gone, *_ = self.rooms
        new = self.alexa.units.canonical(f"{UNIT}EXAMPLEROOM200")
        del self.alexa.hierarchy[gone]
        self.alexa.unit_statuses[gone] = 404
        self.alexa.hierarchy[new] = ("Room 200", self.property)
        plan = self.file_command("plan", "--prune", "--detailed-exitcode")
        self.assertEqual(plan.status, 2, plan.err)
        self.assertIn(f"+ create  {COMPLETION}  unit {new} (Room 200)", plan.lines)
        self.assertRegex(plan.out, rf"- delete  {COMPLETION}  unit {gone}.*\(not in the file\)")
        self.done("apply")
        self.assertIn(gone, self.subscribed(), "nothing is deleted without --prune")
        self.done("apply", "--prune", "--yes")
        self.assertCountEqual(self.subscribed(), [*list(self.rooms)[1:], new])

    def test_a_list_that_is_kept_decides_nothing(self) -> None:
        self.ok("units", "--under", PROPERTY)
        self.ok("units", "--under", ORGANIZATION)
        new = self.alexa.units.canonical(f"{UNIT}EXAMPLEROOM200")
        self.alexa.hierarchy[new] = ("Room 200", self.property)
        self.write('units_under = "Grand Hotel"')
        self.done("apply")
        self.assertIn(new, self.subscribed())
        first, second, *_ = self.rooms
        self.alexa.hierarchy[first] = ("Room 102", self.property)
        self.alexa.hierarchy[second] = ("Room 101", self.property)
        self.write('units = ["Room 101"]')
        [created] = self.done("plan", "--output", "json").json["unchanged"]
        self.assertEqual(created["entities"]["unit"]["id"], second)

    def test_an_empty_list_deletes_nothing(self) -> None:
        self.done("apply")
        self.alexa.hierarchy = {self.property: ("Grand Hotel", self.organization)}
        for command in (["plan"], ["apply"], ["apply", "--prune", "--yes"]):
            error = self.refused(*command)
            self.assertIn(f"{self.file}, line 4, column 15: Alexa shows no unit below", error)
            self.assertIn("Nothing was changed", error)

    def test_a_failed_list_deletes_nothing(self) -> None:
        self.done("apply")
        place = "line 4, column 15"
        for times, status, said in ((7, 503, "503"), (1, 404, place), (1, 403, "403")):
            with self.subTest(status):
                self.alexa.fail_next(times, status, path="GET /v2/units")
                self.assertIn(said, self.refused("apply", "--prune", "--yes"))

    def test_an_incomplete_list_deletes_nothing(self) -> None:
        self.done("apply")
        unit = {"id": next(iter(self.rooms)), "parentId": self.property}
        answer = {"results": [unit, {"name": "?"}], "paginationContext": {}}
        self.alexa.fail_next(1, 200, path="GET /v2/units", body=answer)
        error = self.refused("apply", "--prune", "--yes")
        self.assertIn("is incomplete: it shows no id of 1 of 2", error)

    def test_a_truncated_list_deletes_nothing(self) -> None:
        self.done("apply")
        unit = {"id": next(iter(self.rooms)), "parentId": self.property}
        answer = {"results": [unit], "paginationContext": {}}
        prune = ["apply", "--prune", "--yes", "--max-delete", "100%"]
        for command in (prune, ["plan", "--prune"]):
            self.alexa.fail_next(1, 200, path="GET /v2/units", body=answer)
            error = self.refused(*command)
            self.assertIn("Alexa's list of units is incomplete: it lacks", error)
            self.assertIn("one of 24", error)

    def test_what_no_entry_asks_for_is_deleted_although_its_unit_is_on_a_list(self) -> None:
        skill = f'units_under = "{PROPERTY}"\nskills = ["amzn1.ask.skill.example-1"]'
        more = f'[[subscription]]\nevents = ["Alexa.Skill.Interaction.Failure"]\n{skill}\n'
        self.write(f'units_under = "{PROPERTY}"', more=more)
        self.done("apply")
        prune = ["apply", "--prune", "--yes", "--max-delete", "100%"]
        # Fewer units of one kind of event, while the other has all of them.
        self.write('units = ["Room 101"]', more=more)
        self.done(*prune)
        self.assertEqual(len(self.subscribed()), 1 + len(ROOMS))
        # No more of one kind of event, and all units of the other.
        self.write(f'units_under = "{PROPERTY}"')
        self.done(*prune)
        self.assertCountEqual(self.subscribed(), self.rooms)
        # From all units of the organization to those of a property.
        self.write(f'units_under = "{ORGANIZATION}"')
        self.done("apply")
        self.write(f'units_under = "{PROPERTY}"')
        self.done(*prune)
        self.assertCountEqual(self.subscribed(), self.rooms)

    def test_a_list_is_truncated_although_another_one_has_all(self) -> None:
        skill = f'units_under = "{ORGANIZATION}"\nskills = ["amzn1.ask.skill.example-1"]'
        more = f'[[subscription]]\nevents = ["Alexa.Skill.Interaction.Failure"]\n{skill}\n'
        self.write(f'units_under = "{PROPERTY}"', more=more)
        self.done("apply")
        unit = {"id": next(iter(self.rooms)), "parentId": self.property}
        answer = {"results": [unit], "paginationContext": {}}
        # The first list that is read.
        self.alexa.fail_next(1, 200, path="GET /v2/units", body=answer)
        error = self.refused("apply", "--prune", "--yes", "--max-delete", "100%")
        self.assertIn(f"{self.file}, line 4: Alexa's list of units is incomplete", error)

    def test_names_that_do_not_stand_for_one_unit(self) -> None:
        self.alexa.hierarchy[self.property] = ("Room 101", self.organization)
        self.write('units = ["Room 101", "Room 999"]', 'units_under = "Room 998"')
        error = self.refused("apply")
        place = f"{self.file}, line 4, column 10"
        self.assertIn(f'{place}: several units have the name "Room 101"', error)
        first = min(self.property, next(iter(self.rooms)))
        self.assertIn(f"Write one of these ids: {first}", error)
        unknown = "no unit of the organization has the name"
        self.assertIn(f'line 4, column 22: {unknown} "Room 999"', error)
        self.assertIn(f'line 7, column 15: {unknown} "Room 998"', error)
        error = self.refused("plan", ASPCTL_ORGANIZATION="")
        self.assertIn("Set ASPCTL_ORGANIZATION to the organization's id", error)

    def test_entries_that_overlap(self) -> None:
        room = next(iter(self.rooms))
        under = f'units_under = "{PROPERTY}"'
        self.write(f'units = ["{room}"]\nheader_version = "V2"', under, under)
        plan = self.done("plan", "--output", "json").json
        self.assertEqual(len(plan["create"]), len(ROOMS), "the room's own entry counts")
        self.done("apply")
        version = {
            one.body["entities"]["unit"]["id"]: one.body.get("eventHeaderVersion")
            for one in self.alexa.subscriptions
        }
        self.assertEqual([id for id, shown in version.items() if shown == "V2"], [room])
        self.write(under, f'{under}\nheader_version = "V2"')
        error = self.refused("plan")
        self.assertIn("line 7, column 15: it wants another header version or duration than", error)
        self.write(f'units = ["{room}", "Room 101"]')
        self.assertIn("it duplicates", self.refused("plan"))

    def test_doctor_asks_for_the_units_too(self) -> None:
        self.done("apply")
        shown = self.file_command("doctor", AWS_REGION="").out
        self.assertRegex(shown, rf"subscriptions file +names {len(ROOMS)} subscriptions")
        self.alexa.hierarchy = {self.property: ("Grand Hotel", self.organization)}
        shown = self.file_command("doctor", AWS_REGION="").out
        self.assertIn(f"Alexa shows no unit below {PROPERTY}", shown)

    def test_destroy_needs_no_units(self) -> None:
        self.done("apply")
        self.alexa.hierarchy = {self.property: ("Grand Hotel", self.organization)}
        self.done("destroy", "--yes")
        self.assertEqual(self.alexa.subscriptions, [])


class Names(UnitsTest):
    def setUp(self) -> None:
        super().setUp()
        self.room = next(iter(self.rooms))
        self.file = self.folder / "subscriptions.toml"
        self.file.write_text(
            f'topic = "{TOPIC}"\n[[subscription]]\n'
            f'events = ["Alexa.Automation.Execution.Completion"]\nunits = ["{self.room}"]\n'
        )

    def test_plan_and_list_show_them_once_they_are_known(self) -> None:
        file = ("--file", str(self.file))
        self.assertNotIn("Room 101", self.ok("plan", *file).out)
        self.ok("units", "--under", PROPERTY)
        self.assertIn(f"unit {self.room} (Room 101)", self.ok("plan", *file).out)
        self.assertIn(f"unit {self.room} (Room 101)", self.ok("apply", *file).err)
        lines = self.ok("list", "subscriptions").lines
        self.assertIn(f"{self.room} (Room 101)", lines[1])
        for command in (["plan", *file], ["list"]):
            self.assertNotIn("Room 101", self.ok(*command, "--output", "json").out)

    def test_commands_that_do_not_log_in_show_them_too(self) -> None:
        """explain stands for all: names are learned before any command. It calls nobody."""
        sample = (ROOT / "events/skill-failure-timeout.json").read_text()
        event = sample.replace(f"{UNIT}EXAMPLEROOM102", self.room)
        explain = ("explain", "-")
        self.assertNotIn("Room 101", self.given(event, *explain).out)
        self.ok("units", "--under", PROPERTY)
        calls = len(self.alexa.requests)
        shown = self.given(event, *explain).lines
        self.assertIn(f"   unit         {self.room} (Room 101)", shown)
        # What is published is shown as it is.
        self.assertIn(f"   attribute    unitId = {self.room}", shown)
        self.assertFalse([line for line in shown if '"' in line and "Room 101" in line])
        self.assertNotIn("Room 101", self.given(event, *explain, "--output", "json").out)
        for without in ({"LWA_CLIENT_ID": ""}, {"ASPCTL_CREDENTIALS_FILE": "/nowhere"}):
            done = self.given(event, *explain, **without)
            self.assertEqual((done.status, done.err), (0, ""))
            self.assertNotIn("Room 101", done.out)
        self.assertEqual(len(self.alexa.requests), calls)

    def given(self, stdin: str, *args: str, **env: str) -> Result:
        return run(*args, env=self.env | env, stdin=stdin)

    def test_errors_show_them(self) -> None:
        self.ok("units", "--under", PROPERTY)
        entry = self.file.read_text().partition("\n")[2]
        self.file.write_text(f'topic = "{TOPIC}"\n{entry}{entry}')
        error = self.aspctl("plan", "--file", str(self.file)).err
        self.assertIn(f"unit {self.room} (Room 101)", error)
        self.assertIn(f'units = ["{self.room}"]', error, "the line of the file stays as it is")

    def test_credentials_from_a_pipe_are_read_once(self) -> None:
        own = self.alexa.credentials
        text = f'client_id = "{own.client_id}"\nclient_secret = "{own.client_secret}"\n'
        text += f'refresh_token = "{own.refresh_token}"\n'
        read, write = os.pipe()
        os.write(write, text.encode())
        os.close(write)
        self.addCleanup(os.close, read)
        done = subprocess.run(
            [ASPCTL, "list", "--credentials-file", f"/dev/fd/{read}"],
            env=OWN | self.env,
            pass_fds=[read],
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_list_of_names_has_each_once(self) -> None:
        """Also when it comes from the cache, or the unit above is given by its name."""
        self.alexa.endpoints["amzn1.alexa.endpoint.101"] = Endpoint("", unit=self.room)
        for _ in range(2):
            for args, name in (
                (("units", "--under", "grand hotel"), "Room 101"),
                (("devices", "--unit", "room 101"), "Echo 101"),
            ):
                shown = self.ok(*args, ASPCTL_ORGANIZATION=ORGANIZATION).out
                self.assertEqual(shown.count(name), 1, shown)

    def test_a_name_cannot_change_the_terminal(self) -> None:
        self.alexa.hierarchy[self.room] = ("\x1b[2JRoom", self.property)
        self.ok("units", "--under", PROPERTY)
        shown = self.ok("plan", "--file", str(self.file)).out
        self.assertIn("(\ufffd[2JRoom)", shown)


if __name__ == "__main__":
    unittest.main()
