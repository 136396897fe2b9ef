"""A real server in a process of its own: `python -m tests.server.paced PORT PACE DRAIN_SECONDS`.

It is that of `onewafer serve --values none`, but for its words and its system, which are small: so
neither PyTorch nor a tokenizer is loaded. Twenty answers run at a time and none waits. With the
pace of the wafer each has a token in 20 ms.
"""

import sys

from onewafer.server.contract.clock import seconds_running
from onewafer.server.contract.service import ServedModel
from onewafer.server.engine.engine import Engine, EngineOptions
from onewafer.server.engine.requests import Pace
from onewafer.server.engine.service import Loaded
from onewafer.server.http.options import HttpOptions
from onewafer.server.running import Address, run
from onewafer.server.values.synthetic import SyntheticValues
from tests.server.engine.fakes import END, NumberLanguage
from tests.server.systems import PlainSystem

NUM_SLOTS = 20
CONTEXT = 100_000


def load(pace: Pace) -> Loaded:
    language = NumberLanguage()
    system = PlainSystem(
        num_slots=NUM_SLOTS,
        most_tokens=NUM_SLOTS,
        room_tokens=NUM_SLOTS * CONTEXT,
        context=CONTEXT,
        latency=0.02,
        period=1e-6,
    )
    values = SyntheticValues(
        model_id="m",
        encode=lambda text: list(text.encode()),
        end_ids=frozenset({END}),
        context_length=CONTEXT,
        num_slots=NUM_SLOTS,
    )
    options = EngineOptions(pace=pace, is_synthetic=True, most_waiting=0, context_length=CONTEXT)
    engine = Engine(language, values, system, options, clock=seconds_running)
    model = ServedModel(
        id="m",
        created=0,
        owned_by="onewafer",
        context_length=CONTEXT,
        system=system.name,
        is_synthetic=True,
        fingerprint="fp",
    )
    return Loaded(model, language, engine, system)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    port, pace, drain_seconds = sys.argv[1:]
    run(
        lambda: load(Pace(pace)),
        Address(port=int(port)),
        HttpOptions(drain_seconds=float(drain_seconds)),
        say=lambda line: sys.stdout.write(f"{line}\n"),
        write_log_line=len,
    )
