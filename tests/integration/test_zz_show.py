from tests.integration.test_replay import *
def test_show(harness):
    case = harness.open_case()
    for n in range(30):
        harness.application.cases.add_comment(case.id, JANE, f"c{n}")
    harness.run()
    import time
    t=time.monotonic(); print(typed(harness, "replay", "--case", case.name, "--since", "1h", "--yes")[-600:]); print(time.monotonic()-t)
    t=time.monotonic(); s=harness.application.explain.case(case.id); print("explain", time.monotonic()-t, len(s.steps))
    harness.run()
    n=len(harness.notes(case.id)); print(n)
    c = revoked(harness) if False else None
