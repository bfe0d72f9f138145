"""Runs the tests of this directory with the `greenlet` that is imported; prints the totals.

    run.py [NAME...]    test_NAME.py, or all
"""
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    sys.path.insert(0, HERE)
    names = sys.argv[1:] or sorted(
        name[5:-3] for name in os.listdir(HERE) if name.startswith("test_"))
    suite = unittest.defaultTestLoader.loadTestsFromNames("test_" + name for name in names)
    result = unittest.TextTestRunner(verbosity=0).run(suite)
    failed = {str(test) for test, _ in result.failures + result.errors}
    failed = len(failed) + len(result.unexpectedSuccesses)
    passed = result.testsRun - failed - len(result.skipped)
    print(f"{passed} passed, {failed} failed, {len(result.skipped)} skipped")
    sys.exit(failed > 0 or result.testsRun == 0)


main()
