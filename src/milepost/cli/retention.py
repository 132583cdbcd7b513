"""`milepost retention`: what a running hub would remove of closed orders, what stays and why; and removing it now."""

from typing import Annotated, Any

import typer

from milepost.cli.client import HubClient, console, fail, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json, Key, Url

REASONS = {
    "open": "a delivery is neither delivered nor cancelled, and tracking has not expired",
    "waiting": "time alone can still change them",
    "condition": "an open condition wants somebody",
    "return": "a return is under way",
    "hydration": "Buy with Prime is still being asked (milepost doctor, GET /v1/hydration)",
    "failed": "a record or a fold failed (GET /v1/failures)",
    "quarantine": "a body in quarantine names them (milepost quarantine list)",
    "message": "a message about them is still to be sent",
    "unprocessed": "not processed yet, or the journal's last record is about them",
    "large": "too many records hang together",
}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost retention --days 365")(retention)


def retention(
    run: Annotated[bool, typer.Option("--run", help="Remove now what may go. There is no way back.")] = False,
    days: Annotated[
        int | None,
        typer.Option("--days", min=1, help="As if closed orders were kept so long. Changes nothing."),
    ] = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Show how long closed orders are kept and what would be removed now, or remove it."""
    if run and days is not None:
        fail("--run removes by the hub's own setting: it takes no --days", 2)
    hub = HubClient(url, api_key)
    if run:
        removed = _remove(hub)
        print_json({"removed": removed}) if json else console.print(f"removed {_told(removed)}")
        return
    shown = _plan(hub, days)
    if json:
        print_json(shown)
    else:
        _tell(shown)


def _remove(hub: HubClient) -> dict[str, int]:
    removed: dict[str, int] = {}
    after: int | None = 0
    while after is not None:
        answer = hub.post("/v1/retention", after=after)
        removed = _sum(removed, answer["removed"])
        after = answer["next"]
    return removed


def _plan(hub: HubClient, days: int | None) -> dict[str, Any]:
    """What the hub answers, its dry run counted to the end."""
    shown: dict[str, Any] = hub.get("/v1/retention", days=days)
    plan = shown["plan"]
    while plan is not None and plan["next"] is not None:
        more = hub.get("/v1/retention", days=days, after=plan["next"])["plan"]
        plan["removable"] = _sum(plan["removable"], more["removable"])
        plan["kept"] = _sum(plan["kept"], more["kept"])
        plan["oldest"] = min(filter(None, (plan["oldest"], more["oldest"])), default=None)
        plan["next"] = more["next"]
    return shown


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in (one | other)}


def _tell(shown: dict[str, Any]) -> None:
    kept = f"for {shown['days']} days" if shown["days"] else "for ever"
    console.print(f"closed orders are kept {kept} (MILEPOST_RETENTION_DAYS)")
    last = f"; a hub last looked {local(shown['lastRunAt'])}" if shown["lastRunAt"] else ""
    console.print(f"removed so far: {shown['removedRecords']} records{last}")
    longest = shown["horizons"][0]
    console.print(f"no fewer than {longest['days']} days: {longest['text']}", soft_wrap=True, markup=False)
    plan = shown["plan"]
    if plan is None:
        console.print("--days shows what would be removed if they were kept for so long")
        return
    console.print(f"\nafter {plan['days']} days, now removable: {_told(plan['removable'])}")
    if plan["oldest"]:
        console.print(f"the oldest was last heard of {local(plan['oldest'])}")
    for reason, count in plan["kept"].items():
        console.print(f"{count:>7} stay: {REASONS.get(reason, reason)}", soft_wrap=True)


def _told(tally: dict[str, int]) -> str:
    return ", ".join(
        f"{tally.get(kind, 0)} {kind}" for kind in ("orders", "deliveries", "trackers", "records")
    )
