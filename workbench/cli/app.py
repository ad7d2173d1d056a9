"""The command line: parses options, and passes them to the modules of the commands, which are imported when needed.

An error that a user can cause is one line on standard error and exit code 2, or 1 when the run could not do what was
asked. Only a bug shows a traceback, with exit code 70.
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
import typer

from devices.config import FleetConfig
from server.config import ServerConfig
from workbench.cli.exit import STANDARD_OUTPUT, exit_after
from workbench.cli.option import (
    AddressConnections,
    AddressHandshakes,
    CertFile,
    Command,
    JournalSync,
    KeyFile,
    Origins,
    number,
    text,
    whole,
)
from workbench.cli.recordings import recording_app
from workbench.errors import CommandError, RunError, UserError, shortage_of, shown
from workbench.scenarios.scenario import DEFAULT_NAME, Scenario, builtin_names, builtin_text, load_scenario
from workbench.scenarios.validation import explain

EXIT_BUG = 70

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
scenarios_app = typer.Typer(rich_markup_mode=None)

_Settings = TypeVar("_Settings", ServerConfig, FleetConfig, Scenario)
# The code that typer returns for Ctrl-C before or after a session; a session ends by itself.
_INTERRUPTED = 130
# Options whose names differ from those of their settings.
_OPTIONS = {
    "width": "size",
    "height": "size",
    "origins": "origin",
    "connections_per_address_max": "connections-per-address",
}
# Settings that may be any bytes that are valid in a file name.
_FILES = ("journal", "cert", "key")
# The base class of all errors of the parser, which newer versions of typer include and older ones import.
_ParserError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_SERVER, _FLEET = ServerConfig(), FleetConfig()


Seconds = Annotated[
    float | None,
    number("S", "Measure for S seconds, from a second after all are connected. Default: until stopped."),
]
_TOKEN_VARIABLE = "PIXELCANVAS_TOKEN"
Token = Annotated[
    str,
    typer.Option(
        metavar="TOKEN", envvar=_TOKEN_VARIABLE, show_default=False, help="Access token clients must present."
    ),
]
_SCENARIO_HELP = f"A name from 'workbench scenarios', or a TOML file. Default: {DEFAULT_NAME}, and the list."
SummaryFile = Annotated[Path | None, text("FILE.json", "Write the results as JSON; - is standard output.")]


@app.callback(invoke_without_command=True, epilog="Example: workbench run crowd --headless --seconds 30")
def workbench(context: typer.Context) -> int:
    """See how a pixel-canvas server behaves under a fleet of devices. Without a command: run first_light."""
    if context.invoked_subcommand is not None:
        return 0
    return run(token=os.environ.get(_TOKEN_VARIABLE, ""))


@app.command(
    cls=Command, epilog="Example: workbench run crowd --set server.tick_ms=100 --seconds 30 --summary crowd.json"
)
def run(
    scenario: Annotated[str | None, typer.Argument(metavar="SCENARIO", help=_SCENARIO_HELP)] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Show a live table instead of the window.")] = False,
    seconds: Seconds = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set any key of the scenario, e.g. fleet.connections=500."),
    ] = None,
    seed: Annotated[int | None, whole("N", "Random seed.")] = None,
    port: Annotated[int | None, whole("PORT", "Port of the server.")] = None,
    token: Token = "",
    record: Annotated[Path | None, text("FILE", "Record the session to FILE; the conventional suffix is .pxr.")] = None,
    screenshot: Annotated[
        Path | None, text("FILE.png", "Save a picture of the window at the end, also headless.")
    ] = None,
    summary: SummaryFile = None,
    tour: Annotated[
        bool, typer.Option("--tour", help="Guided tour: five scenarios in three minutes, with captions.")
    ] = False,
    gallery: Annotated[
        Path | None, text("FOLDER", "Render every view at three sizes into FOLDER; needs no display.")
    ] = None,
    from_recording: Annotated[
        Path | None, text("FILE", "Replay a recording's placements and compare; --set changes the server.")
    ] = None,
) -> int:
    """Run a scenario: server, fleet, window and panels."""
    options = {"seconds": seconds, "seed": seed, "server.port": port}
    # As TOML text: a token may hold any character. Options come last, so that they win over --set.
    secret = [f"server.token={json.dumps(token)}"] if token else []
    overrides = [*(set_ or []), *(f"{key}={value}" for key, value in options.items() if value is not None)]
    if gallery is not None:
        from workbench.cli.gallery import make_gallery

        return make_gallery(gallery, [*secret, *overrides])
    # Imported here: --help and errors must not wait for numpy, pygame and the rest.
    from workbench.run.show import Outputs, run_scenario, run_tour

    outputs = Outputs(headless, screenshot, summary, record, sources=(Path(scenario),) if scenario else ())
    if from_recording is not None:
        from workbench.rerun.command import rerun

        return rerun(from_recording, [*secret, *overrides], outputs)
    if tour:
        return run_tour(outputs, [*secret, *overrides])
    # Without any choice on the command line, the window shows the list of scenarios while the default one runs.
    asks = scenario is None and not overrides and outputs == Outputs(headless=False)
    return run_scenario(load_scenario(scenario or DEFAULT_NAME, [*secret, *overrides]), outputs, asks=asks)


@app.command(cls=Command, epilog="Example: workbench serve --port 8765 --size 512x512 --rate-per-s 60")
def serve(
    host: Annotated[str, text("HOST", "Address to listen on.")] = _SERVER.host,
    port: Annotated[int, whole("PORT", "0: any free port.")] = _SERVER.port,
    size: Annotated[str, text("WxH", "Canvas in pixels.")] = f"{_SERVER.width}x{_SERVER.height}",
    rate_per_s: Annotated[int, whole("N", "Placements per second admitted per connection.")] = _SERVER.rate_per_s,
    burst: Annotated[int, whole("N", "Capacity of each connection's token bucket.")] = _SERVER.burst,
    loops: Annotated[int, whole("N", "Event loops, one thread each.")] = _SERVER.loops,
    loop: Annotated[str, text("native|portable|mailbox", "I/O engine.")] = _SERVER.loop,
    tick_ms: Annotated[int, whole("MS", "Tick interval.")] = _SERVER.tick_ms,
    journal: Annotated[
        str, text("FILE|none", "Persist the canvas to FILE and resume from it on the next start.")
    ] = "none",
    journal_sync: JournalSync = _SERVER.journal_sync,
    echo: Annotated[bool, typer.Option("--echo", help="Also serve /echo, for conformance suites.")] = False,
    origin: Origins = None,
    token: Token = "",
    viewers_only_without_token: Annotated[
        bool, typer.Option("--viewers-only-without-token", help="Clients without the token may view but not paint.")
    ] = False,
    cert: CertFile = _SERVER.cert,
    key: KeyFile = _SERVER.key,
    connections_per_address: AddressConnections = _SERVER.connections_per_address_max,
    handshakes_per_address_per_s: AddressHandshakes = _SERVER.handshakes_per_address_per_s,
    deflate: Annotated[str, text("on|off", "Compress for clients that offer it.")] = _SERVER.deflate,
    mqtt: Annotated[
        str, text("URL|embedded|none", "Also serve MQTT devices, by this broker or an embedded one.")
    ] = _SERVER.mqtt,
    nats: Annotated[str, text("URL|none", "Not available yet; only none.")] = "none",
    summary: SummaryFile = None,
) -> int:
    """Run only the server, until SIGINT or SIGTERM drains it."""
    # The option is part of the documented command line; its function does not exist yet.
    if nats != "none":
        raise UserError(f"--nats {nats} is not available yet; leave it out, or give none")
    if journal == "none" and journal_sync != _SERVER.journal_sync:
        raise UserError(f"--journal-sync {journal_sync} needs --journal FILE; name one, or leave it out")
    width, height = _parse_size(size)
    values = {
        "host": host, "port": port, "width": width, "height": height, "rate_per_s": rate_per_s, "burst": burst,
        "loops": loops, "loop": loop, "tick_ms": tick_ms, "echo": echo, "origins": tuple(origin or ()), "token": token,
        "viewers_only_without_token": viewers_only_without_token, "deflate": deflate, "cert": cert, "key": key,
        "connections_per_address_max": connections_per_address,
        "handshakes_per_address_per_s": handshakes_per_address_per_s,
        "journal": "" if journal == "none" else journal, "journal_sync": journal_sync, "mqtt": mqtt,
    }  # fmt: skip
    config = _typed(values, ServerConfig)
    from workbench.cli.serve import serve as serve_canvas

    return serve_canvas(config, summary)


@app.command(
    cls=Command, epilog="Example: workbench fleet ws://127.0.0.1:8765/canvas --connections 500 --rate-per-s 20"
)
def fleet(
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the server: ws://HOST:PORT/canvas.")],
    connections: Annotated[int, whole("N", "Devices, one connection each.")] = _FLEET.connections,
    rate_per_s: Annotated[float, number("N", "Placements per second of each device.")] = _FLEET.rate_per_s,
    frames_per_write: Annotated[
        int, whole("N", "Placements that a device collects before it writes.")
    ] = _FLEET.frames_per_write,
    pattern: Annotated[
        str, text("NAME", "What they paint: sensor_field, image, life, hotspot or noise.")
    ] = _FLEET.pattern,
    arrivals: Annotated[str, text("periodic|poisson|bursty", "How send times are drawn.")] = _FLEET.arrivals,
    token: Token = "",
    viewers: Annotated[str, text("all|none|N", "How many are viewers.")] = str(_FLEET.viewers),
    seed: Annotated[int, whole("N", "Random seed.")] = 1,
    seconds: Seconds = None,
    summary: SummaryFile = None,
) -> int:
    """Run only the load generator, against any server that speaks the canvas protocol."""
    from workbench.address import parse_url

    address = parse_url(url)
    # Two different tokens, one of them given on purpose: do not guess. The variable may differ.
    if address.token and token not in ("", address.token, os.environ.get(_TOKEN_VARIABLE)):
        raise UserError("--token is one token and the URL has another; leave one of them out")
    address = replace(address, token=address.token or token)
    values = {
        "connections": connections, "rate_per_s": rate_per_s, "frames_per_write": frames_per_write, "pattern": pattern,
        "arrivals": arrivals,
        # A negative number is passed on as a number, so that the settings name its range.
        "viewers": int(viewers) if viewers.removeprefix("-").isdecimal() else viewers,
    }  # fmt: skip
    config = _typed(values, FleetConfig)
    run_values = {"name": "fleet", "title": f"A fleet at {address.url}", "seconds": seconds, "seed": seed}
    scenario = _typed({**run_values, "fleet": msgspec.to_builtins(config)}, Scenario)
    from workbench.run.show import Outputs, run_scenario

    return run_scenario(scenario, Outputs(headless=True, summary=summary), address)


app.add_typer(recording_app)
app.add_typer(scenarios_app, name="scenarios")


@scenarios_app.callback(invoke_without_command=True, epilog="Example: workbench scenarios show crowd > mine.toml")
def scenarios(context: typer.Context) -> int:
    """List the built-in scenarios, one line each."""
    if context.invoked_subcommand is None:
        names = builtin_names()
        for name in names:
            print(f"{name:<{max(map(len, names))}}  {load_scenario(name).title}")
    return 0


@scenarios_app.command(cls=Command, epilog="Example: workbench scenarios show crowd > mine.toml")
def show(name: Annotated[str, typer.Argument(metavar="NAME", help="A name from 'workbench scenarios'.")]) -> int:
    """Print the TOML of a built-in scenario."""
    print(builtin_text(name), end="")
    return 0


@app.command(cls=Command, epilog="Example: workbench bench quiet --peers --trials 5 --out results")
def bench(
    case: Annotated[str | None, typer.Argument(metavar="CASE", help="A name from --list. Default: all.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the cases, one line each.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes: only shows that it runs.")] = False,
    peers: Annotated[
        bool, typer.Option("--peers", help="Also run peers, if the case allows and they are installed.")
    ] = False,
    trials: Annotated[
        int | None, whole("N", "Number of trials; programs are interleaved. Default: 3, or 1 with --quick.")
    ] = None,
    out: Annotated[Path | None, text("FOLDER", "Write the results there as JSON.")] = None,
) -> int:
    """Benchmark the server against a bare counter and peers."""
    from workbench.bench.command import list_cases, run_bench

    return list_cases() if list_ else run_bench(case, quick=quick, peers=peers, trials=trials, out=out)


@app.command(
    cls=Command, epilog="Example: workbench compare yesterday.pxr today.pxr --fail-if 'admitted_per_s < 0.95x'"
)
def compare(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings; the first is the baseline.")],
    fail_if: Annotated[
        list[str] | None,
        text(
            "CONDITION",
            "Exit with 1 if it holds with statistical significance: a figure, < <= > or >=, and a number, or "
            "0.95x for that multiple of the baseline. Repeatable.",
        ),
    ] = None,
    json: Annotated[Path | None, text("FILE.json", "Write the comparison as JSON.")] = None,
    plot: Annotated[Path | None, text("FILE.png|svg", "Plot the runs overlaid on a common time axis.")] = None,
    window: Annotated[bool, typer.Option("--window", help="Show that plot in a window.")] = False,
) -> int:
    """Compare recordings, separating differences from noise."""
    from workbench.comparison.command import run_compare

    return run_compare(files, fail_if or (), json, plot, window=window)


@app.command(cls=Command, epilog="Example: workbench report crowd.pxr --out crowd.html")
def report(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="A recording; several are compared.")],
    out: Annotated[Path, text("FILE.html", "The output.")] = Path("report.html"),
) -> int:
    """Write a self-contained HTML report of a recording."""
    from workbench.report.command import run_report

    return run_report(files, out)


@app.command(cls=Command, epilog="Example: workbench doctor")
def doctor() -> int:
    """Check this machine's prerequisites and suggest fixes."""
    from workbench.cli.doctor import run_doctor

    return run_doctor()


