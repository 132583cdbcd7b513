"""The suites that every implementation runs are no test files themselves; their asserts explain themselves too."""

import pytest

pytest.register_assert_rewrite(
    "tests.contract.accounting_contract",
    "tests.contract.attempts_contract",
    "tests.contract.journal_contract",
    "tests.contract.books_contract",
    "tests.contract.erasures_contract",
    "tests.contract.extents_contract",
    "tests.contract.leases_contract",
    "tests.contract.notification_states_contract",
    "tests.contract.notifications_contract",
    "tests.contract.roads_contract",
    "tests.contract.retention_contract",
    "tests.contract.sequences_contract",
    "tests.contract.views_contract",
    "tests.contract.work_contract",
)
