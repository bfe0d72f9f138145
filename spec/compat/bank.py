"""Transfers between accounts by 200 tasks at a time through SQLAlchemy's asyncio engine: the tests
that the programs run on their databases."""

import asyncio
import unittest

from sqlalchemy import ForeignKey, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncAttrs, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

TASKS = 200
ACCOUNTS = 20
START = 1000


class Base(AsyncAttrs, DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "compat_account"
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int]
    entries: Mapped[list["Entry"]] = relationship(back_populates="account")


class Entry(Base):
    __tablename__ = "compat_entry"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("compat_account.id"))
    amount: Mapped[int]
    account: Mapped[Account] = relationship(back_populates="entries")


class Refused(Exception):
    """A transfer that is given up in the middle."""


class Bank(unittest.IsolatedAsyncioTestCase):
    """`url` is the database; `options` are the engine's."""

    url = None
    options = {}

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # it is slow, and unittest turns it on
        self.engine = create_async_engine(self.url, **self.options)
        self.session = async_sessionmaker(self.engine, expire_on_commit=False)
        async with self.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
        async with self.session.begin() as session:
            session.add_all(Account(id=number, balance=START) for number in range(ACCOUNTS))

    async def asyncTearDown(self):
        async with self.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
        await self.engine.dispose()

    async def move(self, source, target, amount, fail=False):
        """Moves an amount in one transaction; with `fail`, raises Refused when half is done."""
        async with self.session.begin() as session:
            # In one order, so that two transactions never wait for each other.
            for number in sorted((source, target)):
                change = -amount if number == source else amount
                await session.execute(update(Account).where(Account.id == number)
                                      .values(balance=Account.balance + change))
                session.add(Entry(account_id=number, amount=change))
                await session.flush()
                if fail:
                    raise Refused(source, target)

    async def sums(self):
        """The sums of balances and of entries, and the number of entries."""
        async with self.session() as session:
            balance = await session.scalar(select(func.sum(Account.balance)))
            amount, count = (await session.execute(
                select(func.coalesce(func.sum(Entry.amount), 0), func.count(Entry.id)))).one()
            return balance, amount, count

    async def test_transfers_keep_the_sum(self):
        await asyncio.gather(*(self.move(task % ACCOUNTS, (task * 7 + 1) % ACCOUNTS, task)
                               for task in range(TASKS)))
        self.assertEqual(await self.sums(), (ACCOUNTS * START, 0, 2 * TASKS))

    async def test_an_exception_rolls_back_and_comes_out(self):
        results = await asyncio.gather(
            *(self.move(task % ACCOUNTS, (task + 1) % ACCOUNTS, 5, fail=task % 2)
              for task in range(TASKS)), return_exceptions=True)
        self.assertEqual(sum(isinstance(result, Refused) for result in results), TASKS // 2)
        self.assertEqual([result for result in results if result is not None
                          and not isinstance(result, Refused)], [])
        self.assertEqual(await self.sums(), (ACCOUNTS * START, 0, TASKS))

    async def test_errors_of_the_database(self):
        async def twice(number):
            async with self.session.begin() as session:
                session.add(Account(id=number % ACCOUNTS, balance=0))
        results = await asyncio.gather(*map(twice, range(TASKS)), return_exceptions=True)
        self.assertEqual({type(result) for result in results}, {IntegrityError})
        self.assertEqual(await self.sums(), (ACCOUNTS * START, 0, 0))

    async def test_savepoints(self):
        async def work(number):
            async with self.session.begin() as session:
                await session.execute(update(Account).where(Account.id == number % ACCOUNTS)
                                      .values(balance=Account.balance + 1))
                with self.assertRaises(Refused):
                    async with session.begin_nested():
                        await session.execute(update(Account).values(balance=0))
                        raise Refused(number)
        for first in range(0, TASKS, ACCOUNTS):
            for number in range(first, first + ACCOUNTS):  # every one locks all accounts
                await work(number)
        self.assertEqual((await self.sums())[0], ACCOUNTS * START + TASKS)

    async def test_lazy_loading_and_streams(self):
        await asyncio.gather(*(self.move(task % ACCOUNTS, (task + 1) % ACCOUNTS, 1)
                               for task in range(TASKS)))

        async def count(number):
            async with self.session() as session:
                account = await session.get(Account, number)
                entries = await account.awaitable_attrs.entries
                rows = await session.stream_scalars(
                    select(Entry).where(Entry.account_id == number))
                return len(entries), len([row async for row in rows])
        counts = await asyncio.gather(*(count(task % ACCOUNTS) for task in range(TASKS)))
        self.assertEqual(set(counts), {(2 * TASKS // ACCOUNTS, 2 * TASKS // ACCOUNTS)})

    async def test_cancelled_tasks_roll_back(self):
        started = asyncio.Event()

        async def hang(number):
            async with self.session.begin() as session:
                await session.execute(text("SELECT 1"))
                session.add(Entry(account_id=number % ACCOUNTS, amount=1))
                started.set()
                await asyncio.sleep(60)
        tasks = [asyncio.create_task(hang(number)) for number in range(TASKS)]
        await started.wait()
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        self.assertEqual({type(result) for result in results}, {asyncio.CancelledError})
        self.assertEqual(await self.sums(), (ACCOUNTS * START, 0, 0))
