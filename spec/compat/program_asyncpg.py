"""SQLAlchemy's asyncio engine on asyncpg and the PostgreSQL that PGHOST and the like name."""

import unittest

from bank import Bank


class PostgreSQL(Bank):
    url = "postgresql+asyncpg://"
    options = {"pool_size": 20, "max_overflow": 20, "pool_timeout": 90}


del Bank  # which has no database

if __name__ == "__main__":
    unittest.main()
