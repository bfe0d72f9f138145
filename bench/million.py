"""A million greenlets alive and suspended at once, ours and the peers'."""
import measure

CONTENDERS = [("moonlet, Python", "python", "million", True),
              ("greenlet", "greenlet", "million", False),
              ("moonlet, Lua", "lua", "million", True),
              ("coroutine", "lua", "million_coroutine", False)]


def run(commands, quick):
    n = 10_000 if quick else 1_000_000
    print(f"\n{n:,} alive at once:  create s  switch s  finish s   peak MB")
    results = []
    for label, program, operation, ours in CONTENDERS:
        if program not in commands:
            continue
        answer = None
        try:
            with measure.Worker(commands[program], {}) as worker:
                answer = worker.ask(operation, n)
        except measure.Failed as failed:
            print(failed)
        if answer:
            print(f"{label:24}" + "".join(f"{seconds:10.2f}" for seconds in answer[:3]) +
                  f"{answer[3] / 1e6:10,.0f}", flush=True)
        results.append({"label": label, "ours": ours, "n": n, "answer": answer})
    return results
