"""A pytest plugin: every engine is saved, thrown away and made again all the time."""

from onewafer.simulator import ENGINES
from tests.simulator.cutting import cutting

for name, maker in list(ENGINES.items()):
    ENGINES[name] = cutting(maker)
