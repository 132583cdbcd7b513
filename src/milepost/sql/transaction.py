"""The transaction that write and read functions work with: the parts of the store on one connection."""

from functools import cached_property

from sqlalchemy import Connection

from milepost.sql.append import InsertRecords
from milepost.sql.attempts import SqlAttempts
from milepost.sql.audit import SqlAudit
from milepost.sql.books import SqlBooks
from milepost.sql.credentials import SqlCredentials
from milepost.sql.erasures import SqlErasures
from milepost.sql.journal import SqlJournal
from milepost.sql.leases import SqlLeases
from milepost.sql.ledger import SqlLedger
from milepost.sql.notifications import SqlNotifications
from milepost.sql.parcels import SqlParcels
from milepost.sql.queues import SqlQueues
from milepost.sql.secrets import Secrets
from milepost.sql.users import SqlUsers
from milepost.sql.views import SqlViews
from milepost.sql.volumes import SqlVolumes
from milepost.sql.work import SqlWork


class SqlTransaction:
    """`milepost.store.Transaction`; valid only while the function that was given it runs."""

    def __init__(self, connection: Connection, insert: InsertRecords, secrets: Secrets) -> None:
        self.connection = connection
        self._secrets = secrets
        self.journal = SqlJournal(connection, insert)

    def finish(self) -> None:
        """What a function that wrote leaves to be done before the commit."""
        self.journal.finish()

    @cached_property
    def views(self) -> SqlViews:
        return SqlViews(self.connection, self._secrets)

    @cached_property
    def parcels(self) -> SqlParcels:
        return SqlParcels(self.connection)

    @cached_property
    def work(self) -> SqlWork:
        return SqlWork(self.connection)

    @cached_property
    def attempts(self) -> SqlAttempts:
        return SqlAttempts(self.connection, self._secrets)

    @cached_property
    def credentials(self) -> SqlCredentials:
        return SqlCredentials(self.connection)

    @cached_property
    def leases(self) -> SqlLeases:
        return SqlLeases(self.connection)

    @cached_property
    def ledger(self) -> SqlLedger:
        return SqlLedger(self.connection)

    @cached_property
    def volumes(self) -> SqlVolumes:
        return SqlVolumes(self.connection)

    @cached_property
    def notifications(self) -> SqlNotifications:
        return SqlNotifications(self.connection)

    @cached_property
    def books(self) -> SqlBooks:
        return SqlBooks(self.connection)

    @cached_property
    def erasures(self) -> SqlErasures:
        return SqlErasures(self.connection)

    @cached_property
    def users(self) -> SqlUsers:
        return SqlUsers(self.connection)

    @cached_property
    def audit(self) -> SqlAudit:
        return SqlAudit(self.connection)

    @cached_property
    def queues(self) -> SqlQueues:
        return SqlQueues(self.connection)
