"""The conformance suite of the store: what every database must do for Milepost.

An implementation subclasses `StoreContract` and gives the fixture `harness` (see `Harness`); the parts are in
the files beside this one.
"""

from collections.abc import AsyncIterator

import pytest
from tests.contract.accounting_contract import AccountingContract
from tests.contract.attempts_contract import AttemptsContract
from tests.contract.books_contract import BooksContract
from tests.contract.erasures_contract import ErasuresContract
from tests.contract.extents_contract import ExtentsContract
from tests.contract.harness import Harness
from tests.contract.journal_contract import JournalContract
from tests.contract.leases_contract import LeasesContract
from tests.contract.ledger_contract import LedgerContract
from tests.contract.notification_states_contract import NotificationStatesContract
from tests.contract.notifications_contract import NotificationsContract
from tests.contract.parcels_contract import ParcelsContract
from tests.contract.queues_contract import QueuesContract
from tests.contract.retention_contract import RetentionContract
from tests.contract.roads_contract import RoadsContract
from tests.contract.sequences_contract import SequencesContract
from tests.contract.users_contract import UsersContract
from tests.contract.views_contract import ViewsContract
from tests.contract.volumes_contract import VolumesContract
from tests.contract.work_contract import WorkContract

from milepost.store import Store


class StoreContract(
    JournalContract,
    RoadsContract,
    BooksContract,
    AccountingContract,
    ViewsContract,
    WorkContract,
    AttemptsContract,
    SequencesContract,
    LeasesContract,
    LedgerContract,
    NotificationsContract,
    ErasuresContract,
    ExtentsContract,
    NotificationStatesContract,
    QueuesContract,
    RetentionContract,
    VolumesContract,
    UsersContract,
    ParcelsContract,
):
    @pytest.fixture
    async def store(self, harness: Harness) -> AsyncIterator[Store]:
        opened = await harness.open()
        try:
            yield opened
        finally:
            await opened.close()
