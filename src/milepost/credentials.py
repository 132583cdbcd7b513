"""What the settings hold of credentials, as the parts of the hub take them: who may send events, what we ask the API
with. A setting that makes no sense raises `Misconfigured` here, before anything listens.
"""

from collections.abc import Callable

from pydantic import SecretStr

from milepost.buywithprime.client import BuyWithPrimeClient
from milepost.config import Config
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant
from milepost.transports.oauth import Client
from milepost.transports.webhook import Credential


def api_clients(config: Config, clock: Callable[[], Instant]) -> dict[str, BuyWithPrimeClient]:
    """Clients by business product; the one under the empty name serves those that have none of their own."""
    clients: dict[str, BuyWithPrimeClient] = {}
    if config.bwp_client_id is not None and config.bwp_client_secret is not None:
        clients[""] = BuyWithPrimeClient(
            config.bwp_api_url,
            config.bwp_client_id,
            config.bwp_client_secret.get_secret_value(),
            config.bwp_target_id,
            clock=clock,
        )
    elif (config.bwp_client_id is None) != (config.bwp_client_secret is None):
        raise Misconfigured("MILEPOST_BWP_CLIENT_ID and MILEPOST_BWP_CLIENT_SECRET go together")
    for one in config.api_clients:
        if one.business_product in clients:
            raise Misconfigured(f"[[api_clients]] names business product {one.business_product} twice")
        clients[one.business_product] = BuyWithPrimeClient(
            one.api_url or config.bwp_api_url,
            one.client_id,
            one.client_secret.get_secret_value(),
            one.target_id or one.business_product,
            clock=clock,
        )
    return clients


def webhook_credentials(config: Config) -> list[Credential]:
    credentials = [
        Credential.basic(one.username, one.password.get_secret_value(), one.business_products)
        for one in config.webhook_credentials
    ]
    if config.webhook_username is not None and config.webhook_password is not None:
        password = config.webhook_password.get_secret_value()
        credentials.append(Credential.basic(config.webhook_username, password))
    elif (config.webhook_username is None) != (config.webhook_password is None):
        raise Misconfigured("MILEPOST_WEBHOOK_USERNAME and MILEPOST_WEBHOOK_PASSWORD go together")
    for listed in config.webhook_api_keys:
        keys = [key.get_secret_value() for key in listed.keys]
        credentials += [Credential.api_key(listed.header, key, listed.business_products) for key in keys]
    if config.webhook_api_key is not None:
        credentials += [
            Credential.api_key(config.webhook_api_key_header, key)
            for key in _overlapping("webhook_api_key", config.webhook_api_key)
        ]
    return credentials


def _overlapping(setting: str, given: SecretStr) -> tuple[str, ...]:
    """A secret, or two separated by a comma while one takes the other's place. Raises `Misconfigured` for none."""
    found = tuple(filter(None, map(str.strip, given.get_secret_value().split(","))))
    if not found:
        raise Misconfigured(f"MILEPOST_{setting.upper()} holds blanks and commas only", setting=setting)
    return found


def oauth_clients(config: Config) -> list[Client]:
    clients = [
        Client(
            one.client_id,
            tuple(secret.get_secret_value() for secret in one.client_secrets),
            one.business_products,
        )
        for one in config.oauth_clients
    ]
    if config.oauth_client_id is not None and config.oauth_client_secret is not None:
        both = _overlapping("oauth_client_secret", config.oauth_client_secret)
        clients.append(Client(config.oauth_client_id, both))
    elif (config.oauth_client_id is None) != (config.oauth_client_secret is None):
        raise Misconfigured("MILEPOST_OAUTH_CLIENT_ID and MILEPOST_OAUTH_CLIENT_SECRET go together")
    return clients
