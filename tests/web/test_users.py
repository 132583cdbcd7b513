"""Users by the API: invited, changed, disabled, given links. What each means is tested with the pages."""

import pytest
from tests.web.world import World

GRACE = {"name": "Grace Hopper", "signInName": "grace@example.com", "role": "analyst"}


async def test_a_link_is_shown_once(world: World) -> None:
    made = await world.post("/v1/users", GRACE)
    assert made.status_code == 201
    document = made.json()
    link = document.pop("link")
    assert link["path"].startswith("/setup/")
    assert len(link["path"]) == len("/setup/") + 43, "256 bits in base64"
    assert (link["url"], link["expiresAt"]) == (None, "2025-01-27T12:00:00Z")
    assert (await world.get("/v1/users")).json() == {"items": [document], "next": None}
    assert document == GRACE | {
        "id": document["id"],
        "businessProductIds": [],
        "state": "invited",
        "createdAt": world.at(),
        "disabledAt": None,
    }
    assert (await world.get(link["path"], None)).status_code == 200
    again = (await world.post(f"/v1/users/{document['id']}/link")).json()["link"]
    assert (await world.get(link["path"], None)).status_code == 404
    assert (await world.get(again["path"], None)).status_code == 200


async def test_a_link_says_its_whole_address_where_that_is_known(world: World) -> None:
    known = World(world.store, public_url="https://hub.example/")
    link = (await known.post("/v1/users", GRACE)).json()["link"]
    assert link["url"] == "https://hub.example" + link["path"]


async def test_a_user_is_changed_disabled_and_enabled(world: World) -> None:
    user = (await world.post("/v1/users", GRACE)).json()["id"]
    async with world.client() as client:
        changed = await client.patch(f"/v1/users/{user}", json={"role": "operator"})
        assert (changed.json()["role"], changed.json()["name"]) == ("operator", "Grace Hopper")
        changed = await client.patch(f"/v1/users/{user}", json={"businessProductIds": ["bp-2", "bp-1"]})
        assert changed.json()["businessProductIds"] == ["bp-1", "bp-2"]
    for verb, state in (("disable", "disabled"), ("disable", "disabled"), ("enable", "invited")):
        answer = await world.post(f"/v1/users/{user}/{verb}")
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    actions = [item["action"] for item in (await world.get("/v1/audit")).json()["items"]]
    assert actions == ["user.invited", "user.changed", "user.changed", "user.disabled", "user.enabled"]
    assert {item["actor"] for item in (await world.get("/v1/audit")).json()["items"]} == {"API_KEY"}


async def test_users_are_listed_page_by_page(world: World) -> None:
    for number in range(5):
        world.now = type(world.now)(world.now + 1)
        await world.post("/v1/users", {"name": f"user {number}", "signInName": f"user{number}"})
    first = (await world.get("/v1/users", limit=3)).json()
    second = (await world.get("/v1/users", limit=3, after=first["next"])).json()
    assert [user["name"] for user in first["items"] + second["items"]] == [f"user {n}" for n in range(5)]
    assert second["next"] is None


async def test_a_bound_key_gives_no_more_than_it_has(world: World) -> None:
    bound = await world.key("admin", "bp-1")
    answer = await world.post("/v1/users", GRACE | {"businessProductIds": ["bp-2"]}, bound)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    made = (await world.post("/v1/users", GRACE, bound)).json()
    assert made["businessProductIds"] == ["bp-1"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, 400),
        ({}, 400),
        (GRACE | {"role": "root"}, 400),
        (GRACE | {"name": "\u202e"}, 400),
        (GRACE | {"signInName": "a b"}, 400),
        (GRACE | {"unknown": 1}, 400),
        (GRACE | {"signInName": "GRACE@example.com"}, 409),
    ],
)
async def test_what_is_refused(world: World, body: object, status: int) -> None:
    await world.post("/v1/users", GRACE)
    assert (await world.post("/v1/users", body)).status_code == status


async def test_nobody_by_that_id(world: World) -> None:
    for verb in ("disable", "enable", "link"):
        for user in ("usr_none", "a%00b"):
            assert (await world.post(f"/v1/users/{user}/{verb}")).status_code == 404
