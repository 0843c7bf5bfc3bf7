# SPDX-License-Identifier: MPL-2.0
"""A stolen broker: it has the right key and the whole log, and its answers lie. kbanctl sees it and says so."""
import json
import os

import pytest

import kernel
from net import wait_until

OK, FAILED, DEGRADED = 0, 1, 6
ATTACKER, OFFICE = "203.0.113.9", "198.51.100.0/24"


class Liar:
    def __init__(self, fleet):
        self.fleet, self.file = fleet, os.path.join(fleet.work, "lie")
        fleet.broker.stop()
        fleet.start_broker(env={"KBAN_LIE": self.file}, release="lying")

    def tells(self, lie):
        with open(self.file, "w") as f:
            f.write(lie)

    def tells_the_truth(self):
        os.unlink(self.file)


@pytest.fixture
def liar(make_fleet):
    fleet = make_fleet(nodes=2)
    fleet.agree()
    fleet.nodes[0].attack(ATTACKER)
    wait_until("the ban is everywhere", lambda: all(kernel.full(ATTACKER) in n.banned() for n in fleet.nodes))
    fleet.ctl("safeacl", "add", OFFICE, "--reason", "head office")
    liar = Liar(fleet)
    fleet.agree()
    return liar


def unverified(fleet):
    return json.loads(fleet.ctl("why", ATTACKER, "-o", "json", codes=(OK, FAILED)))["unverified"]


def test_a_log_that_is_not_as_it_was_signed_is_marked_as_forged(liar):
    fleet = liar.fleet
    assert "FORGED" not in fleet.ctl("why", ATTACKER) + fleet.ctl("log", ATTACKER) and unverified(fleet) == 0
    for lie in ("line", "author", "end"):
        liar.tells(lie)
        out = fleet.ctl("why", ATTACKER, codes=(FAILED,))
        assert "FORGED" in out, (lie, out)
        assert "FORGED: 1 row of the broker's log" in fleet.err, (lie, fleet.err)
        out = fleet.ctl("log", ATTACKER, codes=(FAILED,))
        assert "FORGED" in out and "do not trust this broker" in fleet.err, (lie, out)
        assert unverified(fleet) == 1 and fleet.code == FAILED, lie
        rows = json.loads(fleet.ctl("log", ATTACKER, "-o", "json", codes=(FAILED,)))["events"]
        assert [r["checked"] for r in rows] == [False], lie
    liar.tells_the_truth()
    assert "FORGED" not in fleet.ctl("why", ATTACKER) + fleet.ctl("log", ATTACKER)


def test_a_safe_range_that_its_owner_never_signed_is_marked_as_forged(liar):
    fleet = liar.fleet
    assert fleet.json("safeacl", "list")["ranges"][0]["prefix"] == OFFICE
    liar.tells("safe")
    assert "FORGED" in fleet.ctl("why", OFFICE, codes=(FAILED,))
    assert "FORGED: the broker shows 1 safe range without a signed reason" in fleet.err


def test_members_that_are_forged_or_left_out_degrade_the_cluster(liar):
    fleet = liar.fleet

    def states():
        return {n["name"]: n["state"] for n in fleet.json("cluster", "list", codes=(DEGRADED,))["nodes"]}

    liar.tells("heartbeat")
    assert sorted(states().values()) == ["forged", "live"]
    assert "FORGED: the broker shows a heartbeat" in fleet.err
    liar.tells("withhold")
    assert sorted(states().values()) == ["live", "withheld"]
    liar.tells("member")
    assert "forged" in states().values() and "whose key no operator let in" in fleet.err
    liar.tells("proof")
    states()
    assert "of the broker's proofs carry no valid signature" in fleet.err
    fleet.ctl("why", ATTACKER, codes=(FAILED,))
    assert "FORGED" in fleet.err
    liar.tells_the_truth()
    fleet.agree()
