"""Random programs do the same with this greenlet as with the stock one, in the interpreter that
MOONLET_STOCK names."""
import os
import subprocess
import sys
import unittest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "random_programs.py")
STOCK = os.environ.get("MOONLET_STOCK")
COUNT = "300"


def run(python, environment):
    if python == STOCK:
        for name in "PYTHONPATH", "LD_PRELOAD":
            environment.pop(name, None)
    result = subprocess.run(
        [python, SCRIPT, "1", COUNT], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, timeout=600)
    return result.stdout.decode().splitlines(), result.returncode


@unittest.skipUnless(STOCK, "there is no stock greenlet")
class Programs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.expected, status = run(STOCK, dict(os.environ))
        assert status == 0 and len(cls.expected) > 10 * int(COUNT)

    def test_they_do_the_same(self):
        for lanes in os.environ.get("MOONLET_LANES", "256 1 3").split():
            with self.subTest(lanes=lanes):
                got, status = run(sys.executable, {**os.environ, "MOONLET_LANES": lanes})
                for i, (theirs, ours) in enumerate(zip(self.expected, got)):
                    if theirs != ours:
                        before = "\n".join(self.expected[max(0, i - 30):i])
                        self.fail(f"{before}\nexpected: {theirs}\ngot:      {ours}")
                self.assertEqual((len(got), status), (len(self.expected), 0))


if __name__ == "__main__":
    unittest.main()
