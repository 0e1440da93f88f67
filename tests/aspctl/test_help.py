"""What aspctl says about itself: help, completions of shells, and man pages.

That each command has examples, and that each example can be parsed, is tested in aspctl/src/help.
"""

from __future__ import annotations

import re
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path

from tool import Result, run

SECTIONS = ("Examples", "Exit status", "Environment")


def ok(*args: str | Path) -> Result:
    result = run(*args)
    assert result.status == 0, f"{args}\n{result.out}\n{result.err}"
    return result


def commands_of(*parents: str) -> Iterator[tuple[str, ...]]:
    """The commands that the help names, with those below them."""
    shown = ok(*parents, "-h").out
    _, has_commands, below = shown.partition("\nCommands:\n")
    names = re.findall(r"(?m)^  (\S+)", below.partition("\n\n")[0]) if has_commands else []
    for name in names:
        if name != "help":
            yield (*parents, name)
            yield from commands_of(*parents, name)


class HelpTest(unittest.TestCase):
    def test_without_a_command_the_help_is_shown(self) -> None:
        """Also where a variable sets an option, as in the shell of a playground."""
        variables = {"ASPCTL_STACK": "other", "ASPCTL_ALEXA_BACKOFF": "1ms"}
        for args, usage in {
            (): "Usage: aspctl [OPTIONS] <COMMAND>",
            ("quarantine",): "Usage: aspctl quarantine",
        }.items():
            for env in ({}, variables):
                with self.subTest(args=args, env=env):
                    shown = run(*args, env=env)
                    self.assertEqual((shown.status, shown.out), (64, ""))
                    self.assertIn(usage, shown.err)
                    self.assertIn("Commands:\n", shown.err)
                    self.assertNotIn("error:", shown.err)
        only_options = run("--quiet", env=variables)
        self.assertEqual(only_options.status, 64)
        self.assertIn("error: ", only_options.err)

    def test_the_long_help_ends_with_examples_statuses_and_variables(self) -> None:
        commands = list(commands_of())
        self.assertIn(("quarantine", "list"), commands)
        self.assertIn(("completion",), commands)
        for command in [(), *commands]:
            with self.subTest(command):
                shown = ok(*command, "--help").out
                places = [shown.index(f"\n{title}:\n") for title in SECTIONS]
                self.assertEqual(places, sorted(places))
                self.assertRegex(shown, rf"(?m)^  {' '.join(('aspctl', *command))}\b")
                self.assertNotIn("\x1b", shown)

    def test_the_short_help_leaves_out_how_to_reach_alexa(self) -> None:
        short, long = (ok("wait", option).out for option in ("-h", "--help"))
        for text in ("--alexa-url", *(f"\n{title}:\n" for title in SECTIONS)):
            self.assertNotIn(text, short)
            self.assertIn(text, long)
        self.assertIn("--stack", short)

    def test_headings_are_coloured_where_somebody_asks(self) -> None:
        coloured = run("wait", "--help", env={"CLICOLOR_FORCE": "1"}).out
        self.assertRegex(coloured, r"\x1b\[\S*Exit status:")


class GeneratedTest(unittest.TestCase):
    def test_completions(self) -> None:
        for shell in ("bash", "zsh", "fish", "elvish", "powershell"):
            with self.subTest(shell):
                script = ok("completion", shell).out
                self.assertIn("quarantine", script)
                earlier = ok("generate", "completions", shell).out
                self.assertEqual(earlier, script, "the name of earlier versions")
        self.assertNotIn("completions", ok("generate", "-h").out)

    def test_each_command_has_a_man_page_with_its_sections(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory())) / "man1"
        ok("generate", "man", folder)
        pages = {page.name: page.read_text() for page in folder.iterdir()}
        expected = {"-".join(("aspctl", *command)) + ".1" for command in commands_of()}
        self.assertEqual(pages.keys(), expected | {"aspctl.1"})
        for name, text in pages.items():
            with self.subTest(name):
                titles = re.findall(r'(?m)^\.SH "?([^"\n]+)"?$', text)
                sections = [title for title in titles if title.capitalize() in SECTIONS]
                self.assertEqual(sections, [title.upper() for title in SECTIONS])
                self.assertLessEqual({"NAME", "SYNOPSIS", "OPTIONS"}, set(titles))
                self.assertNotIn("\x1b", text)
        self.assertIn("timed out", pages["aspctl-wait.1"])
        self.assertIn("ASPCTL_FILE", pages["aspctl-plan.1"])


if __name__ == "__main__":
    unittest.main()
