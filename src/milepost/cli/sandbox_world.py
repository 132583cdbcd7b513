"""Subcommands of `milepost sandbox` about its world: orders, scenarios, faults, clock.

They speak to a running sandbox by HTTP. What of it is published is `sandbox_publishing`'s.
"""

from typing import Annotated, Any

import typer
from rich.markup import escape

from milepost.cli.client import SandboxClient, console, fail, print_json
from milepost.cli.looks import local, state
from milepost.cli.sandbox_publishing import SandboxUrl, table_of
from milepost.cli.show import Json

faults_app = typer.Typer(
    no_args_is_help=True, help="What it does wrong on purpose; docs/faults.md lists them."
)
clock_app = typer.Typer(no_args_is_help=True, help="The world's time.")
scenarios_app = typer.Typer(no_args_is_help=True, help="What orders can live.")


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost sandbox orders --json")(orders)
    app.add_typer(scenarios_app, name="scenarios")
    app.add_typer(faults_app, name="faults")
    app.add_typer(clock_app, name="clock")


def orders(sandbox: SandboxUrl = None, json: Json = False) -> None:
    """List the orders of the world, with their packages."""
    items = list(SandboxClient(sandbox).every("/sandbox/orders", None))
    if json:
        print_json(items)
        return
    if not items:
        console.print("the world has no order yet: milepost sandbox scenarios start happy-path")
        return
    for item in items:
        # Two lines, wrapped by the terminal alone: an id that is cut cannot be copied.
        console.print(
            f"[bold]{escape(item['orderId'])}[/] {state(item['state'])} {escape(item['scenario'] or 'no scenario')},"
            f" {item['stepsLeft']} steps to happen",
            soft_wrap=True,
        )
        console.print(f"  {escape(', '.join(item['deliveryIds']) or 'no deliveries')}", soft_wrap=True)


# ── Scenarios ──────────────────────────────────────────────────────────────────────────────────────────────


@scenarios_app.command("list", epilog="Example: milepost sandbox scenarios list")
def list_scenarios(sandbox: SandboxUrl = None, json: Json = False) -> None:
    """List the scenarios that come with Milepost."""
    items = list(SandboxClient(sandbox).every("/sandbox/scenarios", None))
    if json:
        print_json(items)
        return
    table = table_of("scenario", "what happens")
    for item in items:
        table.add_row(escape(item["name"]), escape(item["title"]))
    console.print(table)


@scenarios_app.command("start", epilog="Example: milepost sandbox scenarios start happy-path --orders 3")
def start_scenario(
    scenario: Annotated[str, typer.Argument(help="A scenario's name, or a YAML file of one.")],
    orders: Annotated[int, typer.Option("--orders", min=1, max=1_000, help="How many times.")] = 1,
    business_product: Annotated[
        str | None, typer.Option("--business-product", help="Business product id.")
    ] = None,
    sandbox: SandboxUrl = None,
    json: Json = False,
) -> None:
    """Start orders that live a scenario, from the world's time on."""
    client = SandboxClient(sandbox)
    tell_started(client, start(client, scenario, orders, business_product), json)


def start(
    client: SandboxClient, scenario: str, orders: int = 1, business_product: str | None = None
) -> dict[str, Any]:
    """Start a scenario by name, or the one of a file."""
    body: dict[str, Any] = {
        "scenario": _document(scenario) if is_file(scenario) else scenario,
        "orders": orders,
        "businessProductId": business_product,
    }
    started = client.post("/sandbox/scenarios", {k: v for k, v in body.items() if v is not None})
    answer: dict[str, Any] = {**started, "clock": client.get("/sandbox/clock")}
    return answer


def is_file(scenario: str) -> bool:
    return scenario.endswith((".yaml", ".yml"))


def _document(path: str) -> Any:
    """The document of a scenario file, once it is known to be one. Raises `Invalid`."""
    from pathlib import Path

    import yaml

    from milepost.sandbox.scenarios import read_text

    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        fail(f"{path} cannot be read: {e}", 2)
    read_text(text, path)
    return yaml.safe_load(text)


def tell_started(client: SandboxClient, answer: dict[str, Any], json: bool) -> None:
    if json:
        print_json(answer)
        return
    for order_id in answer["orderIds"]:
        console.print(f"order [bold]{escape(order_id)}[/] is placed")
    clock = answer["clock"]
    if clock["nextStepAt"]:
        console.print(
            f"it is {local(clock['now'])} there, at {_pace(clock['pace'])}; the next step is at"
            f" {local(clock['nextStepAt'])}"
        )
        console.print("[dim]milepost sandbox clock advance 1d lets a day pass[/]")


# ── Clock ──────────────────────────────────────────────────────────────────────────────────────────────────


@clock_app.command("show", epilog="Example: milepost sandbox clock show --json")
def show_clock(sandbox: SandboxUrl = None, json: Json = False) -> None:
    """Show the world's time, how fast it goes, and when something is planned next."""
    _tell_time(SandboxClient(sandbox).get("/sandbox/clock"), json)


