"""The sandbox over HTTP: Amazon's `/token` and `/graphql` as at api.buywithprime.amazon.com, beside `/healthz`.

    POST /token      client credentials
    POST /graphql    queries and mutations
    GET  /healthz

The routes that drive the world are in `driving`; how requests are routed and refused is `http`'s. Errors of
`/graphql` are Amazon's.
"""

from milepost.sandbox.faulty import RequestFaults
from milepost.sandbox.http import Request, Response, Routes, json_response
from milepost.sandbox.queries import GraphApi
from milepost.sandbox.tokens import Tokens


class AmazonRoutes:
    """What Amazon has at these addresses, too."""

    def __init__(self, graph: GraphApi, tokens: Tokens, faults: RequestFaults) -> None:
        self._graph = graph
        self._tokens = tokens
        self._faults = faults

    def routes(self) -> Routes:
        return {
            ("POST", "/token"): self._token,
            ("POST", "/graphql"): self._graphql,
            ("GET", "/healthz"): self._health,
        }

    async def _token(self, request: Request) -> Response:
        self._faults.check_up()
        return json_response(self._tokens.issue(request.body))

    async def _graphql(self, request: Request) -> Response:
        faults = await self._faults.of_query()
        return json_response(await self._graph.answer(request.headers, request.body, faults))

    async def _health(self, request: Request) -> Response:
        return json_response({"status": "ok"})
