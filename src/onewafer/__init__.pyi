from onewafer import errors as errors
from onewafer.api import Comparison as Comparison
from onewafer.api import CompileWarning as CompileWarning
from onewafer.api import Program as Program
from onewafer.api import Runner as Runner
from onewafer.api import RunReport as RunReport
from onewafer.api import Wafer as Wafer
from onewafer.api import compare as compare
from onewafer.api import compile_csl as compile_csl
from onewafer.api import load as load
from onewafer.api import run as run
from onewafer.api import wafer as wafer

__version__: str
