"""All benchmarks by what grows: what is measured of each, and where its figures are kept."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

from benchmarks.growth import cold, downstreams, graphs, keys, memory, partitions
from benchmarks.growth.figures import Figure
from benchmarks.report import Bar
from benchmarks.stores import STORAGES, Stores


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark.

    Args:
        module: Has its ``NAME``, ``measure`` and ``bars``.
        what: What grows.
        complete: The sizes that are measured, all of them for the published page.
        quick: Those with which it is over in seconds.
        rounds: How often each tick is measured, unless another number is asked for.
    """

    module: ModuleType
    what: str
    complete: Sequence[int]
    quick: Sequence[int]
    rounds: int = 5

    @property
    def name(self) -> str:
        return self.module.NAME

    def sizes(self, quick: bool) -> Sequence[int]:
        """Returns the sizes that are measured, unless others are asked for."""
        return self.quick if quick else self.complete

    def turns(self, quick: bool) -> int:
        """Returns how many rounds there are, unless another number is asked for."""
        return 1 if quick else self.rounds

    def measure(
        self,
        storages: Sequence[str],
        folder: Path,
        sizes: Sequence[int],
        rounds: int,
        tell: Callable[[str], None] = lambda _: None,
    ) -> list[Figure]:
        """Returns the figures of these sizes on these storages."""
        rows: list[Figure] = []
        for storage in storages:
            for size in sizes:
                tell(f"{storage}, {size:,} {self.what}")
                with Stores(storage, folder) as stores:
                    rows += self.module.measure(stores, size, rounds)
        return rows

    def of(self, figures: Sequence[Figure]) -> list[Figure]:
        """Returns its own figures among those of all."""
        return [row for row in figures if row.benchmark == self.name]

    def bars(self, figures: Sequence[Figure]) -> list[Bar]:
        """Returns what is promised, judged by the figures of this benchmark."""
        return self.module.bars(self.of(figures))


BENCHMARKS = (
    Benchmark(module=downstreams, what="downstreams", complete=(10, 300, 500), quick=(2, 4)),
    Benchmark(
        module=partitions, what="waiting partitions", complete=(10, 3_000, 10_000), quick=(3, 6)
    ),
    Benchmark(module=graphs, what="conditions of a real graph", complete=(70, 892), quick=(9,)),
    Benchmark(module=cold, what="other assets' events", complete=(1_000_000,), quick=(1_000,)),
    Benchmark(
        module=memory, what="completions that wait", complete=(1_000_000,), quick=(25,), rounds=1
    ),
    Benchmark(module=keys, what="whole keys", complete=(100, 10_000), quick=(5,)),
)


def to_json(figures: Sequence[Figure], machine: Mapping[str, str]) -> str:
    """Returns the figures as text, a line for each."""
    rows = [{k: v for k, v in asdict(row).items() if v is not None} for row in in_order(figures)]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    return f'{{\n "machine": {json.dumps(machine)},\n "figures": [\n{lines}\n ]\n}}\n'


def from_json(text: str) -> tuple[list[Figure], Mapping[str, str]]:
    """Returns the figures that the text holds, and the machine they are of."""
    data = json.loads(text)
    return [Figure(**row) for row in data["figures"]], data["machine"]


def joined(new: Sequence[Figure], known: Sequence[Figure]) -> list[Figure]:
    """Returns the new figures, and the known ones of what was not measured again."""
    again = {(row.benchmark, row.storage) for row in new}
    others = [row for row in known if (row.benchmark, row.storage) not in again]
    return in_order([*others, *new])


def in_order(figures: Sequence[Figure]) -> list[Figure]:
    """Returns the figures by benchmark, storage and size; otherwise as they were measured."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    return sorted(
        figures,
        key=lambda row: (names.index(row.benchmark), STORAGES.index(row.storage), row.size),
    )
