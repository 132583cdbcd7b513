"""Milepost: the self-hosted delivery-event platform for Buy with Prime.

The floors, lowest first: `domain` (pure), `store` (the contract), `pipeline` (use cases),
`sql` / `transports` / `buywithprime` / `web` (technologies), `hub` (the program as an object),
`sandbox` (the local Buy with Prime), `cli`.
"""

__version__ = "0.1.0"
