"""`milepost doctor`: looks at settings, database, API, hub and AWS, and says what is wrong and how to mend it.

It reads beside a serving hub and takes no lock. Every finding is one line; exit code 1 when one is bad.
What a command needs beyond its options is imported when it runs, so that the others start at once.
"""

import asyncio
import os
import platform
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.text import Text

from milepost.cli.client import DEFAULT_URL, console, print_json
from milepost.domain.errors import MilepostError
from milepost.domain.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.config import Config
    from milepost.sql import Holder, Server, Standing
    from milepost.store import Lease

LOW_SPACE_BYTES = 500 * 1024 * 1024
COLUMN = 24
"""Characters of the longest name that others are aligned with."""
CONNECTIONS_WANTED = 10
"""What a hub takes of a PostgreSQL server at the most, and a little for commands beside it."""


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost doctor --json")(doctor)


def doctor(
    database: Annotated[
        str | None, typer.Option("--database", help="Database URL (MILEPOST_DATABASE_URL).", metavar="URL")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="The hub to ask (MILEPOST_URL).")] = None,
    aws: Annotated[
        bool, typer.Option("--aws", help="Look at the event sources, rules and queues at AWS too.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", help="At AWS, this partner event source only; means --aws too.", metavar="NAME"
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Look at settings, database, API and hub, and say what is wrong and how to mend it."""
    from milepost.config import Config, policy_of

    config: Config | None = None
    try:
        config = Config.load(database_url=database)
        policy_of(config)
        findings = [Finding("settings", True, f"read; Python {platform.python_version()}")]
    except MilepostError as e:
        findings = [Finding("settings", False, e.detail, "docs/settings.md lists every setting")]
    if config is not None:
        findings.append(_authentication(config))
        findings.extend(asyncio.run(_database(config)))
        findings.extend(asyncio.run(_api(config)))
    address = url or os.environ.get("MILEPOST_URL") or DEFAULT_URL
    findings.append(_hub(address))
    if findings[-1].ok:
        findings.extend(_missing(address, config))
    if (aws or source is not None) and config is not None:
        from milepost.cli.doctor_aws import look_at_aws

        findings.extend(asyncio.run(look_at_aws(config, source)))
    if json:
        print_json([{"check": f.check, "ok": f.ok, "found": f.found, "mend": f.mend} for f in findings])
    else:
        _print_findings(findings)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _print_findings(findings: list[Finding]) -> None:
    """A line each, what was looked at in one column and what was found beside it; what to do stands below. A long
    name (of an event source, a queue) takes the room that it needs."""
    width = max((len(f.check) for f in findings if len(f.check) <= COLUMN), default=0)
    for finding in findings:
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        said = Text.from_markup(f"{mark} [bold]{finding.check}[/]: {' ' * (width - len(finding.check))}")
        said.append(finding.found, "" if finding.ok else "red")
        console.print(said, soft_wrap=True)
        if not finding.ok and finding.mend:
            console.print(f"  {' ' * width}  [yellow]→ {escape(finding.mend)}[/]", soft_wrap=True)
    wrong = sum(not finding.ok for finding in findings)
    all_well = f"[green]All {len(findings)} are well.[/]"
    console.print(
        f"\n{all_well}" if not wrong else f"\n[red]{wrong} of {len(findings)} need you.[/] → says what to do."
    )


def _authentication(config: "Config") -> Finding:
    if config.has_webhook_authentication:
        return Finding("webhook authentication", True, "configured")
    if config.has_queue and not config.insecure:
        return Finding("webhook authentication", True, "none: events come by queue, and no webhook is let in")
    mend = (
        "set MILEPOST_WEBHOOK_USERNAME and MILEPOST_WEBHOOK_PASSWORD, MILEPOST_WEBHOOK_API_KEY, or "
        "MILEPOST_OAUTH_CLIENT_ID and …_SECRET"
    )
    return Finding("webhook authentication", config.insecure, "none is configured", mend)


async def _database(config: "Config") -> list[Finding]:
    from milepost import sql
    from milepost.pipeline.projector import NAME
    from milepost.web.findings import books_findings

    try:
        seen = await asyncio.to_thread(
            sql.inspect, config.database_url, NAME, encryption_key=config.encryption_keys
        )
    except MilepostError as e:
        return [Finding("database", False, e.detail, "check MILEPOST_DATABASE_URL")]
    findings = []
    if seen.schema_version is None:
        findings.append(
            Finding("database", True, f"{seen.shown} is not there yet; `milepost serve` makes it")
        )
    else:
        current = seen.schema_version == seen.newest_version
        found = f"{seen.shown}, schema {seen.schema_version}, {seen.size / 1024**2:,.1f} MiB"
        findings.append(Finding("database", current, found, "milepost migrate"))
    if seen.server is not None:
        findings.extend(_server(seen.server))
    if seen.schema_version is None:
        return findings
    if seen.file is not None:
        findings.extend(_file(seen.file, seen.holder))
    restore = "stop the hubs, keep what is there, restore a copy, then `milepost rebuild`"
    unsound = "; ".join(seen.problems)
    findings.append(Finding("integrity", not seen.problems, unsound or "sound", restore))
    if seen.secrets is not None:
        findings.append(_secrets(seen.secrets, seen.open_key_file))
    if seen.counts is not None:
        findings.append(_leases(seen.leases))
        findings.extend(books_findings(seen.counts, seen.asks))
    return findings


def _file(path: Path, holder: "Holder | None") -> list[Finding]:
    """What is SQLite's."""
    free = shutil.disk_usage(path.absolute().parent).free
    room = "make room: when the disk is full, events are refused with 503 until there is"
    return [
        Finding("writer lock", True, f"held by {holder}" if holder else "free"),
        Finding("disk", free > LOW_SPACE_BYTES, f"{free // 1024**2:,} MiB free beside the database", room),
    ]


def _server(server: "Server") -> list[Finding]:
    """What is PostgreSQL's."""
    left = server.max_connections - server.connections
    primary = (
        "MILEPOST_DATABASE_URL must lead to the primary; several hosts and target_session_attrs=read-write do"
    )
    return [
        Finding(
            "server",
            not server.standby,
            f"PostgreSQL {server.version}" + (", a standby, which takes no writes" if server.standby else ""),
            primary,
        ),
        Finding(
            "durability",
            not server.unsafe,
            f"{', '.join(server.unsafe)}: acknowledged events could be lost"
            if server.unsafe
            else "what is committed is on disk",
            "set them on: ALTER SYSTEM, or ALTER DATABASE or ALTER ROLE where they were set there",
        ),
        Finding(
            "connections",
            left >= CONNECTIONS_WANTED,
            f"{server.connections} of {server.max_connections} in use",
            "a hub takes up to seven, a command beside it two: raise max_connections, or end what needs none",
        ),
    ]


def _secrets(standing: "Standing", open_key_file: Path | None) -> Finding:
    """How secrets are kept."""
    wrong = [f"key {one} is missing" for one in standing.missing]
    wrong += [f"{row} was altered" for row in standing.altered]
    if standing.exposed:
        wrong.append(f"{standing.exposed} are in clear")
    if open_key_file is not None:
        wrong.append(f"others can read {open_key_file}, which is to be chmod 600")
    by = ", ".join(f"{rows} by key {key}" for key, rows in standing.sealed.items())
    mend = "set MILEPOST_ENCRYPTION_KEY, every key that sealed something in it; milepost keys status"
    return Finding(
        "secrets", not wrong, "; ".join(wrong) or (f"sealed, {by}" if by else "none are kept"), mend
    )


def _leases(leases: "Sequence[Lease]") -> Finding:
    """Which hub does what only one may do."""
    now = time.time_ns() // 1_000_000
    held: dict[str, list[str]] = {}
    for lease in leases:
        if lease.until > now:
            held.setdefault(lease.label or lease.owner, []).append(lease.name)
    found = "; ".join(f"{who} does {', '.join(sorted(names))}" for who, names in sorted(held.items()))
    return Finding("leases", True, found or "nobody holds one")


async def _api(config: "Config") -> list[Finding]:
    from milepost.buywithprime.client import BuyWithPrimeClient

    if config.bwp_client_id is None or config.bwp_client_secret is None:
        mend = "set MILEPOST_BWP_CLIENT_ID and MILEPOST_BWP_CLIENT_SECRET: thin events stay thin without them"
        return [Finding("Buy with Prime API", bool(config.api_clients), "no plain credentials", mend)]
    client = BuyWithPrimeClient(
        config.bwp_api_url,
        config.bwp_client_id,
        config.bwp_client_secret.get_secret_value(),
        config.bwp_target_id,
    )
    try:
        await client.check()
        return [Finding("Buy with Prime API", True, f"{config.bwp_api_url} gives a token")]
    except MilepostError as e:
        mend = (
            "check MILEPOST_BWP_API_URL and the credentials; events are kept and asked about later meanwhile"
        )
        return [Finding("Buy with Prime API", False, f"{config.bwp_api_url}: {e.detail}", mend)]
    finally:
        await client.close()


def _hub(url: str) -> Finding:
    import httpx

    try:
        response = httpx.get(f"{url.rstrip('/')}/readyz", timeout=5.0)
    except httpx.HTTPError as e:
        return Finding("hub", False, f"nothing answers at {url} ({e or type(e).__name__})", "milepost serve")
    mend = "see the hub's log; /readyz names what fails"
    return Finding("hub", response.status_code == 200, f"{url} answers {response.status_code}", mend)


def _missing(url: str, config: "Config | None") -> list[Finding]:
    """What the hub says did not come. Nothing, where it does not let us ask."""
    import httpx

    key = os.environ.get("MILEPOST_API_KEY")
    if key is None and config is not None and config.api_key is not None:
        key = config.api_key.get_secret_value()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        response = httpx.get(f"{url.rstrip('/')}/v1/missing", headers=headers, timeout=30.0)
    except httpx.HTTPError as e:
        return [Finding("missing events", False, f"not told ({e or type(e).__name__})", "see the hub's log")]
    if response.status_code != 200:
        return []
    from milepost.web.findings import missing_findings

    return list(missing_findings(response.json()))
