"""The keys that this sandbox signs webhooks with: kept in its database, shown at `/jwks.json`, rotated by hand.

    GET  /jwks.json                      the public keys, as at api.buywithprime.amazon.com: the next one too
    POST /sandbox/signing-keys/rotate    sign with the next key from now on

The scheme is `transports.request_signature`'s. The private keys lie in the sandbox's own database, sealed, which
only its owner may read: they prove nothing to anybody but handlers that were told to trust this sandbox.
"""

import msgspec

from milepost.sandbox.http import Request, Response, Routes, json_response
from milepost.store import Store, Transaction, View, ViewKind
from milepost.transports.request_signature import AmazonSigner

KIND: ViewKind = "signingKeys"
_KEY: tuple[ViewKind, str, str] = (KIND, "", "webhooks")


class SigningKeys:
    """The signer of one sandbox and its routes. `open` before anything is sent."""

    signer: AmazonSigner

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self) -> None:
        """Take up the keys that are kept, or make some."""
        kept = await self._store.read(lambda tx: tx.views.get([_KEY]).get(_KEY))
        pems = [] if kept is None else msgspec.json.decode(kept.document, type=list[str])
        self.signer = AmazonSigner([pem.encode() for pem in pems])
        if kept is None:
            await self._keep()

    def routes(self) -> Routes:
        return {
            ("GET", "/jwks.json"): self._jwks,
            ("POST", "/sandbox/signing-keys/rotate"): self._rotate,
        }

    async def _jwks(self, request: Request) -> Response:
        return json_response(self.signer.jwks())

    async def _rotate(self, request: Request) -> Response:
        # What signed before the active key is long delivered: one former key stays, for what is under way.
        self.signer.retire()
        key_id = self.signer.rotate()
        await self._keep()
        return json_response({"keyId": key_id})

    async def _keep(self) -> None:
        document = msgspec.json.encode([pem.decode() for pem in self.signer.pems()])

        def put(tx: Transaction) -> None:
            tx.views.put([View(KIND, "", "webhooks", document, "active")])

        await self._store.write(put)
