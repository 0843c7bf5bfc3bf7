# SPDX-License-Identifier: MPL-2.0
import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("KBAN_BIN", os.path.join(ROOT, "build", "dev", "bin"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "failed_" + call.when, outcome.get_result().failed)


@pytest.fixture
def make_fleet(request):
    """make_fleet(nodes=3, ...) -> Fleet. Afterwards every program must still be sound: the fleet stops within its
    time, and no sanitizer or assertion spoke."""
    from fleet import Fleet
    made = []

    def make(nodes=3, **options):
        work = tempfile.mkdtemp(prefix="kban-fleet-")
        os.chmod(work, 0o700)
        f = Fleet(BIN, work, nodes, tag=f"kb{os.getpid()}x{len(made)}", **options)
        made.append(f)
        return f

    yield make
    words = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "Assertion", "out of memory")
    complaints = []
    for f in made:
        f.close()
        for name, output in f.outputs():
            if getattr(request.node, "failed_call", False):
                print(f"--- {name}\n{output[-6000:]}")
            complaints += [f"{name}: {line}" for line in output.splitlines() if any(w in line for w in words)]
        shutil.rmtree(f.work)
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def fleet(make_fleet):
    f = make_fleet()
    f.agree()
    return f