@clock_app.command("advance", epilog="Example: milepost sandbox clock advance 2h")
def advance(
    length: Annotated[str | None, typer.Argument(help="By how much: 90s, 2h, 1d12h.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="To this time (ISO 8601).", metavar="TIME")] = None,
    sandbox: SandboxUrl = None,
    json: Json = False,
) -> None:
    """Let time pass: what was planned until then happens, and its events are stored for publishing."""
    if (length is None) == (to is None):
        fail("give either a length of time or --to", 2)
    body = {"advance": length} if to is None else {"to": to}
    _tell_time(SandboxClient(sandbox).post("/sandbox/clock", body), json)


@clock_app.command("speed", epilog="Example: milepost sandbox clock speed 600")
def set_speed(
    speed: Annotated[float, typer.Argument(min=0, help="How much faster than real time; 0 stands still.")],
    sandbox: SandboxUrl = None,
    json: Json = False,
) -> None:
    """Let time go on so fast from now."""
    _tell_time(SandboxClient(sandbox).post("/sandbox/clock", {"speed": speed}), json)


def _tell_time(clock: dict[str, Any], json: bool) -> None:
    if json:
        print_json(clock)
        return
    due = f"the next step is at {local(clock['nextStepAt'])}" if clock["nextStepAt"] else "nothing is planned"
    console.print(f"{local(clock['now'])}, at {_pace(clock['pace'])}; {due}")


def _pace(pace: float) -> str:
    """How fast it really goes: what its speed was set to means nothing once it has caught up."""
    if pace == 0:
        return "a stand"
    return "the real pace" if pace == 1 else f"{pace:g} times the real pace"


# ── Faults ─────────────────────────────────────────────────────────────────────────────────────────────────


@faults_app.command("show", epilog="Example: milepost sandbox faults show")
def show_faults(sandbox: SandboxUrl = None, json: Json = False) -> None:
    """Show the faults that are on."""
    _tell_faults(SandboxClient(sandbox).get("/sandbox/faults"), json)


@faults_app.command("set", epilog="Example: milepost sandbox faults set duplicate=0.2 tracker-null=120s")
def set_faults(
    faults: Annotated[list[str], typer.Argument(metavar="NAME[=VALUE]…", help="A name alone is all of it.")],
    sandbox: SandboxUrl = None,
    json: Json = False,
) -> None:
    """Turn faults on; the others stay as they are."""
    from milepost.sandbox.faults import parse_options

    words = [option.partition("=")[0].strip() for option in faults]
    _tell_faults(SandboxClient(sandbox).post("/sandbox/faults", values(parse_options(faults), words)), json)


@faults_app.command("clear", epilog="Example: milepost sandbox faults clear duplicate")
def clear_faults(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which, by word or JSON name; without any, all.")
    ] = None,
    sandbox: SandboxUrl = None,
    json: Json = False,
) -> None:
    """Turn faults off."""
    from milepost.sandbox.faults import WORDS, Faults, every_field

    words = _words_of_json()
    unknown = [name for name in names or () if name not in WORDS and name not in words]
    if unknown:
        fail(f"there is no fault {unknown[0]!r}; there are {', '.join(WORDS)}", 2)
    named = [name if name in WORDS else words[name] for name in names or ()]
    off = values(Faults(), named) if named else every_field(Faults())
    _tell_faults(SandboxClient(sandbox).post("/sandbox/faults", off), json)


def values(faults: Any, words: list[str]) -> dict[str, object]:
    """What these words set, by the names that JSON has for it."""
    from msgspec.structs import fields

    from milepost.sandbox.faults import WORDS

    named = {WORDS[word] for word in words}
    if "throttling" in words:
        # All of it has a field of its own: what the rate says, that one must not overrule.
        named.add("throttling")
    return {f.encode_name: getattr(faults, f.name) for f in fields(faults) if f.name in named}


def _words_of_json() -> dict[str, str]:
    """The word that sets a field, by the field's JSON name."""
    from msgspec.structs import fields

    from milepost.sandbox.faults import WORDS, Faults

    words = {field: word for word, field in WORDS.items()}
    # The one field without a word of its own is all of what this word sets.
    return {f.encode_name: words.get(f.name, "throttling") for f in fields(Faults)}


def option(name: str, value: Any) -> str:
    """A fault as `set` takes it, from its JSON name and value."""
    word = _words_of_json()[name]
    if isinstance(value, bool):
        # All throttling is a rate of 1 to `set`, which knows no on and off of it.
        return f"{word}=1" if word == "throttling" else f"{word}={'on' if value else 'off'}"
    if isinstance(value, list):
        return f"{word}={'+'.join(value)}"
    if name.endswith("Seconds"):
        whole = float(value).is_integer()
        return f"{word}={int(value)}s" if whole else f"{word}={round(value * 1_000)}ms"
    return f"{word}={value:.12g}"


def _tell_faults(now: dict[str, Any], json: bool) -> None:
    from milepost.sandbox.faults import Faults, every_field

    if json:
        print_json(now)
        return
    plain = every_field(Faults())
    on = {name: value for name, value in now.items() if value != plain.get(name) and value != []}
    if not on:
        console.print("no fault is on")
    if on.get("throttling"):
        on.pop("throttlingRate", None)
    for name, value in on.items():
        word, _, given = option(name, value).partition("=")
        console.print(f"[bold]{escape(word)}[/]={escape(given)}", soft_wrap=True)
