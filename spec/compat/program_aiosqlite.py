"""SQLAlchemy's asyncio engine on aiosqlite, with a file."""

import tempfile
import unittest

from bank import Bank


class SQLite(Bank):
    options = {"pool_size": 10, "max_overflow": 0, "pool_timeout": 90,
               "connect_args": {"timeout": 90}}

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)
        cls.url = f"sqlite+aiosqlite:///{cls.directory.name}/bank.db"


del Bank  # which has no database

if __name__ == "__main__":
    unittest.main()
