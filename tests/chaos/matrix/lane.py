"""One database's faults, one after the other."""

import asyncio
import random
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.chaos.matrix import (  # noqa: F401 - importing them fills the matrix
    clients,
    clocks,
    databases,
    doorbells,
    leaks,
    longer,
    networks,
    redis,
    runs,
    silence,
    storage,
    storm,
    strangers,
    tools,
    workers,
)
from tests.chaos.matrix.report import EXPLAINED, FAILED, NOT_PLAYED, Row
from tests.chaos.matrix.scene import FAULTS, Fault, NotPlayed, Scene
from tests.stack import Workshop


def chosen(wanted: Iterable[str]) -> list[Fault]:
    """The faults of these names or numbers, all where none is given. Raises SystemExit."""
    faults = sorted(FAULTS, key=lambda fault: (fault.number, fault.name))
    wanted = list(wanted)
    known = {fault.slug for fault in faults} | {str(fault.number) for fault in faults}
    if unknown := set(wanted) - known:
        names = ", ".join(f"{fault.number} {fault.slug}" for fault in faults)
        raise SystemExit(f"There is no fault {', '.join(sorted(unknown))}. There are: {names}")
    return [fault for fault in faults if not wanted or {fault.slug, str(fault.number)} & set(wanted)]


class Lane:
    def __init__(self, database: str, seed: int, tell: Callable[[str], None], out: Path | None, **how: int) -> None:
        self.database, self.seed, self.tell, self.out, self.how = database, seed, tell, out, how

    def play(self, faults: list[Fault], until: float) -> list[Row]:
        """Play the faults; those for which no time is left are told as failed: a run cut short proves nothing."""
        workshop = Workshop()
        scene = Scene(workshop, self.database, random.Random(self.seed), self.tell, **self.how)
        rows = []
        try:
            for fault in faults:
                rows.append(self._play(fault, scene, until))
                row = rows[-1]
                counted = " ".join(f"{name} {count}" for name, count in row.counts.items())
                self.tell(f"{row.number:>3} {row.name}: {row.outcome} in {row.seconds:.0f} s. {counted} {row.note}")
        finally:
            scene.end()
            workshop.end()
        return rows

    def _play(self, fault: Fault, scene: Scene, until: float) -> Row:
        if fault.play is None:
            return Row.without(fault, self.database, EXPLAINED, fault.why_not)
        if fault.only and fault.only != self.database:
            return Row.without(fault, self.database, EXPLAINED, f"played on {fault.only} alone")
        if time.time() > until:
            return Row.without(fault, self.database, FAILED, "no time was left for it")
        # Each fault's choices hang on the seed and its name alone, so that it can be repeated by itself.
        scene.dice = random.Random(f"{self.seed} {self.database} {fault.slug}")
        begun = time.monotonic()
        failed = True
        try:
            found = asyncio.run(asyncio.wait_for(fault.play(scene), fault.within_s))
            row = Row.of(fault, self.database, found, time.monotonic() - begun)
            failed = row.failed
        except NotPlayed as reason:
            row = Row.without(fault, self.database, NOT_PLAYED, str(reason))
        except (Exception, asyncio.CancelledError) as problem:
            said = f"{type(problem).__name__}: {problem}"[:1000]
            row = Row.without(fault, self.database, FAILED, said, time.monotonic() - begun)
            self._keep_logs(fault, scene, traceback.format_exc())
        else:
            if row.failed:
                self._keep_logs(fault, scene, row.note)
        scene.clear(failed=failed)
        return row

    def _keep_logs(self, fault: Fault, scene: Scene, said: str) -> None:
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            log = self.out / f"{fault.number}-{fault.slug}-{self.database}.log"
            log.write_text(f"{said}\n{scene.logs()}")
