"""`milepost users`: who may sign in to the console: list, invite, change, disable, enable, and make links."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from milepost.cli.client import HubClient, console, fail, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json, Key, Url

users_app = typer.Typer(
    no_args_is_help=True, help="Who may sign in to the console, and what they may do there."
)

User = Annotated[str, typer.Argument(metavar="USER", help="The user's sign-in name, or id.")]
Role = Annotated[str, typer.Option("--role", help="agent, analyst, operator or admin.")]
Products = Annotated[
    list[str] | None,
    typer.Option("--business-product", help="Only what is this one's; may be repeated. All without."),
]


def register(app: typer.Typer) -> None:
    app.add_typer(users_app, name="users")


@users_app.command("list", epilog="Example: milepost users list --json")
def list_users(url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """List users, oldest first, disabled ones among them."""
    items = list(HubClient(url, api_key).every("/v1/users", None))
    if json:
        print_json(items)
    elif not items:
        console.print(
            "there is no user (milepost users invite, or open the link that milepost serve printed)"
        )
    else:
        for item in items:
            console.print(_line(item), soft_wrap=True)


@users_app.command(
    "invite", epilog='Example: milepost users invite grace@shop.example "Grace Hopper" --role analyst'
)
def invite(
    sign_in_name: Annotated[str, typer.Argument(help="An email address, or any other word.")],
    name: Annotated[str, typer.Argument(help="Their name.")],
    role: Role = "agent",
    product: Products = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Invite somebody. The link by which they set a password is shown this once; nothing is sent to them."""
    hub = HubClient(url, api_key)
    body = {"signInName": sign_in_name, "name": name, "role": role, "businessProductIds": product or []}
    _tell_link(hub, hub.post("/v1/users", body), json)


@users_app.command("change", epilog="Example: milepost users change grace@shop.example --role operator")
def change(
    user: User,
    role: Annotated[str | None, typer.Option("--role", help="agent, analyst, operator or admin.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    product: Products = None,
    everything: Annotated[
        bool, typer.Option("--all-business-products", help="What is any business product's.")
    ] = False,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Give a user another role, name or business products. With another role or reach their sessions end."""
    if product and everything:
        fail("--business-product and --all-business-products exclude each other", 2)
    products = [] if everything else product
    body = {"role": role, "name": name, "businessProductIds": products}
    given = {key: value for key, value in body.items() if value is not None}
    if not given:
        fail("say what is to be another: --role, --name, --business-product or --all-business-products", 2)
    hub = HubClient(url, api_key)
    _tell(hub.patch(f"/v1/users/{_id(hub, user)}", given), json)


@users_app.command("disable", epilog="Example: milepost users disable grace@shop.example")
def disable(user: User, url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Sign a user out everywhere, and let them in no more."""
    hub = HubClient(url, api_key)
    _tell(hub.post(f"/v1/users/{_id(hub, user)}/disable"), json)


@users_app.command("enable", epilog="Example: milepost users enable grace@shop.example")
def enable(user: User, url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Let a user in again, with the password they had."""
    hub = HubClient(url, api_key)
    _tell(hub.post(f"/v1/users/{_id(hub, user)}/enable"), json)


@users_app.command("reset", epilog="Example: milepost users reset grace@shop.example")
def reset(user: User, url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Make a link for who forgot the password, or lost the last link. They are signed out everywhere."""
    hub = HubClient(url, api_key)
    _tell_link(hub, hub.post(f"/v1/users/{_id(hub, user)}/link"), json)


def _id(hub: HubClient, user: str) -> str:
    """A user's id by sign-in name, in capitals or not; an id is one already."""
    wanted = user.casefold()
    users = hub.every("/v1/users", None)
    found = next(
        (item for item in users if item["id"] == user or item["signInName"].casefold() == wanted), None
    )
    if found is None:
        fail(f"there is no user {user!r} (milepost users list)")
    return str(found["id"])


def _tell(item: dict[str, Any], json: bool) -> None:
    if json:
        print_json(item)
    else:
        console.print(_line(item), soft_wrap=True)


def _tell_link(hub: HubClient, item: dict[str, Any], json: bool) -> None:
    if json:
        print_json(item)
        return
    link = item["link"]
    console.print(_line(item), soft_wrap=True)
    console.print(f"Good for one use until {local(link['expiresAt'])}, and shown this once:")
    console.print(f"  {link['url'] or hub.url + link['path']}", markup=False, soft_wrap=True)


def _line(item: dict[str, Any]) -> str:
    reach = ", ".join(item["businessProductIds"]) or "all business products"
    colour = {"active": "green", "invited": "yellow"}.get(item["state"], "dim")
    return (
        f"[bold]{escape(item['signInName'])}[/] {escape(item['name'])}  {item['role']}, {escape(reach)}"
        f"  [{colour}]{item['state']}[/]  [dim]{item['id']}[/]"
    )
