"""API keys: made once, shown once, bound, revoked."""

from tests.web.world import World


async def test_a_key_is_shown_once_and_works(world: World) -> None:
    made = await world.post("/v1/keys", {"name": "dashboard", "businessProductIds": ["bp-1"]})
    assert made.status_code == 201
    document = made.json()
    assert document["key"].startswith("mp_")
    assert len(document["key"]) >= 3 + 43  # 256 bits in base64
    assert (document["scope"], document["businessProductIds"]) == ("read", ["bp-1"])
    assert (await world.get("/v1/orders", document["key"])).status_code == 200
    listed = (await world.get("/v1/keys")).json()["items"]
    assert [item["id"] for item in listed] == [document["id"]]
    assert "key" not in listed[0]
    dump = await world.store.read(lambda tx: tx.credentials.api_keys("", 10))
    assert document["key"].encode() not in dump[0].hash


async def test_keys_differ_and_are_listed_in_the_order_they_were_made(world: World) -> None:
    made = []
    for number in range(5):
        made.append((await world.post("/v1/keys", {"name": f"key {number}"})).json())
        world.now = type(world.now)(world.now + 1)
    assert len({key["key"] for key in made}) == 5
    first = (await world.get("/v1/keys", limit=3)).json()
    second = (await world.get("/v1/keys", limit=3, after=first["next"])).json()
    assert [key["name"] for key in first["items"] + second["items"]] == [f"key {n}" for n in range(5)]
    assert second["next"] is None


async def test_a_revoked_key_is_refused_from_then_on(world: World) -> None:
    made = (await world.post("/v1/keys", {"name": "gone soon", "scope": "operate"})).json()
    async with world.client() as client:
        for _ in range(2):
            assert (await client.delete(f"/v1/keys/{made['id']}")).status_code == 204
        assert (await client.delete("/v1/keys/key_unknown")).status_code == 404
    assert (await world.get("/v1/orders", made["key"])).status_code == 401
    (listed,) = (await world.get("/v1/keys")).json()["items"]
    assert listed["revokedAt"] == world.at()


async def test_a_bound_key_gives_no_more_than_it_has(world: World) -> None:
    bound = await world.key("admin", "bp-1")
    other = (await world.post("/v1/keys", {"name": "other", "businessProductIds": ["bp-2"]})).json()
    assert (
        await world.post("/v1/keys", {"name": "x", "businessProductIds": ["bp-2"]}, bound)
    ).status_code == 403
    inherited = (await world.post("/v1/keys", {"name": "x"}, bound)).json()
    assert inherited["businessProductIds"] == ["bp-1"]
    seen = {item["id"] for item in (await world.get("/v1/keys", bound)).json()["items"]}
    assert other["id"] not in seen
    assert inherited["id"] in seen
    async with world.client(bound) as client:
        assert (await client.delete(f"/v1/keys/{other['id']}")).status_code == 404


async def test_a_request_for_a_key_that_makes_no_sense_is_refused(world: World) -> None:
    for body in (
        None,
        [],
        {},
        {"name": ""},
        {"name": "x" * 201},
        {"name": "x", "scope": "root"},
        {"name": "x", "businessProductIds": [""]},
        {"name": "x", "unknown": 1},
        {"name": 7},
    ):
        answer = await world.post("/v1/keys", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), body
