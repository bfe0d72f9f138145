"""SQLAlchemy's asyncio engine on asyncpg and PostgreSQL: COMPAT_DATABASE is the URL."""

import os
import unittest

from bank import Bank


class PostgreSQL(Bank):
    url = os.environ["COMPAT_DATABASE"]
    options = {"pool_size": 20, "max_overflow": 20, "pool_timeout": 90}


del Bank  # which has no database

if __name__ == "__main__":
    unittest.main()