def run_main(arguments: Sequence[str]) -> int:
    """Run the command line. Returns the exit code."""
    try:
        # Not standalone: typer would exit by itself, with its own messages.
        code = app(list(arguments), prog_name="workbench", standalone_mode=False)
    except CommandError as error:
        return _refuse(str(error), error.exit_code)
    except _ParserError as error:
        return _refuse(_parser_line(error), 2)
    except KeyboardInterrupt:
        return 0
    # Anything else is a bug, unless the machine has run out of something.
    except Exception as error:
        if isinstance(error, OSError) and error.filename == STANDARD_OUTPUT:
            raise  # `exit` reports it, and discards what is still buffered.
        if shortage := shortage_of(error):
            return _refuse(shortage, RunError.exit_code)
        traceback.print_exc()
        return EXIT_BUG
    return code if isinstance(code, int) and code != _INTERRUPTED else 0


def main() -> NoReturn:
    """The console script."""
    # matplotlib warns on standard error if it cannot keep its list of fonts; it then builds the list each time.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    exit_after(lambda: run_main(sys.argv[1:]))


def _refuse(line: str, code: int) -> int:
    print(" ".join(line.split()), file=sys.stderr)
    return code


def _parser_line(error: Any) -> str:
    """The error of the parser, and where to read on."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "workbench"
    return f"{error.format_message().rstrip('.')}; '{command} --help' lists the options"


def _typed(values: dict[str, Any], settings: type[_Settings]) -> _Settings:
    """Settings from the values of options. Raises UserError that names the faulty option."""
    for key, value in values.items():
        if key not in _FILES and isinstance(value, str) and shown(value) != value:
            raise UserError(f"--{_OPTIONS.get(key, key.replace('_', '-'))}: {value} cannot be read as text")
    try:
        return msgspec.convert(values, settings)
    except msgspec.ValidationError as error:
        # The message begins with the key of the setting, which is turned into the option.
        key, rest = explain(str(error), values, settings).removeprefix("$.").split(" ", 1)
        option = _OPTIONS.get(key, key.replace("_", "-"))
        raise UserError(f"--{option}: {key} {rest}" if key in values else f"{key} {rest}") from None


def _parse_size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UserError(f"--size {text!r} is not WxH; write for example --size 256x192")
    return int(width), int(height)
