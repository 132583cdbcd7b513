"""The sandbox over HTTP: Amazon's `/token` and `/graphql` as at api.buywithprime.amazon.com, beside `/healthz`.

    POST /token      client credentials
    POST /graphql    queries and mutations
    GET  /healthz

The routes that drive the world are in `driving`; how requests are routed and refused is `http`'s. Errors of
`/graphql` are Amazon's.
"""

from milepost.sandbox.credential_routes import token_response
from milepost.sandbox.credentials import Credentials
from milepost.sandbox.faulty import RequestFaults
from milepost.sandbox.graph import GraphApi
from milepost.sandbox.http import Request, Response, Routes, json_response


class AmazonRoutes:
    """What Amazon has at these addresses, too."""

    def __init__(self, graph: GraphApi, credentials: Credentials, faults: RequestFaults) -> None:
        self._graph = graph
        self._credentials = credentials
        self._faults = faults

    def routes(self) -> Routes:
        return {
            ("POST", "/token"): self._token,
            ("POST", "/graphql"): self._graphql,
            ("GET", "/healthz"): self._health,
        }

    async def _token(self, request: Request) -> Response:
        self._faults.check_up()
        return await token_response(self._credentials, request.body)

    async def _graphql(self, request: Request) -> Response:
        faults = await self._faults.of_query()
        return json_response(await self._graph.answer(request.headers, request.body, faults))

    async def _health(self, request: Request) -> Response:
        return json_response({"status": "ok"})
