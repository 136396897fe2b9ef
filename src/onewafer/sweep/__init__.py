"""Studies: many points of a comparison, a CSL program or a script, and their outcomes.

In: a study, a TOML file with inputs, axes, filters and objectives. Out: one row per point, in
Parquet. A point's key is a digest of all that decides its outcome, so nothing is computed twice,
and neither the executor nor the number of workers changes the rows.
"""

from onewafer.sweep.executors import Executor, InProcess, Processes, RayCluster, choose_workers
from onewafer.sweep.inputs.plain import as_bytes as parse_bytes
from onewafer.sweep.results.followed import FollowedStudy, is_study
from onewafer.sweep.results.plot import Drawing, Form, draw_results
from onewafer.sweep.results.results import Choice, Results, find_results, read_results
from onewafer.sweep.results.store import folder_of
from onewafer.sweep.studies.points import points_of
from onewafer.sweep.studies.requirements import require
from onewafer.sweep.studies.study import Study, read_study
from onewafer.sweep.subjects.outcome import Status
from onewafer.sweep.subjects.subject import Share
from onewafer.sweep.sweeping import Summary, sweep

__all__ = [
    "Choice",
    "Drawing",
    "Executor",
    "FollowedStudy",
    "Form",
    "InProcess",
    "Processes",
    "RayCluster",
    "Results",
    "Share",
    "Status",
    "Study",
    "Summary",
    "choose_workers",
    "draw_results",
    "find_results",
    "folder_of",
    "is_study",
    "parse_bytes",
    "points_of",
    "read_results",
    "read_study",
    "require",
    "sweep",
]
