"""A simulation of Buffered: the queue, the event source mapping, the function and its table.

It is deterministic, and advances in ticks of a tenth of a second. tests/scale.py runs it and writes
its results into docs/operations.md.

How AWS behaves is taken from its guides; how the function behaves, from docs/reliability.md. What
is simplified makes the results worse, not better: the table does not grow, takes in a burst what it
takes in a second and no more, and a poller receives no messages while its batch is processed.
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import exp, log
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import cost  # noqa: E402
from resolved import ResolvedTemplate  # noqa: E402

TICKS_A_SECOND = 10
LONGEST_RUN = 6 * 3600  # seconds

# ── AWS ──────────────────────────────────────────────────────────────────────────────────────────

# AWS Lambda Developer Guide, "Configuring scaling behavior for SQS event source mappings".
FIRST_POLLERS = 5
POLLERS_A_MINUTE = 300
# The same before November 2023, which other pages still have.
FORMER_POLLERS_A_MINUTE = 60
# Amazon SQS Developer Guide, "Amazon SQS standard queue quotas".
IN_FLIGHT = 120_000

# ── The function: docs/reliability.md, "When the ledger is throttled" ────────────────────────────

# The part of an invocation's time for which a batch waits for a throttled table.
PATIENCE = 1 / 3
CLAIM_UNITS = 1  # write units, for each event
SETTLE_UNITS = 1
# Each of the stages that ask the table takes a tick. The rest of the duration is the delivery's.
TABLE_STAGES = 3


@dataclass(frozen=True)
class BufferedStack:
    """The settings that decide how a stack in Buffered mode keeps up."""

    batch_size: int
    window: int  # seconds
    concurrency: int
    visibility: int  # seconds
    max_receives: int
    timeout: int  # seconds
    write_units: float  # what the table takes in a second
    pollers_a_minute: int = POLLERS_A_MINUTE
    slowness: float = 1  # how many times as long as assumed an invocation takes

    @staticmethod
    def of(template: ResolvedTemplate, write_units: float) -> BufferedStack:
        """The settings of a template, with a table that takes so many write units."""
        queue = template.resources["IngestionQueue"]["Properties"]
        mapping = template.resources["IngestionMapping"]["Properties"]
        function = template.resources["AspEventsFunction"]["Properties"]
        return BufferedStack(
            batch_size=int(mapping["BatchSize"]),
            window=int(mapping["MaximumBatchingWindowInSeconds"]),
            concurrency=int(mapping["ScalingConfig"]["MaximumConcurrency"]),
            visibility=int(queue["VisibilityTimeout"]),
            max_receives=int(queue["RedrivePolicy"]["maxReceiveCount"]),
            timeout=int(function["Timeout"]),
            write_units=write_units,
        )


@dataclass(frozen=True)
class Arrivals:
    """When events arrive: evenly, from the start, for so long. 0 seconds: all at once."""

    name: str
    events: int
    seconds: int

    def until(self, tick: int) -> int:
        """How many have arrived by then."""
        ticks = self.seconds * TICKS_A_SECOND
        return self.events if tick >= ticks else self.events * (tick + 1) // (ticks + 1)


@dataclass
class SimulationResult:
    """What happened."""

    backlog: int = 0  # the most messages that were visible
    oldest: float = 0  # seconds from arrival to effect, the longest
    drained: float = 0  # seconds until the last effect
    handled: int = 0
    dead_lettered: int = 0
    received_again: int = 0  # how often a message was received once more
    unrecorded: int = 0  # events that took effect, which the table does not know
    in_flight: int = 0  # the most
    concurrency: int = 0  # the most
    invocations: int = 0


@dataclass
class MessageGroup:
    """Messages that arrived together and were received equally often."""

    sent: int  # tick
    receives: int
    count: int


@dataclass
class MessageBatch:
    """What a poller has received for one invocation."""

    opened: int  # tick
    groups: list[MessageGroup] = field(default_factory=list)
    count: int = 0


@dataclass
class BatchInvocation:
    """An invocation of the function: claim, count or store, deliver, settle."""

    batch: MessageBatch
    patient_until: int  # tick
    stage: str = "claim"
    claimed: float = 0
    delivered: int = 0


class ThrottledTable:
    """Shares what a table takes among those who want to write. Each write is equally likely."""

    def __init__(self, units_a_second: float) -> None:
        self.most = units_a_second
        self.free = units_a_second
        self.wanted = 0.0
        # The logarithm of the part of all wishes that is left, since the start.
        self.left = 0.0
        self.numbers = count()
        self.asking: list[tuple[int, int, BatchInvocation, float, float]] = []

    def ask(self, invocation: BatchInvocation, units: float, until: int) -> None:
        """Wants to write so much, until this tick at the latest."""
        self.wanted += units
        heappush(self.asking, (until, next(self.numbers), invocation, units, self.left))

    def grant(self, tick: int) -> Iterator[tuple[BatchInvocation, float]]:
        """Those whose asking ends with this tick, and the part that they got."""
        self.free = min(self.free + self.most / TICKS_A_SECOND, self.most)
        if self.wanted <= self.free:
            self.free -= self.wanted
            self.wanted = 0.0
            done, self.asking = self.asking, []
            yield from ((invocation, 1.0) for _, _, invocation, _, _ in sorted(done))
            return
        part = self.free / self.wanted
        self.free, self.wanted = 0.0, self.wanted * (1 - part)
        self.left += log(1 - part)
        while self.asking and self.asking[0][0] <= tick:
            _, _, invocation, units, left_before = heappop(self.asking)
            left = exp(self.left - left_before)
            self.wanted -= units * left
            yield invocation, 1 - left


class BufferedSimulation:
    """The queue and everything behind it."""

    def __init__(self, stack: BufferedStack, arrivals: Arrivals, kinds: list[cost.EventKind]):
        self.stack, self.arrivals = stack, arrivals
        between = [kind.buffered.write_units - CLAIM_UNITS - SETTLE_UNITS for kind in kinds]
        # The write units between claim and delivery: on average, and the part without any.
        self.between_units = sum(between) / len(between)
        self.without_between = between.count(0) / len(between)
        self.patience = int(stack.timeout * PATIENCE * TICKS_A_SECOND)
        self.visible: deque[MessageGroup] = deque()
        self.visible_count = 0
        self.hidden: defaultdict[int, list[MessageGroup]] = defaultdict(list)
        self.hidden_count = 0
        self.gathering: list[MessageBatch] = []
        self.table = ThrottledTable(stack.write_units)
        # By the tick at which their effects are there.
        self.delivering: defaultdict[int, list[BatchInvocation]] = defaultdict(list)
        self.running = 0
        self.processed_count = 0
        self.pollers = float(min(FIRST_POLLERS, stack.concurrency))
        self.tick = 0
        self.arrived = 0
        self.result = SimulationResult()

    def run(self) -> SimulationResult:
        result = self.result
        while result.handled + result.dead_lettered < self.arrivals.events:
            if self.tick > LONGEST_RUN * TICKS_A_SECOND:
                raise RuntimeError("the simulation does not end")
            self._arrive()
            self._return_hidden()
            self._advance()
            self._gather()
            self._scale()
            self._observe()
            self.tick += 1
        return result

    # ── The queue ──

    def _arrive(self) -> None:
        arrived = self.arrivals.until(self.tick)
        if new := arrived - self.arrived:
            self._show(MessageGroup(self.tick, 0, new))
        self.arrived = arrived

    def _show(self, group: MessageGroup) -> None:
        self.visible.append(group)
        self.visible_count += group.count

    def _return_hidden(self) -> None:
        for group in self.hidden.pop(self.tick, []):
            self.hidden_count -= group.count
            if group.receives < self.stack.max_receives:
                self._show(group)
            else:
                self.result.dead_lettered += group.count

    def _receive(self, batch: MessageBatch, most: int) -> None:
        """Moves up to so many messages into a batch."""
        while most and self.visible:
            group = self.visible[0]
            taken = min(group.count, most)
            if group.receives:
                self.result.received_again += taken
            batch.groups.append(MessageGroup(group.sent, group.receives + 1, taken))
            batch.count += taken
            self.visible_count -= taken
            most -= taken
            group.count -= taken
            if not group.count:
                self.visible.popleft()

    # ── The event source mapping ──

    def _gather(self) -> None:
        """Spreads the visible messages over the pollers, and invokes what is full or due."""
        batches, room = self.gathering, IN_FLIGHT - self._count_in_flight()
        idle = int(self.pollers) - self.running - len(self.gathering)
        used = max(0, min(idle, self.visible_count, room))
        batches = batches + [MessageBatch(self.tick) for _ in range(used)]
        share = -(-self.visible_count // len(batches)) if batches else 0
        for batch in batches:
            most = min(share, self.stack.batch_size - batch.count, room)
            before = batch.count
            self._receive(batch, most)
            room -= batch.count - before
        window = self.stack.window * TICKS_A_SECOND
        self.gathering = []
        for batch in batches:
            is_due = self.tick - batch.opened >= window
            if batch.count == self.stack.batch_size or (batch.count and is_due):
                self._invoke(batch)
            elif batch.count:
                self.gathering.append(batch)

    def _scale(self) -> None:
        """Adds pollers while messages are left, and takes them away while none are."""
        step = self.stack.pollers_a_minute / 60 / TICKS_A_SECOND
        least = min(FIRST_POLLERS, self.stack.concurrency)
        if self.visible:
            self.pollers = min(self.pollers + step, self.stack.concurrency)
        elif self.running + len(self.gathering) < self.pollers:
            self.pollers = max(self.pollers - step, least)

    def _count_in_flight(self) -> int:
        gathering = sum(batch.count for batch in self.gathering)
        return gathering + self.processed_count + self.hidden_count

    # ── The function ──

    def _invoke(self, batch: MessageBatch) -> None:
        self.result.invocations += 1
        self.running += 1
        self.processed_count += batch.count
        invocation = BatchInvocation(batch, self.tick + self.patience)
        self.table.ask(invocation, batch.count * CLAIM_UNITS, invocation.patient_until)

    def _advance(self) -> None:
        """Takes invocations to their next stages."""
        for invocation, part in list(self.table.grant(self.tick)):
            self._next_stage(invocation, part)
        for invocation in self.delivering.pop(self.tick, []):
            self._deliver(invocation)

    def _next_stage(self, invocation: BatchInvocation, part: float) -> None:
        """Ends a stage in which the table took this part of what it was asked for."""
        batch = invocation.batch
        if invocation.stage == "claim":
            invocation.stage, invocation.claimed = "count or store", batch.count * part
            units = invocation.claimed * self.between_units
            # It asks at least once, even if claiming took all the patience.
            self.table.ask(invocation, units, max(invocation.patient_until, self.tick + 1))
        elif invocation.stage == "count or store":
            part = self.without_between + (1 - self.without_between) * part
            invocation.stage = "settle"
            invocation.delivered = int(invocation.claimed * part + 1e-6)
            seconds = cost.duration(batch.count) * self.stack.slowness
            ticks = round(seconds * TICKS_A_SECOND) - TABLE_STAGES
            self.delivering[self.tick + max(ticks, 1)].append(invocation)
        else:
            # Completions and releases are equally likely to be written.
            self.result.unrecorded += round(invocation.delivered * (1 - part))
            self.running -= 1
            self.processed_count -= invocation.delivered

    def _deliver(self, invocation: BatchInvocation) -> None:
        """The effects of the events, and what becomes of those whose turn did not come."""
        left, result = invocation.delivered, self.result
        back = invocation.batch.opened + self.stack.visibility * TICKS_A_SECOND
        for group in invocation.batch.groups:
            done = min(left, group.count)
            left -= done
            if done:
                age = (self.tick - group.sent) / TICKS_A_SECOND
                result.oldest = max(result.oldest, age)
                result.drained = self.tick / TICKS_A_SECOND
                result.handled += done
            if failed := group.count - done:
                self.hidden[back].append(MessageGroup(group.sent, group.receives, failed))
                self.hidden_count += failed
                self.processed_count -= failed
        self.table.ask(invocation, invocation.claimed * SETTLE_UNITS, self.tick + self.patience)

    def _observe(self) -> None:
        result = self.result
        result.backlog = max(result.backlog, self.visible_count)
        result.in_flight = max(result.in_flight, self._count_in_flight())
        result.concurrency = max(result.concurrency, self.running)


def kind_with_most_writes() -> cost.EventKind:
    """The kind of event that needs the most write units."""
    return max(cost.KINDS, key=lambda kind: kind.buffered.write_units)


def safe_concurrency(stack: BufferedStack) -> int:
    """The most batches that a table takes at once before events of any kind fail.

    Within the patience of its invocation, each event has to be claimed, and counted or stored.
    """
    units = kind_with_most_writes().buffered.write_units - SETTLE_UNITS
    return int(stack.write_units * stack.timeout * PATIENCE / (stack.batch_size * units))
