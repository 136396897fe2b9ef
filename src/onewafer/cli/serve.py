"""`onewafer serve`: a language model behind the APIs that people use, timed by the wafer."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path  # Typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.api import EquationOptions, equations
from onewafer.cli.options.flags import with_flags
from onewafer.cli.options.output_files import check_output, write_output
from onewafer.errors import ConfigurationError
from onewafer.server.options import ServerOptions, ValuesKind
from onewafer.settings import Settings
from onewafer.terminal import SHOWN_COLUMNS, printable, progress_bar, quoted, stdout_console

if TYPE_CHECKING:
    from onewafer.server.engine.service import Loaded
    from onewafer.server.http.options import HttpOptions
    from onewafer.server.running import Address

_Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="smollm2, a folder with safetensors, a GGUF file, or a name of the catalogue.",
    ),
]
_Replay = Annotated[
    Path | None,
    typer.Option(metavar="TRACE", help="Answer the requests of a file in no time, and end."),
]
_JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="With --replay: every request.")
]
_Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Where it listens.")]
_Port = Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0: any that is free.")]
_ApiKey = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY", help="Clients must send it; may be repeated [ONEWAFER_API_KEY]."),
]
_ApiKeyFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Keys, one a line.")]
_Cors = Annotated[
    list[str] | None,
    typer.Option(metavar="ORIGIN", help="Pages that may ask, e.g. https://example.org."),
]
_Strict = Annotated[
    str | None, typer.Option(metavar="cerebras", help="Refuse fields that Cerebras refuses.")
]
_Drain = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=0.0, help="Open answers have so long after SIGTERM."),
]


@with_flags
def serve(
    model: _Model,
    *,
    served: ServerOptions,
    machines: EquationOptions,
    replay: _Replay = None,
    json_file: _JsonFile = None,
    host: _Host = "127.0.0.1",
    port: _Port = 8000,
    api_key: _ApiKey = None,
    api_key_file: _ApiKeyFile = None,
    cors: _Cors = None,
    strict: _Strict = None,
    drain: _Drain = 30.0,
) -> None:
    """Serve a language model behind the OpenAI, Anthropic and Cerebras APIs, timed by a wafer.

    With --replay, answer a trace of requests on the clock of the system, and say what they waited
    for.
    """
    from onewafer.perf import device_of  # noqa: PLC0415  # a subcommand loads what it uses
    from onewafer.server.http.options import HttpOptions  # noqa: PLC0415  # likewise
    from onewafer.server.running import Address  # noqa: PLC0415  # likewise

    max_memory = Settings.from_environment().max_memory
    options = replace(served, equations=equations(machines), max_memory=max_memory)
    for system in filter(None, (options.on, options.against)):
        device_of(system)
    if json_file is not None and replay is None:
        raise ConfigurationError("--json goes with --replay: name a trace")
    if replay is not None:
        _replay(model, replay, options, check_output("--json", json_file))
        return
    http = HttpOptions(
        keys=_keys(api_key or [], api_key_file),
        origins=tuple(map(_origin, cors or [])),
        drain_seconds=_finite(drain),
        is_strict=_is_strict(strict),
    )
    _serve(model, options, Address(host=host, port=port), http)


def _serve(name: str, options: ServerOptions, address: Address, http: HttpOptions) -> None:
    from onewafer.server.contract.requirements import FOR_HTTP, require  # noqa: PLC0415  # when it is used

    require(FOR_HTTP, "onewafer serve")
    from onewafer.server.models import check_model  # noqa: PLC0415  # likewise
    from onewafer.server.running import run  # noqa: PLC0415  # likewise

    is_computed = options.values is not ValuesKind.NONE
    longest = check_model(name, needs_weights=is_computed, max_memory=options.max_memory)
    options.context_of(quoted(name), longest)  # refused now, not when the model is loaded

    def load() -> Loaded:
        # Not before the port is ours: it loads PyTorch.
        from onewafer.server.assembly import assemble  # noqa: PLC0415  # as said

        with progress_bar() as bar:
            return assemble(name, options, bar)

    run(load, address, http, say=_say, write_log_line=_say_log)


def _say(line: str) -> None:
    typer.echo(printable(line))
    sys.stdout.flush()


def _say_log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # at every request: echo takes longer


def _keys(keys: list[str], file: Path | None) -> tuple[str, ...]:
    """Return the keys of options, of a file with one a line, and of the environment."""
    found = [*keys]
    if file is not None:
        try:
            found += file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"--api-key-file {file}: {reason}") from None
        if not found:
            raise ConfigurationError(f"--api-key-file {file} has no key; write one a line")
    named = Settings.from_environment().api_key
    if not found and named is not None:
        found.append(named)
    if any(not key.isascii() or not key.isprintable() or not key for key in found):
        raise ConfigurationError("a key is made of printable ASCII characters")
    return tuple(found)


def _origin(text: str) -> str:
    """Return an origin as browsers send it: without a path."""
    scheme, separator, host = text.partition("://")
    if text != "*" and not (scheme and separator and host and "/" not in host):
        raise ConfigurationError(
            f"--cors {quoted(text)}: write an origin, scheme://host or scheme://host:port, as in "
            "https://example.org, or *"
        )
    return text


def _finite(seconds: float) -> float:
    if not math.isfinite(seconds):
        raise ConfigurationError(f"--drain {seconds:g}: write a finite number of seconds")
    return seconds


def _is_strict(dialect: str | None) -> bool:
    if dialect not in (None, "cerebras"):
        raise ConfigurationError(f"--strict {dialect}: only cerebras is known")
    return dialect is not None


def _replay(name: str, path: Path, options: ServerOptions, json_file: Path | None) -> None:
    from onewafer.server.assembly import lay_over  # noqa: PLC0415  # when it is used
    from onewafer.server.models import check_model  # noqa: PLC0415  # likewise
    from onewafer.server.models.describing import describe  # noqa: PLC0415  # likewise
    from onewafer.server.replay import read_trace, replay  # noqa: PLC0415  # likewise
    from onewafer.server.replay.summary import render, to_json  # noqa: PLC0415  # likewise

    options.context_of(quoted(name), check_model(name, needs_weights=False))
    trace = read_trace(path)
    with progress_bar() as bar:
        system = lay_over(describe(name, bar.say), options.on, options, bar)
        bar.say(f"replaying {path.name}")
        result = replay(system, trace, progress=bar.show)
    stdout_console(SHOWN_COLUMNS).print(render(result))
    if json_file is not None:
        write_output(json_file, to_json(result))
    if not result.requests:
        raise typer.Exit(1)
